package gate

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// The races of this file are between people who vote at once, one of them at two screens, and between workers who find the same approved call, in
// two gates over one database, as two processes are. The rule: of two people whom it takes both count, one person counts once, and the call runs
// once.

// voteRacesVariable says how many races to run on each engine; `make kills` runs 10,000.
const voteRacesVariable = "DTCGATE_TEST_VOTE_RACES"

func voteRaces(t *testing.T) int {
	if n, err := strconv.Atoi(os.Getenv(voteRacesVariable)); err == nil {
		return n
	}
	if testing.Short() {
		return 40
	}
	return 200
}

// A screen is where a person votes.
type screen struct {
	who     auth.Principal
	channel string
}

// voteAll lets everybody vote at the same moment, at one of the two gates each, and gives how many were told that they had come too late.
func (x *track) voteAll(id string, all ...screen) (late int) {
	seen := x.request(id).BindingHash
	start := make(chan struct{})
	told := make([]error, len(all))
	var voting sync.WaitGroup
	for i, s := range all {
		h := []*house{x.house, x.other}[i%2]
		voting.Go(func() {
			<-start
			_, told[i] = h.Gate.Vote(x.t.Context(), s.who, Ballot{ID: id, Decision: approvals.Approve, Seen: seen, Channel: s.channel})
		})
	}
	close(start)
	voting.Wait()
	for _, err := range told {
		if r := (*tools.Refusal)(nil); errors.As(err, &r) && r.Code == tools.Conflict {
			late++
		} else if err != nil {
			x.t.Error(err)
		}
	}
	return late
}

// runAtOnce lets a worker of each gate carry out what is due, at the same moment.
func (x *track) runAtOnce() {
	var all sync.WaitGroup
	for i, h := range []*house{x.house, x.other, x.house} {
		all.Go(func() {
			for worked := true; worked && !x.t.Failed(); {
				var err error
				worked, err = h.Resume(x.t.Context(), fmt.Sprint("worker-", i))
				x.check(err)
			}
		})
	}
	all.Wait()
}

// told counts entries of an event about a request's job, but for repeats.
func (x *track) told(job, event string) int {
	x.t.Helper()
	return x.count(`SELECT COUNT(*) FROM audit_entries WHERE job_id = $1 AND event = $2 AND body NOT LIKE '%"status":"replayed"%'`, job, event)
}

// voteBatch is how many approved calls workers meet at once.
const voteBatch = 25

// TestTwoPeopleAtOnceAndOneOfThemTwiceLetACallRunOnce runs races with three votes: two screens of one person, and another person.
func TestTwoPeopleAtOnceAndOneOfThemTwiceLetACallRunOnce(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			x, n := newTrack(t, storetest.DSN(t, engine)), voteRaces(t)
			people := x.people("mara manager", "jo manager")
			mara, jo := people["mara"], people["jo"]
			two := approvals.Rule{Name: "approvals.two", People: 2}
			late := 0
			for done := 0; done < n && !t.Failed(); done += voteBatch {
				for range voteBatch {
					late += x.voteAll(x.asked(x.bot, two), screen{mara, "web"}, screen{mara, "rest"}, screen{jo, "web"})
				}
				x.runAtOnce()
			}
			x.allRanOnce(late)
			t.Logf("%d races of three votes, and of three workers; %d votes came too late", x.effects(), late)
		})
	}
}

// allRanOnce holds what is stored and on record of every call to one decision of two people and one run.
func (x *track) allRanOnce(late int) {
	x.t.Helper()
	calls := x.count(`SELECT COUNT(*) FROM jobs`)
	for what, q := range map[string]string{
		"effects":                       `SELECT COUNT(*) FROM test_effects`,
		"calls with one effect":         `SELECT COUNT(DISTINCT call_id) FROM test_effects`,
		"jobs that succeeded":           `SELECT COUNT(*) FROM jobs WHERE status = 'succeeded'`,
		"requests that were used up":    `SELECT COUNT(*) FROM approvals WHERE state = 'consumed'`,
		"requests with votes of two":    `SELECT COUNT(*) FROM (SELECT approval_id FROM approval_votes GROUP BY approval_id HAVING COUNT(*) = 2) both_of_them`,
		"requests that two voted on":    jobsWith("approval.vote", 2),
		"requests that were approved":   jobsWith("approval.approved", 1),
		"jobs that were queued":         jobsWith("job.queued", 1),
		"approvals that were used":      jobsWith("approval.consumed", 1),
		"jobs that ended":               jobsWith("job.succeeded", 1),
		"calls that were taken up once": jobsWith("call.resumed", 1),
	} {
		if n := x.count(q); n != calls {
			x.t.Errorf("%d calls and %d %s", calls, n, what)
		}
	}
	if repeats := x.count(`SELECT COUNT(*) FROM audit_entries WHERE body LIKE '%"status":"replayed"%'`); repeats+late != calls {
		x.t.Errorf("of %d second votes of one person %d were taken for repeats and %d came too late", calls, repeats, late)
	}
}

// jobsWith counts the jobs of which so many entries of an event are on record, but for repeats.
func jobsWith(event string, times int) string {
	return fmt.Sprintf(`SELECT COUNT(*) FROM (SELECT job_id FROM audit_entries WHERE event = '%s' AND body NOT LIKE '%%"status":"replayed"%%'
		GROUP BY job_id HAVING COUNT(*) = %d) of_each`, event, times)
}

// TestOnePersonAtTwoScreensIsOnePerson has nobody else vote, so that the call never runs.
func TestOnePersonAtTwoScreensIsOnePerson(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			x, n := newTrack(t, storetest.DSN(t, engine)), voteRaces(t)
			people := x.people("mara manager")
			two := approvals.Rule{Name: "approvals.two", People: 2}
			for i := 0; i < n && !t.Failed(); i++ {
				id := x.asked(x.bot, two)
				if late := x.voteAll(id, screen{people["mara"], "web"}, screen{people["mara"], "rest"}); late != 0 {
					t.Errorf("of %s a repeat was refused", id)
				}
			}
			x.runAtOnce()
			calls := x.count(`SELECT COUNT(*) FROM jobs`)
			pending := x.count(`SELECT COUNT(*) FROM approvals WHERE state = 'pending'`)
			if votes, told := x.count(`SELECT COUNT(*) FROM approval_votes`), x.count(jobsWith("approval.vote", 1)); pending != calls || votes != calls || told != calls {
				t.Errorf("of %d requests %d wait, with %d votes and %d on record", calls, pending, votes, told)
			}
			if x.effects() != 0 {
				t.Errorf("%d effects of calls that one of two people has approved", x.effects())
			}
			t.Logf("%d races of two votes of one person", calls)
		})
	}
}

// TestAnApprovalIsUsedUpOnce lets many use the same approval at once, and again when it is used up.
func TestAnApprovalIsUsedUpOnce(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			x, n := newTrack(t, storetest.DSN(t, engine)), voteRaces(t)
			const users = 4
			for i := 0; i < n/users+1 && !t.Failed(); i++ {
				id := x.approved("test_move")
				var all sync.WaitGroup
				used := make([]error, users)
				for u := range users {
					h := []*house{x.house, x.other}[u%2]
					all.Go(func() { used[u] = h.use(id) })
				}
				all.Wait()
				good := 0
				for _, err := range append(used, x.use(id)) {
					if err == nil {
						good++
					} else if !errors.Is(err, approvals.ErrDecided) {
						t.Error(err)
					}
				}
				if good != 1 || x.told(id, "approval.consumed") != 1 {
					t.Errorf("%s was used up %d times, %d on record", id, good, x.told(id, "approval.consumed"))
				}
			}
		})
	}
}

// use uses up an approval, as a worker does that has taken its job.
func (h *house) use(id string) error {
	return h.db.InTx(h.t.Context(), func(tx *store.Tx) error {
		if err := tx.Lock(`SELECT id FROM jobs WHERE id = $1`, id); err != nil {
			return err
		}
		j, err := approvals.FindJob(tx, h.merchant, id)
		if err != nil {
			return err
		}
		r, err := approvals.Find(tx, h.merchant, j.ApprovalID)
		if err != nil {
			return err
		}
		return approvals.Consume(tx, j, r)
	})
}
