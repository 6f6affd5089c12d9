package gate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// faultsVariable says how many requests to make of a gate whose database fails; `make crash` makes 100,000 on each engine.
const faultsVariable = "DTCGATE_TEST_FAULTS"

func faultyRequests() int64 {
	if n, err := strconv.ParseInt(os.Getenv(faultsVariable), 10, 64); err == nil {
		return n
	}
	return 300
}

// An unreliable house has a database of which one call in twenty fails, callers who ask until they are answered, and workers.
type unreliable struct {
	*house
	left   atomic.Int64 // requests
	failed atomic.Int64 // calls of the database
	broken atomic.Bool
	later  atomic.Int64 // by how much the clock is ahead, in nanoseconds

	mu   sync.Mutex
	done map[string]string // idempotency keys of acknowledged writes, with their calls
	yes  map[string]bool   // jobs to which a person has said yes, acknowledged
	odd  []string
}

func (u *unreliable) fault() store.Fault {
	if !u.broken.Load() || rand.IntN(20) > 0 {
		return store.NoFault
	}
	u.failed.Add(1)
	return store.Fault(1 + rand.IntN(4))
}

// TestAStoreThatFailsAtRandomBreaksNoPromise is about effects without record, things done twice, lost answers, panics and goroutines that stay.
func TestAStoreThatFailsAtRandomBreaksNoPromise(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		u := &unreliable{done: map[string]string{}, yes: map[string]bool{}}
		store.Faulty(db, u.fault)
		db.Now = func() time.Time { return time.Now().Add(time.Duration(u.later.Load())) }
		u.house = newHouse(t, db)
		u.log = zerolog.Nop()
		u.left.Store(faultyRequests())
		defer storetest.NothingLeft(t)()
		u.broken.Store(true)
		u.storm()
		u.broken.Store(false)
		for range 5 { // what could not be judged waits for up to a minute, and a step whose worker gave up for its lease
			u.later.Add(int64(2 * approvals.LeaseTime))
			u.resume()
		}
		u.check()
	})
}

// storm makes all requests, with workers beside the callers.
func (u *unreliable) storm() {
	ctx, end := context.WithCancel(u.t.Context())
	var working, calling sync.WaitGroup
	working.Go(func() { u.Work(ctx) })
	for caller := range 8 {
		calling.Go(func() {
			for i := 0; u.left.Load() > 0; i++ {
				u.one(fmt.Sprintf("key-%d-%d", caller, i))
			}
		})
	}
	calling.Wait()
	end()
	working.Wait()
}

// one reads, writes, or parks a call and approves it.
func (u *unreliable) one(key string) {
	args := fmt.Sprintf(`{"thing":"lamp","amount":1,"idempotency_key":%q,"note":%q}`, key, key)
	switch rand.IntN(4) {
	case 0:
		u.ask(u.free, "test_read", `{}`)
	case 1:
		if out, ok := u.ask(u.bot, "test_move", args); ok {
			u.approve(u.result(out).JobID)
		}
	case 2:
		u.ask(u.free, "test_walk", args)
	default:
		if out, ok := u.ask(u.free, "test_move", args); ok {
			u.mu.Lock()
			u.done[key] = out.CallID
			u.mu.Unlock()
		}
	}
}

// ask makes a call until it is answered: what is unavailable may be asked again, and is told nothing else.
func (u *unreliable) ask(p auth.Principal, tool, args string) (out Outcome, ok bool) {
	for u.left.Add(-1) >= 0 {
		out, err := u.call(p, tool, args)
		if err == nil {
			return out, true
		}
		if !u.unavailable(err) {
			return out, false
		}
	}
	return out, false
}

// unavailable reports whether that is all that is wrong, and complains about anything else.
func (u *unreliable) unavailable(err error) bool {
	if r := (*tools.Refusal)(nil); errors.As(err, &r) && (r.Code == tools.Unavailable || r.Code == tools.LimitExceeded) {
		return r.Code == tools.Unavailable
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.odd = append(u.odd, err.Error())
	return false
}

func (u *unreliable) approve(job string) {
	seen := ""
	for u.left.Add(-1) >= 0 {
		err := u.db.Read(u.t.Context(), func(tx *store.Tx) error {
			return tx.QueryRow(`SELECT binding_sha256 FROM approvals WHERE job_id = $1`, job).Scan(&seen)
		})
		if err == nil {
			_, err = u.Gate.Vote(u.t.Context(), u.person, Ballot{ID: job, Decision: approvals.Approve, Seen: seen, Channel: "rest"})
		} else {
			err = asRefusal(err)
		}
		if err == nil {
			u.mu.Lock()
			u.yes[job] = true
			u.mu.Unlock()
		}
		if err == nil || !u.unavailable(err) {
			return
		}
	}
}

// check holds what was acknowledged, what was done and what is on record against each other, when nothing fails any more.
func (u *unreliable) check() {
	u.t.Helper()
	for what, q := range map[string]string{
		"steps that were made twice":     `SELECT COUNT(*) FROM (SELECT call_id FROM test_effects GROUP BY call_id, step HAVING COUNT(*) > 1) twice`,
		"effects that are not on record": `SELECT COUNT(*) FROM test_effects x WHERE NOT EXISTS (SELECT 1 FROM audit_entries e WHERE e.call_id = x.call_id AND e.call_id <> '' AND e.event IN ('call', 'call.resumed') AND e.body LIKE '%"status":"done"%')`,
		"calls done twice on record":     `SELECT COUNT(*) FROM (SELECT call_id FROM audit_entries WHERE event IN ('call', 'call.resumed') AND tool LIKE 'test_move' AND body LIKE '%"status":"done"%' GROUP BY call_id HAVING COUNT(*) > 1) twice`,
		"calls done on record only": `SELECT COUNT(*) FROM audit_entries e WHERE event IN ('call', 'call.resumed') AND tool LIKE 'test_move' AND body LIKE '%"status":"done"%'
			AND NOT EXISTS (SELECT 1 FROM test_effects x WHERE x.call_id = e.call_id)`,
		"keys that did two things":   `SELECT COUNT(*) FROM (SELECT idempotency_key FROM jobs WHERE idempotency_key <> '' GROUP BY principal_id, idempotency_key HAVING COUNT(*) > 1) twice`,
		"jobs that did not end":      `SELECT COUNT(*) FROM jobs WHERE status IN ('queued', 'running')`,
		"jobs that failed inside":    `SELECT COUNT(*) FROM jobs WHERE reason = 'INTERNAL'`,
		"approvals that stay unused": `SELECT COUNT(*) FROM approvals WHERE state = 'approved'`,
	} {
		if n := u.count(q); n != 0 {
			u.t.Errorf("%d %s", n, what)
		}
	}
	for key, call := range u.done {
		if u.count(`SELECT COUNT(*) FROM idempotency i JOIN test_effects x ON x.call_id = i.call_id WHERE i.merchant_id = $1 AND i.principal_id = $2 AND i.key = $3`,
			u.free.Merchant, u.free.ID, key) != 1 {
			u.t.Errorf("the write under %s was acknowledged, as %s, and is not there once", key, call)
		}
	}
	for job := range u.yes {
		if u.count(`SELECT COUNT(*) FROM approval_votes v JOIN approvals a ON a.id = v.approval_id WHERE a.job_id = $1 AND v.decision = 'approve'`, job) != 1 {
			u.t.Errorf("the vote about %s was acknowledged, and is not there once", job)
		}
	}
	if len(u.odd) > 0 {
		u.t.Errorf("%d calls were refused otherwise than as unavailable, such as %s", len(u.odd), u.odd[0])
	}
	u.t.Logf("%d requests, %d calls of the database failed; %d writes and %d votes acknowledged, %d effects", faultyRequests(), u.failed.Load(), len(u.done), len(u.yes), u.effects())
	if len(u.done) == 0 || len(u.yes) == 0 {
		u.t.Error("nothing was acknowledged, so this has shown nothing")
	}
}
