package gate

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// The races of this file are between what carries out a call (a worker after an approval, a write, the steps of a job) and somebody
// who takes the right to it away, in two gates over one database, as two processes are. The rule: what has not been done when the
// revocation is acknowledged is never done.

// racesVariable says how many races to run on each engine; `make revocation` runs 5,000.
const racesVariable = "DTCGATE_TEST_REVOCATION_RACES"

func races(t *testing.T) int {
	if n, err := strconv.Atoi(os.Getenv(racesVariable)); err == nil {
		return n
	}
	if testing.Short() {
		return 40
	}
	return 200
}

// A way is how a call is carried out.
type way string

const (
	afterApproval way = "a worker, after an approval"
	atOnce        way = "a write"
	inSteps       way = "the steps of a job"
)

// A race is one call and one revocation.
type race struct {
	way  way
	kind string // of revocation
	mark string // on the effects
	done int    // effects when the revocation was acknowledged
}

func (r race) String() string { return fmt.Sprintf("%s: %s, %s", r.mark, r.way, r.kind) }

// A track is two gates on one database.
type track struct {
	*house
	other *house
	log   *bytes.Buffer
}

// newTrack opens dsn twice.
func newTrack(t *testing.T, dsn string) *track {
	t.Helper()
	h, k := newHooked(t, storetest.Open(t, dsn))
	k.preview = func(_ *tools.Call, in moveIn) (tools.Preview, error) {
		pause()
		return tools.Preview{Summary: "Move " + in.Thing, Money: &shop.Money{AmountMinor: 1, Currency: "GBP"}, Customers: 1, Version: "1"}, nil
	}
	k.step = func(c *tools.Call, in moveIn, p *tools.Progress) (moveOut, error) {
		pause()
		return h.walk(c, in, p)
	}
	x := &track{house: h, log: &bytes.Buffer{}}
	h.Gate = New(Config{DB: h.db, Tools: h.tools, Log: zerolog.New(zerolog.SyncWriter(x.log))})
	db := storetest.Open(t, dsn)
	x.other = &house{Gate: New(Config{DB: db, Tools: h.tools, Log: zerolog.New(zerolog.SyncWriter(x.log))}), t: t, merchant: h.merchant}
	return x
}

// pause takes up to 2 ms, so that the two sides of a race meet at all places.
func pause() { time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) }

// run runs one race and returns when both sides have ended.
func (x *track) run(r *race) {
	c := x.crew(r.mark, r.way == afterApproval)
	call := func(tool string, amount int) error {
		out, err := x.call(c.caller, tool, fmt.Sprintf(`{"thing":%q,"amount":%d}`, r.mark, amount))
		if err == nil && out.Status == tools.PendingApproval {
			_, err = x.Vote(x.t.Context(), c.approver, Ballot{ID: x.result(out).JobID, Decision: approvals.Approve, Channel: "rest"})
		}
		return err
	}
	carryOut := x.resumeAll
	switch r.way {
	case atOnce:
		carryOut = func() { _ = call("test_hook", 1) } // done or refused
	case inSteps:
		x.check(call("test_hook_steps", 4))
	case afterApproval:
		x.check(call("test_hook", 1))
	}
	var both sync.WaitGroup
	both.Go(func() {
		for range rand.IntN(4) { // on SQLite the one who changes rights waits for the other races' writers too
			pause()
		}
		carryOut()
	})
	both.Go(func() {
		pause()
		by := []*house{x.house, x.other}[rand.IntN(2)]
		x.check(by.administer(func(tx *store.Tx) error { return revoke(by, tx, r.kind, c) }))
		x.check(by.db.Read(x.t.Context(), func(tx *store.Tx) (err error) {
			r.done, err = moved(tx, r.mark)
			return err
		}))
	})
	both.Wait()
}

func (x *track) check(err error) {
	if err != nil {
		x.t.Error(err)
	}
}

// resumeAll carries out what is due. What another has begun it leaves to it.
func (x *track) resumeAll() {
	for worked := true; worked; {
		var err error
		worked, err = x.Resume(x.t.Context(), store.NewID("wrk", time.Now()))
		x.check(err)
	}
}

func moved(tx *store.Tx, mark string) (int, error) {
	return store.One(tx, func(r store.Row) (n int, err error) { return n, r.Scan(&n) }, `SELECT COUNT(*) FROM test_effects WHERE thing = $1`, mark)
}

// runAll runs n races, some at a time, of every way and kind in turn, and gives those in which something was done after the
// acknowledgement, and in how many something was done before it.
func (x *track) runAll(n int) (late []race, before int) {
	kinds := slices.Sorted(maps.Keys(revocations))
	all := make([]race, n)
	for i := range all {
		all[i] = race{way: []way{afterApproval, atOnce, afterApproval, inSteps}[i%4], kind: kinds[i/4%len(kinds)], mark: fmt.Sprint("r", i)}
		if all[i].way == afterApproval && i%16 == 0 {
			all[i].kind = disapproval
		}
	}
	var lanes sync.WaitGroup
	const side = 4
	for lane := range side {
		lanes.Go(func() {
			for i := lane; i < n && !x.t.Failed(); i += side {
				x.run(&all[i])
			}
		})
	}
	lanes.Wait()
	x.resumeAll()
	x.check(x.db.Read(x.t.Context(), func(tx *store.Tx) error {
		for _, r := range all {
			n, err := moved(tx, r.mark)
			if err != nil {
				return err
			}
			if n > r.done {
				late = append(late, r)
			}
			before += min(r.done, 1)
		}
		return nil
	}))
	return late, before
}

func TestNothingIsDoneAfterARevocationIsAcknowledged(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			x, n := newTrack(t, storetest.DSN(t, engine)), races(t)
			late, before := x.runAll(n)
			for _, r := range late {
				t.Errorf("done after the acknowledgement: %v", r)
			}
			t.Logf("%d races: in %d the call was first, in %d the revocation", n, before, n-before)
			if before == 0 || before == n {
				t.Error("the two never met: the test shows nothing")
			}
			if bad := errorLines(x.log); bad != "" {
				t.Errorf("the log has errors:\n%s", bad)
			}
		})
	}
}

// TestTheRacesAreLostWithoutTheLock tells the silence of the test above from blindness: on a database whose locks by name do nothing
// something is done after an acknowledgement. On SQLite there is one writer and no lock to take away.
func TestTheRacesAreLostWithoutTheLock(t *testing.T) {
	x := newTrack(t, lockless(t))
	const most = 400
	late, _ := x.runAll(most)
	if len(late) == 0 {
		t.Errorf("in %d races without the lock nothing was done too late", most)
	}
	t.Logf("%d of %d races were lost, such as %v", len(late), most, late[:min(1, len(late))])
}

// lockless is a PostgreSQL schema of the test's own, in which the functions that lock by a name are replaced by some that do not.
func lockless(t *testing.T) string {
	t.Helper()
	dsn, err := url.Parse(storetest.DSN(t, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	q := dsn.Query()
	q.Set("search_path", q.Get("search_path")+",pg_catalog") // named, it is not looked through first
	dsn.RawQuery = q.Encode()
	err = storetest.Open(t, dsn.String()).InTx(t.Context(), func(tx *store.Tx) error {
		for _, f := range []string{
			`pg_advisory_xact_lock(BIGINT) RETURNS VOID LANGUAGE SQL AS 'SELECT'`,
			`pg_advisory_xact_lock_shared(BIGINT) RETURNS VOID LANGUAGE SQL AS 'SELECT'`,
			`pg_try_advisory_xact_lock_shared(BIGINT) RETURNS BOOLEAN LANGUAGE SQL AS 'SELECT TRUE'`,
		} {
			if _, err := tx.Exec(`CREATE FUNCTION ` + f); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return dsn.String()
}

func errorLines(log *bytes.Buffer) string {
	var bad []string
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, `"level":"error"`) {
			bad = append(bad, line)
		}
	}
	return strings.Join(bad[:min(5, len(bad))], "")
}

// TestEverythingAtOnceOnRightsBlocksNothing has sixteen callers do everything that uses, changes or hands on rights, on the same
// few crews. A deadlock would be an error that somebody is told, or that is logged.
func TestEverythingAtOnceOnRightsBlocksNothing(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			x := newTrack(t, storetest.DSN(t, engine))
			var crews []crew
			for i := range 3 {
				crews = append(crews, x.crew(fmt.Sprint("crew", i), i%2 == 0))
			}
			var all sync.WaitGroup
			for caller := range 16 {
				rng := rand.New(rand.NewPCG(uint64(caller), 7))
				all.Go(func() {
					for range max(10, races(t)/10) {
						err := x.anything(rng, crews)
						if err == nil || errors.Is(err, approvals.ErrDecided) || errors.Is(err, approvals.ErrLeaseLost) {
							continue // somebody else was first
						}
						if code := asRefusal(err).Code; code == tools.Internal || code == tools.Unavailable {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			x.resumeAll()
			if bad := errorLines(x.log); bad != "" {
				t.Errorf("the log has errors:\n%s", bad)
			}
		})
	}
}

// anything does one thing. That it is refused, or that somebody else was first, is fine.
func (x *track) anything(rng *rand.Rand, crews []crew) error {
	h := []*house{x.house, x.other}[rng.IntN(2)]
	c, other := crews[rng.IntN(len(crews))], crews[rng.IntN(len(crews))]
	switch rng.IntN(10) {
	case 0:
		_, err := h.call(c.caller, "test_hook", `{"thing":"lamp","amount":1,"idempotency_key":"`+strconv.Itoa(rng.IntN(50))+`"}`)
		return err
	case 1:
		_, err := h.call(c.caller, "test_hook_steps", `{"thing":"lamp","amount":2}`)
		return err
	case 2, 3:
		_, err := h.Resume(x.t.Context(), store.NewID("wrk", time.Now()))
		return err
	case 4:
		return x.someJob(rng, func(id string) error {
			_, err := h.Vote(x.t.Context(), c.approver, Ballot{ID: id, Decision: []approvals.Decision{approvals.Approve, approvals.Deny}[rng.IntN(2)], Channel: "rest"})
			return err
		})
	case 5:
		return x.someJob(rng, func(id string) error { return h.cancel(c.caller, id) })
	case 6:
		return h.Sweep(x.t.Context())
	case 8:
		return x.handOn(h, c)
	case 7: // and given back, so that there is something to do
		kinds := slices.Sorted(maps.Keys(revocations))
		err := h.administer(func(tx *store.Tx) error { return revoke(h, tx, kinds[rng.IntN(len(kinds))], c) })
		return cmpErr(h.administer(func(tx *store.Tx) error { return restore(h, tx, c) }), err)
	}
	return x.changeAs(h, c, other)
}

// cmpErr gives the first error that is there, but not that of a thing that was gone already.
func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil && code(err) != tools.NotFound {
			return err
		}
	}
	return nil
}

// restore gives a crew back what it lost.
func restore(h *house, tx *store.Tx, c crew) error {
	const scopes = `["orders:read","orders:refund"]`
	for _, s := range []struct {
		q    string
		args []any
	}{
		{`UPDATE sub_tokens SET revoked_at = NULL, scopes = $1 WHERE id = $2`, []any{scopes, c.caller.ID}},
		{`UPDATE agent_keys SET revoked_at = NULL, scopes = $1 WHERE id = $2`, []any{scopes, c.key}},
		{`UPDATE people SET revoked_at = NULL WHERE id = $1`, []any{c.owner}},
		{`UPDATE roles SET scopes = $1 WHERE merchant_id = $2 AND name = $3`, []any{scopes, h.merchant, c.role}},
	} {
		if _, err := tx.Exec(s.q, s.args...); err != nil {
			return err
		}
	}
	return auth.GiveRoles(tx, h.merchant, c.owner, []string{c.role})
}

// handOn has a crew's key give a sub-token, and revokes that.
func (x *track) handOn(h *house, c crew) error {
	var sub auth.SubToken
	err := h.db.InTx(x.t.Context(), func(tx *store.Tx) error {
		p, err := auth.HoldLive(tx, h.merchant, c.key)
		if err == nil {
			sub, _, err = auth.MintSubToken(tx, p, auth.Delegation{Name: "other", Scopes: []string{"orders:read"}})
		}
		return err
	})
	if unfit := (*auth.Undelegable)(nil); errors.Is(err, auth.ErrUnknownCredential) || errors.As(err, &unfit) {
		return nil // it has lost what it would give
	}
	if err != nil {
		return err
	}
	return h.administer(func(tx *store.Tx) error {
		_, err := auth.RevokeSubToken(tx, auth.OperatorPrincipal(h.merchant), sub.ID)
		return err
	})
}

// changeAs has people change each other: the approver of one crew another's, and the other way round.
func (x *track) changeAs(h *house, c, other crew) error {
	by := By{Principal: c.approver, Transport: "rest"}
	_, err := Administer(x.t.Context(), h.Gate, by, Op{Event: "test.changed", Scope: auth.ApprovalsResolve}, func(tx *store.Tx, _ auth.Principal) (struct{}, audit.Entry, error) {
		return struct{}{}, audit.Entry{}, auth.GiveRoles(tx, h.merchant, other.approver.ID, []string{"manager"})
	})
	return err
}

func (x *track) someJob(rng *rand.Rand, fn func(id string) error) error {
	var ids []string
	err := x.db.Read(x.t.Context(), func(tx *store.Tx) (err error) {
		ids, err = store.All(tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) },
			`SELECT id FROM jobs WHERE status IN ('pending_approval', 'queued', 'running') ORDER BY id LIMIT 20`)
		return err
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	return fn(ids[rng.IntN(len(ids))])
}
