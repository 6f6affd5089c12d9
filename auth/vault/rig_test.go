package vault

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// clock is a database's clock that tests move.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

// A rig is a vault with a merchant, a person and an authorization server, on a database of its own.
type rig struct {
	*Vault
	*clock
	t      *testing.T
	as     *authServer
	person auth.Principal
	path   string // of the master keys

	mu    sync.Mutex
	heard []error
}

// on runs fn with a rig on each engine. change may be nil.
func on(t *testing.T, change func(*authServer, *Provider), fn func(*testing.T, *rig)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := &rig{t: t, as: newAuthServer(t), clock: &clock{}, path: filepath.Join(t.TempDir(), "vault.key")}
		db.Now = r.now
		p := r.as.describes(t, "acme")
		if change != nil {
			change(r.as, &p)
		}
		r.Vault = r.process(db, p)
		r.person = someone(t, db, "shop", "ann")
		fn(t, r)
	})
}

// process makes a vault as another process on the same database and file would have it.
func (r *rig) process(db *store.DB, providers ...Provider) *Vault {
	r.t.Helper()
	keys, err := OpenKeys("", r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	v, err := New(Config{DB: db, Keys: keys, Providers: providers, PublicURL: "https://gate.example", OnError: func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.heard = append(r.heard, err)
	}})
	if err != nil {
		r.t.Fatal(err)
	}
	return v
}

// someone gives a person of a merchant who is signed in.
func someone(t testing.TB, db *store.DB, merchant, name string) (p auth.Principal) {
	t.Helper()
	err := db.InTx(t.Context(), func(tx *store.Tx) error {
		m, err := auth.EnsureMerchant(tx, merchant)
		if err != nil {
			return err
		}
		added, _, err := auth.AddPerson(tx, m.ID, name)
		p = auth.Principal{Kind: auth.KindPerson, ID: added.ID, Merchant: m.ID, Name: name}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return signIn(t, db, p)
}

// signIn gives a person in a new session.
func signIn(t testing.TB, db *store.DB, p auth.Principal) auth.Principal {
	t.Helper()
	err := db.InTx(t.Context(), func(tx *store.Tx) error {
		link, _, err := auth.MintLink(tx, p.Merchant, p.ID, 0)
		if err != nil {
			return err
		}
		proof, err := auth.ProveByLink(tx, link)
		if err != nil {
			return err
		}
		s, _, err := auth.StartSession(tx, proof, "", "")
		p.Session, p.StepUpAt = s.ID, s.StepUpAt
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// confirmed is p, signed in anew when too long has passed for connecting.
func (r *rig) confirmed(p auth.Principal) auth.Principal {
	if r.db.Now().Sub(p.StepUpAt) > auth.StepUpTime {
		p = signIn(r.t, r.db, p)
	}
	return p
}

func by(p auth.Principal) By { return By{Principal: p, Transport: "rest", Source: "192.0.2.1"} }

// connect takes a person through the whole ceremony.
func (r *rig) connect(p auth.Principal) Connection {
	r.t.Helper()
	p = r.confirmed(p)
	address, err := r.Begin(r.t.Context(), by(p), "acme")
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := r.Finish(r.t.Context(), by(p), "acme", r.as.visit(address, p.Name))
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// token asks for the rig's person.
func (r *rig) token() (string, error) {
	access, _, err := r.Token(r.t.Context(), r.person.Merchant, r.person.ID, "acme")
	return access, err
}

// row is the one connection of the rig's person as it stands in the database.
func (r *rig) row(id string) (c Connection) {
	r.t.Helper()
	err := r.db.Read(r.t.Context(), func(tx *store.Tx) (err error) {
		c, err = store.One(tx, scanConnection, `SELECT `+connectionColumns+` FROM connections WHERE id = $1`, id)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// recorded are the events on record, oldest first, each with its code.
func (r *rig) recorded() []string {
	r.t.Helper()
	var events []string
	err := r.db.Read(r.t.Context(), func(tx *store.Tx) error {
		entries, err := audit.Find(tx, audit.Filter{Limit: 10_000})
		for _, e := range entries {
			if text := strings.TrimSpace(e.Event + " " + e.Code); strings.HasPrefix(text, "connection.") || strings.HasPrefix(text, "vault.") {
				events = append([]string{text}, events...)
			}
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return events
}

// exec changes the database behind the vault's back.
func (r *rig) exec(q string, args ...any) {
	r.t.Helper()
	err := r.db.InTx(r.t.Context(), func(tx *store.Tx) error {
		n, err := tx.Exec(q, args...)
		if err == nil && n == 0 {
			err = fmt.Errorf("nothing was changed by %s", q)
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// dump is every value of every table, as text.
func dump(ctx context.Context, t testing.TB, db *store.DB) string {
	t.Helper()
	var all strings.Builder
	err := db.Read(ctx, func(tx *store.Tx) error {
		q := `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`
		if tx.Engine() == "postgres" {
			q = `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`
		}
		tables, err := store.All(tx, func(r store.Row) (name string, err error) { return name, r.Scan(&name) }, q)
		if err != nil {
			return err
		}
		for _, table := range tables {
			if err := dumpTable(tx, &all, table); err != nil {
				return fmt.Errorf("%s: %w", table, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func dumpTable(tx *store.Tx, all *strings.Builder, table string) error {
	rows, err := tx.Query(`SELECT * FROM ` + table)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			fmt.Fprintf(all, "%s.%s=%v\n", table, columns[i], v)
		}
	}
	return rows.Err()
}

// contextOf is a context that a test ends when it likes.
func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}
