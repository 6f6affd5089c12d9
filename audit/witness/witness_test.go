package witness

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// gate is a record that grows, with what watches it.
type gate struct {
	*testing.T
	db      *store.DB
	log     *audit.Log
	key     string
	trusted note.Verifiers
	told    []string
}

func newGate(t *testing.T, db *store.DB) *gate {
	t.Helper()
	secret, key, err := note.GenerateKey(nil, "test.example/audit")
	g := &gate{T: t, db: db, key: key}
	g.must(err)
	signer, err := note.NewSigner(secret)
	g.must(err)
	g.trusted, err = audit.Verifiers(key)
	g.must(err)
	g.log = audit.New(audit.Config{DB: db, Signer: signer, VerifierKey: key})
	return g
}

func (g *gate) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

// grow appends entries and signs them.
func (g *gate) grow(n int) {
	g.Helper()
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		for range n {
			if _, err := audit.Append(tx, audit.Entry{Event: "call"}); err != nil {
				return err
			}
		}
		return nil
	}))
	_, err := g.log.Sequence(g.Context())
	g.must(err)
}

func (g *gate) witness(to ...Destination) *Witness {
	return New(Config{DB: g.db, Key: g.key, Every: time.Hour, Destinations: to, Log: func(to string, err error) {
		if err == nil {
			to += " works"
		}
		g.told = append(g.told, to)
	}})
}

// rewrite has the log's owner throw the record away and begin another, with the key.
func (g *gate) rewrite(n int) {
	g.Helper()
	list := `SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'audit_%'`
	drop := func(name string) string { return `DROP TRIGGER ` + name }
	if g.db.Engine() == "postgres" {
		list = `SELECT t.tgname || ' ON ' || c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
			AND c.relname LIKE 'audit_%' AND c.relnamespace = CAST(quote_ident(current_schema()) AS regnamespace)`
	}
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		names, err := store.All(tx, func(r store.Row) (s string, err error) { return s, r.Scan(&s) }, list)
		for _, name := range names {
			if _, err := tx.Exec(drop(name)); err != nil {
				return err
			}
		}
		for _, table := range []string{"entries", "sequence", "tree", "checkpoints", "pending"} {
			if _, err := tx.Exec(`DELETE FROM audit_` + table); err != nil {
				return err
			}
		}
		return err
	}))
	g.grow(n)
}

func (g *gate) verify(place string) audit.Report {
	g.Helper()
	kept, err := Read(g.Context(), place, []string{g.key})
	g.must(err)
	r, err := audit.Verify(g.Context(), g.db, g.trusted, kept.Notes...)
	g.must(err)
	return r
}

// places are those that keep what they are told.
func (g *gate) places() map[string]Destination {
	file := filepath.Join(g.TempDir(), "checkpoints.jsonl")
	all := map[string]Destination{file: File{file}}
	dsns := []string{filepath.Join(g.TempDir(), "other.db")}
	if g.db.Engine() == "postgres" {
		dsns = append(dsns, storetest.DSN(g.T, "postgres"))
	}
	for _, dsn := range dsns {
		d, err := OpenDatabase(dsn, g.key)
		g.must(err)
		g.Cleanup(func() { d.Close() })
		all[dsn] = d
	}
	return all
}

func TestEachNewCheckpointIsKeptOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newGate(t, db)
		for place, to := range g.places() {
			w := g.witness(to)
			g.must(w.Once(t.Context())) // nothing is signed, or all is kept
			for range 3 {
				g.grow(2)
				g.must(w.Once(t.Context()))
				g.must(w.Once(t.Context()))
			}
			g.must(g.witness(to).Once(t.Context())) // as after a restart
			kept, err := Read(t.Context(), place, []string{g.key})
			g.must(err)
			if len(kept.Notes) < 3 || len(kept.Notes) > 4 {
				t.Errorf("%T keeps %d checkpoints", to, len(kept.Notes))
			}
			if r := g.verify(place); r.Bad != nil || r.Outside != int64(len(kept.Notes)) {
				t.Errorf("%T: %d of %d fit: %v", to, r.Outside, len(kept.Notes), r.Bad)
			}
			if s := w.State()[0]; s.Size != newest(g).Size || s.Problem != "" || s.CopiedAt.IsZero() {
				t.Errorf("%T: %+v", to, s)
			}
		}
	})
}

func newest(g *gate) (c audit.Checkpoint) {
	g.must(g.db.Read(g.Context(), func(tx *store.Tx) (err error) {
		c, err = audit.LastCheckpoint(tx)
		return err
	}))
	return c
}

// TestARewrittenRecordIsNotCopiedAndIsFound: inside, a record that was begun anew with the log's key is without a fault.
func TestARewrittenRecordIsNotCopiedAndIsFound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newGate(t, db)
		places := g.places()
		for _, to := range places {
			g.grow(3)
			g.must(g.witness(to).Once(t.Context()))
		}
		signed := newest(g).Size
		for _, n := range []int64{2, signed, signed + 5} {
			g.rewrite(int(n))
			if r, err := audit.Verify(t.Context(), db, g.trusted); err != nil || r.Bad != nil {
				t.Fatalf("inside, a record that was begun anew fits; here %v, %v", r.Bad, err)
			}
			for place, to := range places {
				w := g.witness(to)
				if err := w.Once(t.Context()); !errors.Is(err, audit.ErrTampered) || !w.State()[0].Tampered {
					t.Errorf("%T took a record of %d entries that did not grow out of what it keeps: %v", to, n, err)
				}
				if r := g.verify(place); r.Bad == nil || r.Bad.Checkpoint == 0 || r.Bad.Checkpoint > signed {
					t.Errorf("%T, %d entries: verify found %v", to, n, r.Bad)
				}
			}
		}
	})
}

// TestAPlaceTellsHowFarItIsBehind asks places as doctor does, which changes nothing there.
func TestAPlaceTellsHowFarItIsBehind(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newGate(t, db)
		now := time.Now()
		db.Now = func() time.Time { return now }
		places := g.places()
		ask := func(place string) Distance {
			t.Helper()
			d, err := DistanceTo(t.Context(), db, place, "")
			g.must(err)
			return d
		}
		none := filepath.Join(t.TempDir(), "none")
		if d := ask(none); d != (Distance{}) {
			t.Errorf("of a record without a checkpoint %+v is missing", d)
		}
		g.grow(3)
		first := newest(g).At
		if d := ask(none); d.Behind != 3 || !d.Since.Equal(first) {
			t.Errorf("where there is nothing, %+v is missing", d)
		}
		if _, err := os.Stat(none); err == nil {
			t.Error("asking made the place")
		}
		for _, to := range places {
			g.must(g.witness(to).Once(t.Context()))
		}
		for place, to := range places {
			if d := ask(place); d != (Distance{}) {
				t.Errorf("%T has all, and %+v is missing", to, d)
			}
		}
		now = now.Add(time.Hour)
		g.grow(2)
		next := newest(g).At
		now = now.Add(time.Hour)
		g.grow(2)
		for place, to := range places {
			if d := ask(place); d.Behind != 4 || !d.Since.Equal(next) {
				t.Errorf("%T lacks four since %v, and %+v is missing", to, next, d)
			}
		}
		g.rewrite(20)
		for place, to := range places {
			if _, err := DistanceTo(t.Context(), db, place, g.key); !errors.Is(err, audit.ErrTampered) {
				t.Errorf("%T: of a record that was rewritten it says %v", to, err)
			}
		}
	})
}

// receiver is a webhook's other side.
type receiver struct {
	mu     sync.Mutex
	status int
	bodies []payload
	ids    []string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, _ := io.ReadAll(q.Body)
	var p payload
	_ = json.Unmarshal(body, &p)
	r.bodies, r.ids = append(r.bodies, p), append(r.ids, q.Header.Get("webhook-id"))
	if q.Header.Get("webhook-signature") == "" {
		r.status = http.StatusUnauthorized
	}
	w.WriteHeader(r.status)
}

func TestADestinationThatFailsIsLoggedOnceAndMakesUpForIt(t *testing.T) {
	g := newGate(t, storetest.New(t, "sqlite"))
	r := &receiver{status: http.StatusServiceUnavailable}
	s := httptest.NewServer(r)
	defer s.Close()
	hook, err := NewWebhook(s.URL, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", time.Now)
	g.must(err)
	file := File{filepath.Join(t.TempDir(), "kept")}
	w := g.witness(hook, file)
	for range 3 {
		g.grow(1)
		if err := w.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "webhook: it answered 503") {
			t.Errorf("got %v", err)
		}
	}
	if s := w.State(); s[0].Problem == "" || s[0].FailingAt.IsZero() || s[0].Behind != 3 || s[1].Size != 3 || s[1].Problem != "" {
		t.Errorf("%+v", s)
	}
	r.status = http.StatusNoContent
	g.must(w.Once(t.Context()))
	if got := strings.Join(g.told, ", "); got != "webhook, webhook works" {
		t.Errorf("logged was %s", got)
	}
	last := len(r.ids) - 1
	if c := r.bodies[last].Data.Checkpoint; c.Note != newest(g).Note || r.bodies[last].Type != "audit.checkpoint" || !strings.HasSuffix(r.ids[last], "_3") {
		t.Errorf("sent was %s %+v", r.ids[last], r.bodies[last])
	}
}

// TestTheLastCheckpointLeavesAtTheEnd: what is signed at a shutdown is copied, however long the interval.
func TestTheLastCheckpointLeavesAtTheEnd(t *testing.T) {
	g := newGate(t, storetest.New(t, "sqlite"))
	path := filepath.Join(t.TempDir(), "kept")
	w := g.witness(File{path})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()
	g.grow(4)
	stop()
	g.must(<-ended)
	kept, err := Read(t.Context(), path, nil)
	g.must(err)
	if last := kept.Notes[len(kept.Notes)-1]; last != newest(g).Note {
		t.Errorf("the last that is kept is %s", last)
	}
}

// TestALineCutOffByACrashIsLeftOut cuts the file at every byte of its last line.
func TestALineCutOffByACrashIsLeftOut(t *testing.T) {
	g := newGate(t, storetest.New(t, "sqlite"))
	path := filepath.Join(t.TempDir(), "kept")
	g.grow(1)
	g.must(g.witness(File{path}).Once(t.Context()))
	whole, err := os.ReadFile(path)
	g.must(err)
	g.grow(1)
	for cut := len(whole) - 1; cut > 0; cut -= 13 {
		g.must(os.WriteFile(path, append(whole[:len(whole):len(whole)], whole[:cut]...), 0o600))
		g.must(g.witness(File{path}).Once(t.Context()))
		kept, err := Read(t.Context(), path, nil)
		g.must(err)
		want := 2
		if cut == len(whole)-1 {
			want = 3 // only the end of the line was missing
		}
		if len(kept.Notes) != want || kept.Unreadable != 3-want {
			t.Fatalf("cut at %d: %d are kept, %d cannot be read", cut, len(kept.Notes), kept.Unreadable)
		}
		if r := g.verify(path); r.Bad != nil {
			t.Fatal(r.Bad)
		}
	}
}

// TestAddressesAreNotQuoted: they may hold passwords.
func TestAddressesAreNotQuoted(t *testing.T) {
	for _, dsn := range []string{"", "mysql://user:hunter2@db/x", "postgres://user:hunter2@db:port/x"} {
		if _, err := OpenDatabase(dsn, "log+1+2"); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", dsn, err)
		}
	}
	if _, err := NewWebhook("https://hooks.example.com", "hunter2", time.Now); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	if _, err := NewWebhook("http://hooks.example.com", "", time.Now); err == nil {
		t.Error("a webhook over http was taken")
	}
}
