package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// evidence is what is left when the last server has ended: what was asked and answered, and what is stored.
type evidence struct {
	db      *store.DB
	outbox  string
	abroad  string // the outside systems' ledgers
	trusted note.Verifiers
	calls   []*call
	before  map[string]bool // effects that are not the callers'
}

// A finding is something that should never be.
type finding struct{ check, what string }

func (f finding) String() string { return f.check + ": " + f.what }

// A checker goes through the promises C1 to C8. Everything is expected to have come to rest.
type checker struct {
	evidence
	facts
	found []finding
}

func (e evidence) check(ctx context.Context) ([]finding, error) {
	c := checker{evidence: e}
	err := e.db.Read(ctx, func(tx *store.Tx) (err error) {
		c.facts, err = readFacts(tx, e.outbox, e.abroad, e.before)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, promise := range []func(){
		c.effectsHaveRecords, c.stepsHaveRecords, c.recordsHaveEffects, c.keysActOnce, c.answersAreTrue,
		c.outsideOnce, c.outsideIntended, c.outsideIsTold, c.peopleDecided, c.nobodyIsPassedBy, c.nobodyIsAskedTwice,
		c.votesAreOnRecord, c.saidIsStored, c.acknowledgedIsStored, c.statesAgree, c.nobodyIsWrittenToTwice, c.repeatsAnswerAlike,
		c.keysAreKept, c.nothingAfterRevocation,
	} {
		promise()
	}
	return c.found, c.chainHolds(ctx)
}

func (c *checker) find(check, format string, args ...any) {
	c.found = append(c.found, finding{check, fmt.Sprintf(format, args...)})
}

// A claim is a place that says it made an effect: a call, or a job when the call was parked.
type claim struct{ call, job string }

// claims are all claims by tool and id of the effect.
func (c *checker) claims() map[string][]claim {
	all := map[string][]claim{}
	for _, a := range c.answers {
		if id := resultID(a.tool, resultOf(a.body)); id != "" && a.status == string(tools.Done) {
			all[a.tool+id] = append(all[a.tool+id], claim{call: a.call})
		}
	}
	for _, j := range c.jobs {
		if id := resultID(j.tool, []byte(j.result)); id != "" && j.tool != sendCampaign {
			all[j.tool+id] = append(all[j.tool+id], claim{call: j.call, job: j.id})
		}
	}
	return all
}

func resultOf(body string) []byte { return (&call{body: []byte(body)}).result().Result }

// effectsHaveRecords is C1: an effect belongs to exactly one call, and the call to one entry, written at the very time of
// the effect, which is that of their transaction.
func (c *checker) effectsHaveRecords() {
	claims := c.claims()
	for _, e := range c.effects {
		by := claims[e.tool+e.id]
		if len(by) != 1 {
			c.find("C1", "%s made %s, and %d calls say it was theirs", e.tool, e.id, len(by))
			continue
		}
		want := map[string]int{"call done": 1}
		entries := c.byCall[by[0].call]
		if by[0].job != "" {
			want = map[string]int{"call.resumed done": 1, "job.succeeded ": 1}
		}
		for event, n := range want {
			if got := countAt(entries, event, e.at); got != n {
				c.find("C1", "%s made %s by %v, with %d entries %q of its time on record", e.tool, e.id, by[0], got, event)
			}
		}
	}
}

// countAt counts entries of an event and status at a time.
func countAt(entries []audit.Sequenced, eventStatus string, at int64) (n int) {
	for _, e := range entries {
		if e.Event+" "+e.Status == eventStatus && e.At.UnixMicro() == at {
			n++
		}
	}
	return n
}

// stepsHaveRecords is C1 for sends: each batch of deliveries has one entry of its job, of the same transaction.
func (c *checker) stepsHaveRecords() {
	senders := map[string][]audit.Sequenced{}
	for _, j := range c.jobs {
		senders[j.campaign()] = append(senders[j.campaign()], c.byJob[j.id]...)
	}
	notified := map[int64]bool{}
	for _, e := range c.effects {
		notified[e.at] = notified[e.at] || e.tool == refundOrder
	}
	for _, b := range c.batches {
		if b.kind != "campaign" {
			if !notified[b.at] {
				c.find("C1", "the notice %s goes with no refund", b.mailing)
			}
			continue
		}
		if n := stepsAt(senders[b.mailing], b.at); n != 1 {
			c.find("C1", "batch %d of %s has %d entries of its time on record", b.no, b.mailing, n)
		}
	}
}

// recordsHaveEffects is C1 the other way round: as many effects of a tool as entries that say one was had.
func (c *checker) recordsHaveEffects() {
	balance := map[string]int{}
	for _, e := range c.effects {
		balance[e.tool]++
	}
	for _, e := range c.entries {
		made := e.Event == "call" || e.Event == "call.resumed"
		if made && e.Status == string(tools.Done) && slices.Contains([]string{createCampaign, refundOrder, createDiscount}, e.Tool) {
			balance[e.Tool]--
		}
	}
	for tool, more := range balance {
		if more != 0 {
			c.find("C1", "%s: effects less entries are %d", tool, more)
		}
	}
}

// keysActOnce is C2: at most one effect, one job and one deciding entry for a key, and effects of asked keys only.
func (c *checker) keysActOnce() {
	asked := map[string]bool{}
	for _, k := range c.calls {
		asked[k.tool+k.key] = true
	}
	times := map[string]int{}
	for _, e := range c.effects {
		times["effects of "+e.tool+" under "+e.mark]++
		if !asked[e.tool+e.mark] {
			c.find("C2", "nobody asked for %s %q of %s", e.id, e.mark, e.tool)
		}
	}
	for _, j := range c.jobs {
		times["jobs under "+j.key]++
	}
	for _, e := range c.entries {
		if e.Event == "call" && e.IdempotencyKey != "" && !slices.Contains([]string{"replayed", "refused"}, e.Status) {
			times["deciding entries under "+e.IdempotencyKey]++
		}
	}
	for what, n := range times {
		if n > 1 {
			c.find("C2", "%d %s", n, what)
		}
	}
}

// answersAreTrue is C2: what was told to be done is there, and what was refused is not. A key that was refused is free,
// so only the answers of all calls with it count.
func (c *checker) answersAreTrue() {
	made, marked := map[string]bool{}, map[string]bool{}
	for _, e := range c.effects {
		made[e.tool+e.id], marked[e.tool+e.mark] = true, true
	}
	for what := range c.claims() {
		if !made[what] {
			c.find("C2", "%s is stored as done and not there", what)
		}
	}
	granted := map[string]bool{}
	for _, k := range c.calls {
		granted[k.tool+k.key] = granted[k.tool+k.key] || k.ok() || !k.answered
		r := k.result()
		if k.ok() && r.Status == tools.Done && resultID(k.tool, r.Result) != "" && !made[k.tool+resultID(k.tool, r.Result)] {
			c.find("C2", "answered as done and not there: %v", k)
		}
	}
	for _, k := range c.calls {
		if k.key != "" && marked[k.tool+k.key] && !granted[k.tool+k.key] {
			c.find("C2", "refused and there all the same: %v", k)
		}
	}
}

// acknowledgedIsStored is C4: every answer is on record, and every vote, job and key that was acknowledged is there.
func (c *checker) acknowledgedIsStored() {
	jobs, keys := map[string]jobRow{}, map[string]bool{}
	for _, j := range c.jobs {
		jobs[j.id] = j
	}
	for _, a := range c.answers {
		keys[a.principal+a.key] = true
	}
	for _, k := range c.calls {
		if !k.answered || k.unknown() {
			continue
		}
		if !(k.person() && k.ok()) && len(c.byCall[k.id]) == 0 { // what people did is looked for in kill_asked_test.go
			c.find("C4", "answered and not on record: %v", k)
		}
		if !k.ok() {
			continue
		}
		r := k.result()
		if j := jobs[r.JobID]; r.JobID != "" && (j.id == "" || r.Approval != nil && r.Approval.ApprovalID != j.approval) {
			c.find("C4", "told of a job that is not there: %v", k)
		}
		if k.key != "" && !keys[k.who.ID+k.key] {
			c.find("C4", "the key is lost: %v", k)
		}
		if k.tool == cancelJob && !settled(jobs[k.about]) && jobs[k.about].status != "indeterminate" {
			c.find("C4", "told to be cancelled and is %s: %v", jobs[k.about].status, k)
		}
	}
}

func settled(j jobRow) bool {
	return slices.Contains([]string{"cancelled", "succeeded", "failed", "expired"}, j.status)
}

// nobodyIsWrittenToTwice is C5: files and rows name the same customers, each once, and not more than were agreed.
func (c *checker) nobodyIsWrittenToTwice() {
	for mailing := range c.rows {
		if missing := lacking(c.rows[mailing], c.files[mailing]); missing > 0 {
			c.find("C5", "%d customers of %s are in no file", missing, mailing)
		}
	}
	for mailing, customers := range c.files {
		if unknown := lacking(customers, c.rows[mailing]); unknown > 0 {
			c.find("C5", "%d customers are in files of %s and not in the database", unknown, mailing)
		}
		for customer, n := range customers {
			if n > 1 {
				c.find("C5", "%s is %d times in the files of %s", customer, n, mailing)
			}
		}
	}
	for _, j := range c.jobs {
		if j.tool != sendCampaign {
			continue
		}
		agreed, err := c.reach(j)
		if sent := c.sentBy(j); err != nil || sent > agreed {
			c.find("C5", "%s sent %s to %d customers, and %d were agreed (%v)", j.id, j.campaign(), sent, agreed, err)
		}
	}
}

// sentBy counts the customers to whom a job wrote. Another job may have sent the same campaign, when this one came late.
func (c *checker) sentBy(j jobRow) (customers int64) {
	for _, b := range c.batches {
		if b.mailing == j.campaign() && stepsAt(c.byJob[j.id], b.at) > 0 {
			customers += b.customers
		}
	}
	return customers
}

// stepsAt counts the steps that entries of a job tell of at a time.
func stepsAt(entries []audit.Sequenced, at int64) int {
	return countAt(entries, "job.progress ", at) + countAt(entries, "job.succeeded ", at)
}

// lacking counts the customers that are not in others.
func lacking(customers, others map[string]int) (n int) {
	for customer := range customers {
		if others[customer] == 0 {
			n++
		}
	}
	return n
}

// chainHolds is C6: the record verifies, and nothing on it is without a number.
func (c *checker) chainHolds(ctx context.Context) error {
	report, err := audit.Verify(ctx, c.db, c.trusted)
	if err != nil {
		return err
	}
	if report.Bad != nil {
		c.find("C6", "%v", report.Bad)
	}
	if report.Pending > 0 || report.Sequenced != report.Entries {
		c.find("C6", "of %d entries %d are numbered and %d wait", report.Entries, report.Sequenced, report.Pending)
	}
	return nil
}

// repeatsAnswerAlike is C7 as far as the database shows it: what a repeat would be told is what the first call was told.
func (c *checker) repeatsAnswerAlike() {
	stored := map[string]string{}
	for _, a := range c.answers {
		stored[a.principal+a.key] = a.body
	}
	for _, k := range c.calls {
		if body, there := stored[k.who.ID+k.key]; k.key != "" && k.ok() && there && !bytes.Equal([]byte(body), k.body) {
			c.find("C7", "stored is %s: %v", body, k)
		}
	}
}

// checkAnswered holds what is on record against what was answered: a call that was carried out had its answer.
func (r *rig) checkAnswered() {
	r.t.Helper()
	var f facts
	r.withDB(func(db *store.DB) error {
		return db.Read(r.t.Context(), func(tx *store.Tx) (err error) {
			f, err = readFacts(tx, r.outbox(), r.ledgers(), r.before)
			return err
		})
	})
	answered, voted := map[string]bool{}, map[voteKey]bool{}
	for _, k := range r.book.calls {
		if k.answered {
			answered[k.id] = true
			said := voteKey{f.requests[k.about].id, k.who.ID, fmt.Sprint(k.args["decision"])}
			voted[said] = voted[said] || k.tool == vote && k.ok()
		}
	}
	n := 0
	for _, e := range f.entries {
		if e.Event != "call" && e.Event != "approval.refused" {
			continue
		}
		if n++; !answered[e.CallID] {
			r.t.Errorf("accepted and not answered: %+v", e.Entry)
		}
	}
	for _, votes := range f.votes {
		for _, v := range votes {
			if n++; !voted[v.key()] {
				r.t.Errorf("accepted and not answered: %+v", v)
			}
		}
	}
	r.t.Logf("%d requests, all answered", n)
}
