package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"testing"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// Every order in which a listener can come back while the record grows and is followed, and every number it can come back with.
func TestAListenerJoinsBetweenAnyTwoSteps(t *testing.T) {
	w := newWire(t, storetest.New(t, "sqlite"))
	orders, votes := 0, 0
	for order := range interleavings("hjc", "npnp") {
		for back := range int64(4) {
			j := joining{wire: w}
			j.begin()
			j.after += 1 - back
			if back == 0 && order[0] != 'n' {
				continue // nobody can have been told yet what is numbered first
			}
			orders++
			want := j.since(max(j.after, 0))
			for _, step := range order {
				if step == 'n' {
					votes++
					w.put(w.merchant, "approval.vote", fmt.Sprint("apr_", votes))
					want = append(want, fmt.Sprint("apr_", votes))
				}
				j.step(step)
			}
			j.step('p')
			if back == 0 {
				want = want[1:]
			}
			if told := j.told(); !slices.Equal(told, want) {
				t.Errorf("%s, %d back: told %v, want %v", order, back-1, told, want)
			}
			j.l.Close()
		}
	}
	t.Logf("%d orders", orders)
}

// A joining is a listener on its way in.
type joining struct {
	wire
	after, head, from int64
	l                 *Listener
}

// begin follows the record step by step, as somebody else listens.
func (j *joining) begin() {
	j.tx(func(tx *store.Tx) (err error) {
		j.after, err = audit.Head(tx)
		return err
	})
	j.feed.now = &follow{
		db: j.db, feed: &j.feed, at: j.after, stop: func() {}, listeners: map[*Listener]bool{{news: make(chan News, newsMax), who: j.person}: true},
	}
}

// since gives what was voted on after a number.
func (j *joining) since(after int64) (ids []string) {
	j.tx(func(tx *store.Tx) error {
		all, err := audit.About(tx, after, after+1000, "approval")
		for _, e := range all {
			ids = append(ids, e.ApprovalID)
		}
		return err
	})
	return ids
}

// step does one: numbers what is new, passes it on, or has the listener find the head, join, or catch up.
func (j *joining) step(what rune) {
	j.t.Helper()
	var err error
	switch what {
	case 'n':
		j.number()
	case 'p':
		err = j.feed.now.pass(j.t.Context())
	case 'h':
		j.l, j.head, err = j.newListener(j.t.Context(), j.person)
	case 'j':
		j.from, err = j.feed.join(j.Gate, j.l, j.head)
	case 'c':
		err = j.l.catchUp(j.t.Context(), j.db, j.after, j.from, j.head)
	}
	if err != nil {
		j.t.Fatal(err)
	}
}

// told takes what there is to take.
func (j *joining) told() (ids []string) {
	ctx, cancel := context.WithCancel(j.t.Context())
	cancel()
	for len(j.l.news) > 0 || len(j.l.missed) > 0 {
		n, err := j.l.Next(ctx)
		if err != nil {
			continue // the end of ctx was seen first, or nothing was new
		}
		var h Happened
		if err := json.Unmarshal(n.Data, &h); err == nil && n.Kind == NewsOfApproval {
			ids = append(ids, h.ID)
		}
	}
	return ids
}

// interleavings gives every order of the steps of two that each keep their own.
func interleavings(a, b string) iter.Seq[string] {
	return func(yield func(string) bool) { interleave("", a, b, yield) }
}

func interleave(done, a, b string, yield func(string) bool) bool {
	switch {
	case a == "" || b == "":
		return yield(done + a + b)
	case !interleave(done+a[:1], a[1:], b, yield):
		return false
	}
	return interleave(done+b[:1], a, b[1:], yield)
}
