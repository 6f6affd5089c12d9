package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
)

// defaultData is where everything is kept when nobody says.
const defaultData = "./dtcgate-data"

// storage says where everything is kept.
type storage struct {
	Data     string `default:"${data}" placeholder:"DIR" help:"Directory of the database, the audit key and outgoing messages."`
	DB       string `name:"db" placeholder:"PATH|postgres://…" help:"The database, when it is not dtcgate.db in --data."`
	AuditKey string `placeholder:"PATH" help:"The key that signs the audit log, when it is not audit.key in --data."`
}

func (s storage) dsn() string {
	if s.DB != "" {
		return s.DB
	}
	return filepath.Join(s.Data, "dtcgate.db")
}

func (s storage) embedded() bool { return !strings.Contains(s.dsn(), "://") }

func (s storage) auditKey() string {
	if s.AuditKey != "" {
		return s.AuditKey
	}
	return filepath.Join(s.Data, "audit.key")
}

// create opens the database and makes it when it is not there.
func (s storage) create(ctx context.Context) (*store.DB, error) {
	if err := os.MkdirAll(s.Data, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	return store.Open(ctx, s.dsn())
}

// existing opens the database. A SQLite file that is not there is refused and not made: the path is likely mistyped.
func (s storage) existing(ctx context.Context) (*store.DB, error) {
	if s.embedded() {
		if _, err := os.Stat(s.dsn()); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("there is no database at %s: name another with --data or --db, or make one with `dtcgate demo load`", s.dsn())
		}
	}
	return store.Open(ctx, s.dsn())
}

// app is what every command is given.
type app struct {
	storage
	out  *output
	err  io.Writer
	self string // how the program was called, for lines to paste
}

// forMerchant is the flag of commands that are about one merchant.
type forMerchant struct {
	Merchant string `placeholder:"NAME" help:"The merchant, when there are several."`
}

func (f forMerchant) find(tx *store.Tx) (auth.Merchant, error) {
	if f.Merchant == "" {
		return auth.OnlyMerchant(tx)
	}
	m, err := auth.FindMerchant(tx, f.Merchant)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("there is no merchant %q", f.Merchant)
	}
	return m, err
}

// change runs fn in a transaction about the merchant.
func (a *app) change(ctx context.Context, f forMerchant, fn func(*store.Tx, auth.Merchant) error) error {
	return a.with(ctx, func(db *store.DB) error {
		return db.InTx(ctx, func(tx *store.Tx) error {
			m, err := f.find(tx)
			if err != nil {
				return err
			}
			return fn(tx, m)
		})
	})
}

// look runs fn on a snapshot, about the merchant.
func (a *app) look(ctx context.Context, f forMerchant, fn func(*store.Tx, auth.Merchant) error) error {
	return a.with(ctx, func(db *store.DB) error {
		return db.Read(ctx, func(tx *store.Tx) error {
			m, err := f.find(tx)
			if err != nil {
				return err
			}
			return fn(tx, m)
		})
	})
}

// with opens the existing database for fn.
func (a *app) with(ctx context.Context, fn func(*store.DB) error) error {
	db, err := a.existing(ctx)
	if err != nil {
		return err
	}
	return errors.Join(fn(db), db.Close())
}

// administer runs fn with a gate and the operator at work on the merchant. What changes who may do what goes through the
// gate, as it does over the network.
func (a *app) administer(ctx context.Context, f forMerchant, fn func(*gate.Gate, gate.By) error) error {
	return a.with(ctx, func(db *store.DB) error {
		var m auth.Merchant
		err := db.Read(ctx, func(tx *store.Tx) (err error) {
			m, err = f.find(tx)
			return err
		})
		if err != nil {
			return err
		}
		g := gate.New(gate.Config{DB: db, Tools: registry, Log: zerolog.New(secret.Redacting(a.err))})
		return fn(g, gate.By{Principal: auth.OperatorPrincipal(m.ID), Transport: "cli"})
	})
}

// record puts on record what a command did, in the transaction in which it does it.
func record(tx *store.Tx, e audit.Entry) error {
	e.Actor, e.Chain, e.Transport, e.Status = auth.Operator, []string{auth.Operator}, "cli", "done"
	if _, err := audit.Append(tx, e); err != nil {
		return fmt.Errorf("recording %s: %w", e.Event, err)
	}
	return nil
}
