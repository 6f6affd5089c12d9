package gate

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// hook is the code of a hooked house's own tools, for a test to replace, and the house's clock. Untouched, the tools
// test_hook and test_hook_steps do what test_move and test_walk do.
type hook struct {
	preview func(*tools.Call, moveIn) (tools.Preview, error)
	step    func(*tools.Call, moveIn, *tools.Progress) (moveOut, error)
	stopped func(*tools.Call, moveIn, tools.Progress) error
	read    func() (moveOut, error)
	passed  atomic.Int64 // nanoseconds since the house was made
}

// setFor lets every call of test_hook ask to be run d from now.
func (k *hook) setFor(h *house, d time.Duration) {
	at := h.db.Now().Add(d)
	k.preview = func(c *tools.Call, in moveIn) (tools.Preview, error) {
		p, err := h.previewMove(c, in)
		p.RunAt = at
		return p, err
	}
}

// pass moves the clock, which stands still otherwise.
func (k *hook) pass(d time.Duration) { k.passed.Add(int64(d)) }

// hooked runs fn once per engine, in a house with a hook.
func hooked(t *testing.T, fn func(t *testing.T, h *house, k *hook)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h, k := newHooked(t, db)
		fn(t, h, k)
	})
}

func newHooked(t *testing.T, db *store.DB) (*house, *hook) {
	t.Helper()
	k := &hook{}
	start := time.Now()
	db.Now = func() time.Time { return start.Add(time.Duration(k.passed.Load())) }
	h := newHouse(t, db)
	k.preview, k.step = h.previewMove, h.walk
	k.stopped = func(*tools.Call, moveIn, tools.Progress) error { return nil }
	h.tools = tools.NewRegistry(append(h.registry().All(), k.tools(h.move)...)...)
	return h, k
}

type cancelIn struct {
	JobID string `json:"job_id"`
}

func (k *hook) tools(move func(*tools.Call, moveIn) (moveOut, error)) []*tools.Tool {
	preview := func(c *tools.Call, in moveIn) (tools.Preview, error) { return k.preview(c, in) }
	read := moveSpec("test_hook_read", "test.hookread")
	read.Risk, read.Class, read.Routes[0].Method = tools.Risk{DataOut: 2}, tools.ClassNone, "GET"
	read.Resource, read.Undo = "thing:*", "nothing to undo"
	cancel := moveSpec("test_cancel", "test.cancel")
	cancel.Scope, cancel.Class, cancel.Resource, cancel.Brake = "", tools.ClassNone, "job:/job_id", true
	cancel.Risk.Money = 0
	return []*tools.Tool{
		tools.Define(moveSpec("test_hook", "test.hook"), tools.Func[moveIn, moveOut]{
			Preview: preview,
			Write:   move,
			Fill: func(c *tools.Call, in *moveIn) error {
				p, err := k.preview(c, *in)
				if err == nil && in.Amount == 0 {
					in.Amount = p.Money.AmountMinor + 1
				}
				return err
			},
		}),
		tools.Define(moveSpec("test_hook_steps", "test.hooksteps"), tools.Func[moveIn, moveOut]{
			Preview: preview,
			Step:    func(c *tools.Call, in moveIn, p *tools.Progress) (moveOut, error) { return k.step(c, in, p) },
			Stopped: func(c *tools.Call, in moveIn, p tools.Progress) error { return k.stopped(c, in, p) },
		}),
		tools.Define(read, tools.Func[struct{}, moveOut]{Read: func(*tools.Call, struct{}) (moveOut, error) { return k.read() }}),
		tools.Define(cancel, tools.Func[cancelIn, tools.Job]{
			Preview: func(*tools.Call, cancelIn) (tools.Preview, error) { return tools.Preview{}, nil },
			Write: func(c *tools.Call, in cancelIn) (tools.Job, error) {
				return c.Jobs.CancelJob(c.Tx, c.Principal, in.JobID, "")
			},
		}),
	}
}

// approved parks a call of one lamp, approves it and gives its job.
func (h *house) approved(tool string) string {
	h.t.Helper()
	id := h.parked(tool, oneLamp).JobID
	if err := h.vote(id, approvals.Approve); err != nil {
		h.t.Fatal(err)
	}
	return id
}

// queued calls test_hook_steps for an amount of lamps and gives its job.
func (h *house) queued(amount string) string {
	h.t.Helper()
	out, err := h.call(h.free, "test_hook_steps", `{"thing":"lamp","amount":`+amount+`}`)
	if err != nil {
		h.t.Fatal(err)
	}
	return h.result(out).JobID
}

// begun is queued with the job under a lease of worker.
func (h *house) begun(amount, worker string) (j approvals.Job) {
	h.t.Helper()
	h.queued(amount)
	h.tx(func(tx *store.Tx) (err error) {
		if j, _, err = approvals.Claim(tx, worker); err == nil {
			_, err = h.begin(tx, j, worker, nil)
		}
		return err
	})
	j.Owner = worker
	return j
}

// takenOver lets worker take a job whose lease has run out, and do a step of it.
func (h *house) takenOver(id, worker string) {
	h.t.Helper()
	h.tx(func(tx *store.Tx) error {
		_, _, err := approvals.Claim(tx, worker)
		return err
	})
	if _, err := h.step(h.t.Context(), id, worker); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) cancel(p auth.Principal, id string) error {
	_, err := h.call(p, "test_cancel", `{"job_id":"`+id+`"}`)
	return err
}

func (h *house) sweep() {
	h.t.Helper()
	if err := h.Sweep(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// want holds the house to where a job stands and to how many effects there are.
func (h *house) want(id string, s tools.JobStatus, effects int) {
	h.t.Helper()
	if j := h.job(id); j.Status != s || h.effects() != effects {
		h.t.Errorf("the job is %s (%s: %s) with %d effects, want %s with %d", j.Status, j.Reason, j.Why, h.effects(), s, effects)
	}
}

// badSQL dooms the transaction of c, as a fault in a tool's statement does.
func badSQL(c *tools.Call) error {
	_, err := c.Exec(`SELECT no_such_column FROM test_things`)
	return err
}

// gap is a place at which a tool's code stops, once, until the test lets it go on.
type gap struct{ reached, goOn chan struct{} }

func newGap() gap { return gap{make(chan struct{}), make(chan struct{})} }

func (g gap) stop(ctx context.Context) {
	close(g.reached)
	select {
	case <-g.goOn:
	case <-ctx.Done(): // the test has failed
	}
}

// waitForLock returns when another transaction waits for a job's row. On SQLite it returns at once: there a writer that
// comes later has to wait whatever it is about to touch.
func (h *house) waitForLock() {
	h.t.Helper()
	if h.db.Engine() == "sqlite" {
		return
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), 20*time.Second)
	defer cancel()
	for waiting := 0; waiting == 0; {
		err := h.db.Read(ctx, func(tx *store.Tx) error {
			return tx.QueryRow(`SELECT COUNT(*) FROM pg_locks w JOIN pg_locks j ON j.pid = w.pid
				WHERE NOT w.granted AND j.relation = CAST('jobs' AS regclass)`).Scan(&waiting)
		})
		if err != nil {
			h.t.Fatalf("nobody waits for a job: %v", err)
		}
	}
}
