package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// A wire is a house whose record can be given its numbers, and which can be listened to.
type wire struct {
	*house
	log *audit.Log
}

func newWire(t *testing.T, db *store.DB) wire {
	t.Helper()
	signer, key, err := audit.LoadOrCreateSigner(filepath.Join(t.TempDir(), "key"), "test")
	if err != nil {
		t.Fatal(err)
	}
	return wire{newHouse(t, db), audit.New(audit.Config{DB: db, Signer: signer, VerifierKey: key})}
}

// put puts an entry about a request on record.
func (w wire) put(merchant, event, id string) {
	w.t.Helper()
	w.tx(func(tx *store.Tx) error {
		_, err := audit.Append(tx, audit.Entry{Merchant: merchant, Event: event, ApprovalID: id, JobID: "job_" + id})
		return err
	})
}

// number gives numbers to what is on record.
func (w wire) number() {
	w.t.Helper()
	if _, err := w.log.Sequence(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w wire) listen(g *Gate, p auth.Principal, after int64) *Listener {
	w.t.Helper()
	l, err := g.Listen(w.t.Context(), p, after)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// signedIn is the person of the house in a browser.
func (w wire) signedIn() auth.Principal {
	w.t.Helper()
	var link string
	w.tx(func(tx *store.Tx) (err error) {
		link, _, err = auth.MintLink(tx, w.merchant, w.person.ID, 0)
		return err
	})
	in, err := w.SignInByLink(w.t.Context(), Browser{Source: "127.0.0.1"}, link)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := w.Session(w.t.Context(), Browser{Session: in.Secret})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// happened takes news from l until some of what happened is among it.
func (w wire) happened(l *Listener) (n News, h Happened) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	for {
		n, err := l.Next(ctx)
		if err != nil {
			w.t.Fatalf("nothing more is heard: %v", err)
		}
		if n.Kind == NewsOfCounts {
			continue
		}
		if err := json.Unmarshal(n.Data, &h); err != nil {
			w.t.Fatal(err)
		}
		return n, h
	}
}

// Writers of two merchants write all the time, two processes on one database are asked in turn, and the listener leaves and comes back wherever it
// happens to be.
func TestAListenerThatComesBackMissesNothingAndHearsNothingTwice(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWire(t, db)
		gates := []*Gate{w.Gate, newOther(w)}
		defer storetest.NothingLeft(t)()
		for _, g := range gates { // so that each follows at its own pace
			defer w.listen(g, w.person, FromNow).Close()
		}
		const writers, each = 4, 100
		settled := w.bustle(writers, each)
		l := w.listen(w.Gate, w.person, 0)
		var told []string
		for turns := 1; len(told) < writers*each; turns++ {
			for taken := rand.IntN(8); taken >= 0 && len(told) < writers*each; taken-- {
				_, h := w.happened(l)
				told = append(told, h.ID)
			}
			at := l.Told()
			l.Close()
			l = w.listen(gates[turns%2], w.person, at)
		}
		l.Close()
		settled()
		if want := w.inOrder(); !slices.Equal(told, want) {
			t.Errorf("%d were told and %d recorded, or not in their order:\n%v\n%v", len(told), len(want), told, want)
		}
	})
}

// bustle writes votes, and what is none or nobody's business, and numbers it all meanwhile. The function that it gives waits for the end.
func (w wire) bustle(writers, each int) (settled func()) {
	ctx, stop := context.WithCancel(w.t.Context())
	var writing, numbering sync.WaitGroup
	for i := range writers {
		writing.Go(func() {
			for j := range each {
				w.put(w.merchant, "approval.vote", fmt.Sprintf("apr_%d_%d", i, j))
				w.put("mer_other", "approval.vote", "apr_theirs")
				w.put(w.merchant, "approval.read", "apr_read")
			}
		})
	}
	numbering.Go(func() {
		for ctx.Err() == nil {
			_, _ = w.log.Sequence(ctx)
			time.Sleep(time.Millisecond)
		}
	})
	return func() {
		writing.Wait()
		stop()
		numbering.Wait()
	}
}

// newOther is another process on w's database.
func newOther(w wire) *Gate { return New(Config{DB: w.db, Tools: w.tools, Log: w.Gate.log}) }

// inOrder are the requests that were voted on, as the record has them.
func (w wire) inOrder() (ids []string) {
	w.t.Helper()
	w.number()
	w.tx(func(tx *store.Tx) error {
		all, err := audit.Tail(tx, 0, 1_000_000)
		for _, e := range all {
			if e.Merchant == w.merchant && e.Event == "approval.vote" {
				ids = append(ids, e.ApprovalID)
			}
		}
		return err
	})
	return ids
}

func TestWhoMayListenNoMoreHearsNothingMore(t *testing.T) {
	for name, shut := range map[string]func(w wire, p auth.Principal) error{
		"the session is revoked": func(w wire, p auth.Principal) error { return w.SignOut(w.t.Context(), p, Browser{}) },
		"the person is revoked": func(w wire, p auth.Principal) error {
			return w.db.InTx(w.t.Context(), func(tx *store.Tx) error {
				return errors.Join(auth.BeginChange(tx, w.merchant), auth.RevokePerson(tx, w.merchant, p.ID))
			})
		},
		"the role loses the right": func(w wire, _ auth.Principal) error {
			return w.db.InTx(w.t.Context(), func(tx *store.Tx) error {
				return errors.Join(auth.BeginChange(tx, w.merchant), auth.PutRole(tx, auth.Role{Merchant: w.merchant, Name: "manager", Scopes: []auth.Scope{auth.KeysAdmin}}))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				w := newWire(t, db)
				defer storetest.NothingLeft(t)()
				p := w.signedIn()
				l := w.listen(w.Gate, p, FromNow)
				defer l.Close()
				w.put(w.merchant, "approval.requested", "apr_before")
				w.number()
				if _, h := w.happened(l); h.ID != "apr_before" || h.State != "pending" {
					t.Fatalf("heard of %+v", h)
				}
				if err := shut(w, p); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				w.put(w.merchant, "approval.requested", "apr_after")
				w.number()
				for {
					n, err := l.Next(t.Context())
					if err != nil {
						wantOneOf(t, err, tools.Unauthorized, tools.ForbiddenApprover, tools.ForbiddenScope)
						t.Logf("ended after %v", time.Since(began).Round(time.Millisecond))
						return
					}
					if n.Kind != NewsOfCounts { // which may have been on its way
						t.Fatalf("told %s %s", n.Kind, n.Data)
					}
				}
			})
		})
	}
}

func wantOneOf(t *testing.T, err error, codes ...tools.Code) {
	t.Helper()
	var r *tools.Refusal
	if !errors.As(err, &r) || !slices.Contains(codes, r.Code) {
		t.Errorf("got %v, want one of %v", err, codes)
	}
}

func TestOnlyWhoMayReadApprovalsListens(t *testing.T) {
	w := newWire(t, storetest.New(t, "sqlite"))
	_, err := w.Listen(t.Context(), w.bot, FromNow)
	wantCode(t, err, tools.ForbiddenApprover)
	w.tx(func(tx *store.Tx) error {
		if err := auth.PutRole(tx, auth.Role{Merchant: w.merchant, Name: "clerk", Scopes: []auth.Scope{auth.PolicyAdmin}}); err != nil {
			return err
		}
		_, _, err := auth.AddPerson(tx, w.merchant, "clerk", "clerk")
		if err == nil {
			w.person, err = auth.FindPerson(tx, w.merchant, "clerk")
		}
		return err
	})
	_, err = w.Listen(t.Context(), w.person, FromNow)
	wantOneOf(t, err, tools.ForbiddenScope)
	if n := len(w.entries("approval.refused")); n != 2 {
		t.Errorf("%d refusals are on record", n)
	}
}

func TestAListenerThatDoesNotTakeItsNewsIsSentAwayAndLosesNothing(t *testing.T) {
	w := newWire(t, storetest.New(t, "sqlite"))
	defer storetest.NothingLeft(t)()
	l, quick := w.listen(w.Gate, w.person, FromNow), w.listen(w.Gate, w.person, FromNow)
	defer quick.Close()
	for i := range newsMax + 1 {
		w.put(w.merchant, "approval.vote", fmt.Sprint("apr_", i))
		if i%20 != 0 && i != newsMax {
			continue
		}
		w.number()
		for h := (Happened{}); h.ID != fmt.Sprint("apr_", i); {
			_, h = w.happened(quick)
		}
	}
	var told []string
	for {
		n, err := l.Next(t.Context())
		if errors.Is(err, errSlow) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var h Happened
		if err := json.Unmarshal(n.Data, &h); err == nil && n.Kind == NewsOfApproval {
			told = append(told, h.ID)
		}
	}
	back := w.listen(w.Gate, w.person, l.Told())
	defer back.Close()
	for len(told) < newsMax+1 {
		_, h := w.happened(back)
		told = append(told, h.ID)
	}
	if want := w.inOrder(); !slices.Equal(told, want) {
		t.Errorf("told %v, recorded %v", told, want)
	}
}

func TestWhatCannotBeToldAgainIsLost(t *testing.T) {
	w := newWire(t, storetest.New(t, "sqlite"))
	w.tx(func(tx *store.Tx) (err error) {
		for range gapMax + 1 {
			if _, err = audit.Append(tx, audit.Entry{Merchant: "mer_other", Event: "call"}); err != nil {
				return err
			}
		}
		return err
	})
	w.number()
	for _, after := range []int64{0, 1_000_000} { // too long ago, and of another database
		l := w.listen(w.Gate, w.person, after)
		n, _ := w.happened(l)
		if n.Kind != NewsIsLost || n.Seq <= gapMax || n.Seq > 1_000_000 {
			t.Errorf("after %d: told %s at %d", after, n.Kind, n.Seq)
		}
		l.Close()
	}
	l := w.listen(w.Gate, w.person, 10) // just within what is told again
	defer l.Close()
	if n, err := l.Next(t.Context()); err != nil || n.Kind != NewsOfCounts || l.Told() <= gapMax {
		t.Errorf("told %s, everything up to %d: %v", n.Kind, l.Told(), err)
	}
}

func TestListenersAreBounded(t *testing.T) {
	w := newWire(t, storetest.New(t, "sqlite"))
	defer storetest.NothingLeft(t)()
	var open []*Listener
	for range listenersPerPerson / listenersPerSession {
		p := w.signedIn()
		for range listenersPerSession {
			open = append(open, w.listen(w.Gate, p, FromNow))
		}
		_, err := w.Listen(t.Context(), p, FromNow)
		if r := wantCode(t, err, tools.RateLimited); r.RetryAfter == 0 {
			t.Error("nobody is told when to come back")
		}
	}
	p := w.signedIn()
	_, err := w.Listen(t.Context(), p, FromNow)
	wantCode(t, err, tools.RateLimited)
	open[0].Close()
	open[0].Close() // is nothing
	w.listen(w.Gate, p, FromNow).Close()
	for _, l := range open {
		l.Close()
	}
	if w.feed.now != nil {
		t.Error("the record is followed for nobody")
	}
}

func TestNobodyListensWhileTheDatabaseCannotBeAsked(t *testing.T) {
	w := newWire(t, storetest.New(t, "sqlite"))
	defer storetest.NothingLeft(t)()
	l := w.listen(w.Gate, w.person, FromNow)
	defer l.Close()
	w.exec(`ALTER TABLE audit_sequence RENAME TO audit_sequence_away`)
	for {
		n, err := l.Next(t.Context())
		if err != nil {
			if !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("ended with %v", err)
			}
			return
		}
		if n.Kind != NewsOfCounts {
			t.Fatalf("told %s", n.Kind)
		}
	}
}

func TestNewsSaysHowThingsStand(t *testing.T) {
	for event, want := range map[string]string{
		"approval.requested": "pending", "approval.vote": "pending", "approval.escalated": "pending", "approval.rejected": "rejected",
		"approval.consumed": "consumed", "job.started": "running", "job.progress": "running", "job.succeeded": "succeeded", "job.indeterminate": "indeterminate",
		"approval.read": "", "approval.refused": "", "approval.overridden": "", "job.lost": "lost",
	} {
		n, ok := newsOf(audit.Sequenced{Seq: 7, Entry: audit.Entry{Event: event, ApprovalID: "apr_1", JobID: "job_1", Reason: "private", Actor: "key:1"}})
		var h Happened
		if ok {
			if err := json.Unmarshal(n.Data, &h); err != nil {
				t.Fatal(err)
			}
		}
		if h.State != want || ok != (want != "") {
			t.Errorf("%s is told as %s", event, n.Data)
		}
	}
}
