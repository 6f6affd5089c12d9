package gate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

const (
	maxTouched    = 10_000 // objects that wait for a look at who asks about them
	maxSuperseded = 20     // requests about one object that a look takes in
)

// touched are the objects that calls of this process have changed since somebody looked who asks people about them. It may lose some: it
// spares people a question whose answer could not be used, and what runs is held to what was shown in any case.
type touched struct {
	mu    sync.Mutex
	names map[[2]string]bool // merchant, object
}

// add notes what a call has changed.
func (t *touched) add(c *call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names == nil {
		t.names = map[[2]string]bool{}
	}
	for _, o := range append(c.objects, tools.Object{c.Tool.ResourceOf(c.Args)}) {
		for _, name := range o {
			if name != "" && !strings.HasSuffix(name, "*") && len(t.names) < maxTouched {
				t.names[[2]string{c.Principal.Merchant, name}] = true
			}
		}
	}
}

// take gives them, and forgets them.
func (t *touched) take() map[[2]string]bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := t.names
	t.names = nil
	return names
}

// supersede ends the requests that wait for people and whose object was changed since they were asked.
func (g *Gate) supersede(ctx context.Context) error {
	var failed error
	for name := range g.touched.take() {
		var pending []approvals.Request
		err := g.db.Read(ctx, func(tx *store.Tx) (err error) {
			pending, err = approvals.PendingAbout(tx, name[0], name[1], maxSuperseded)
			return err
		})
		for _, r := range pending {
			err = errors.Join(err, g.supersedeOne(ctx, r))
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

func (g *Gate) supersedeOne(ctx context.Context, r approvals.Request) error {
	var changed []tools.Change
	err := g.db.Read(ctx, func(tx *store.Tx) (err error) {
		changed, err = g.changedSinceAsked(tx, r)
		return err
	})
	if err != nil || len(changed) == 0 {
		return err
	}
	return g.db.InTx(ctx, func(tx *store.Tx) error {
		const why = "What it is about was changed while it waited for people. Read it again; it may be asked again."
		if err := approvals.Supersede(tx, r, changed, why); err != nil {
			return err
		}
		j, err := approvals.FindJob(tx, r.Merchant, r.JobID)
		if err != nil || j.Status != tools.JobCancelled {
			return err
		}
		return giveBack(tx, j)
	})
}

// changedSinceAsked computes the effect of a stored call once more, and lists what is not as it was shown.
func (g *Gate) changedSinceAsked(tx *store.Tx, r approvals.Request) ([]tools.Change, error) {
	j, err := approvals.FindJob(tx, r.Merchant, r.JobID)
	if err != nil {
		return nil, err
	}
	c := g.stored(j, asker(j))
	if c.Tx = tx; c.Tool == nil {
		return nil, nil
	}
	err = g.safely(c.ID, func() (err error) {
		c.preview, err = c.Tool.Handler().Preview(&c.Call)
		return err
	})
	if refusal := (*tools.Refusal)(nil); errors.As(err, &refusal) {
		return []tools.Change{{Field: "possible", From: "yes", To: string(refusal.Code)}}, nil
	}
	if err != nil || c.preview.Version == r.Binding.ResourceVersion {
		return nil, err
	}
	return slices.DeleteFunc(versions(r.Binding.ResourceVersion, c.preview.Version), func(ch tools.Change) bool { return ch.From == ch.To }), nil
}
