package export

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// A Cursor is how far a sink has come.
type Cursor struct {
	Name    string    `json:"name"`
	Seq     int64     `json:"seq"`      // all up to it was taken
	Behind  int64     `json:"behind"`   // how many entries were not
	Oldest  time.Time `json:"oldest"`   // when the first of them happened, and MovedAt when that cannot be read; zero when there is none
	MovedAt time.Time `json:"moved_at"` // when something was taken last
	Failing time.Time `json:"failing"`  // since when nothing is; zero when all is well
	Problem string    `json:"problem"`

	upto       int64
	owner      string
	leaseUntil time.Time
}

const cursorColumns = `name, seq, upto, lease_owner, lease_until, moved_at, failing_at, problem`

func scanCursor(r store.Row) (c Cursor, err error) {
	return c, r.Scan(&c.Name, &c.Seq, &c.upto, &c.owner, store.At(&c.leaseUntil), store.At(&c.MovedAt), store.At(&c.Failing), &c.Problem)
}

// Cursors are all sinks there have been and how far they have come, by name. One that is configured no more is there until it is forgotten.
func Cursors(tx *store.Tx) ([]Cursor, error) {
	all, err := store.All(tx, scanCursor, `SELECT `+cursorColumns+` FROM audit_exports ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("reading how far exports of the audit log are: %w", err)
	}
	head, err := audit.Head(tx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		c := &all[i]
		if c.Behind = head - c.Seq; c.Behind == 0 {
			continue
		}
		c.Oldest = c.MovedAt // of what is gone from the record nothing else can be told
		next, err := audit.ReadStretch(tx, c.Seq, head, 1, 1, false)
		if err == nil && len(next.Entries) == 1 {
			c.Oldest = next.Entries[0].At
		}
	}
	return all, nil
}

// Lag is Cursors for who has no transaction.
func (x *Exports) Lag(ctx context.Context) (all []Cursor, err error) {
	err = x.DB.Read(ctx, func(tx *store.Tx) error {
		all, err = Cursors(tx)
		return err
	})
	return all, err
}

// Forget drops the place of a sink that is configured no more, so that nothing waits for it. It returns store.ErrNotFound when there is none. Whoever
// forgets appends an entry that says so.
func Forget(tx *store.Tx, name string) error {
	n, err := tx.Exec(`DELETE FROM audit_exports WHERE name = $1`, name)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("forgetting the export %q: %w", name, err)
	}
	return nil
}

// planned is a batch that is to be sent, and the row it was planned on.
type planned struct {
	on    Cursor
	batch Batch
}

// plan reads what is to be sent next, nil when there is nothing, or another process sends.
func (x *Exports) plan(ctx context.Context, name string) (*planned, error) {
	p, err := x.read(ctx, name)
	if !errors.Is(err, store.ErrNotFound) {
		return p, err
	}
	if err := x.DB.InTx(ctx, func(tx *store.Tx) error { return begin(tx, name) }); err != nil {
		return nil, err
	}
	return x.read(ctx, name)
}

// begin gives a new sink its place: before the first entry that is still there.
func begin(tx *store.Tx, name string) error {
	first, err := audit.FirstKept(tx)
	if err != nil {
		return err
	}
	_, err = tx.Exec(`INSERT INTO audit_exports (name, seq, upto, lease_owner, lease_until, moved_at, problem) VALUES ($1, $2, $2, '', 0, $3, '')
		ON CONFLICT DO NOTHING`, name, first-1, tx.Now.UnixMicro())
	return err
}

func (x *Exports) read(ctx context.Context, name string) (p *planned, err error) {
	err = x.DB.Read(ctx, func(tx *store.Tx) error {
		c, err := store.One(tx, scanCursor, `SELECT `+cursorColumns+` FROM audit_exports WHERE name = $1`, name)
		if err != nil || c.owner != x.owner && c.leaseUntil.After(tx.Now) {
			return err
		}
		s, err := x.stretch(tx, c)
		if err == nil && s.Upto > c.Seq {
			p = &planned{on: c, batch: Batch{First: c.Seq + 1, Last: s.Upto, Entries: s.Entries}}
		}
		return err
	})
	return p, err
}

// stretch reads the batch that was perhaps sent already, whole, or a new one.
func (x *Exports) stretch(tx *store.Tx, c Cursor) (audit.Stretch, error) {
	if c.upto == c.Seq {
		return audit.ReadStretch(tx, c.Seq, math.MaxInt64, batchEntries, batchBytes, x.Personal)
	}
	s, err := audit.ReadStretch(tx, c.Seq, c.upto, int(c.upto-c.Seq), math.MaxInt, x.Personal)
	if err == nil && s.Upto != c.upto {
		err = fmt.Errorf("%w: entries %d to %d were sent to %s and are gone", audit.ErrTampered, s.Upto+1, c.upto, c.Name)
	}
	return s, err
}

// claim takes the lease and notes how far the batch reaches, if the row is as it was when the batch was planned.
func (x *Exports) claim(ctx context.Context, p *planned) (ours bool, err error) {
	err = x.DB.InTx(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`UPDATE audit_exports SET lease_owner = $1, lease_until = $2, upto = $3
			WHERE name = $4 AND seq = $5 AND upto = $6 AND (lease_owner = $1 OR lease_until <= $7)`,
			x.owner, tx.Now.Add(leaseTime).UnixMicro(), p.batch.Last, p.on.Name, p.on.Seq, p.on.upto, tx.Now.UnixMicro())
		ours = n == 1
		return err
	})
	return ours, err
}

// move moves a sink's place past a batch, if nobody else has taken over meanwhile.
func (x *Exports) move(ctx context.Context, p *planned) (moved bool, err error) {
	err = x.DB.InTx(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`UPDATE audit_exports SET seq = $1, moved_at = $2, failing_at = NULL, problem = ''
			WHERE name = $3 AND seq = $4 AND upto = $1 AND lease_owner = $5`, p.batch.Last, tx.Now.UnixMicro(), p.on.Name, p.on.Seq, x.owner)
		moved = n == 1
		return err
	})
	return moved, err
}

// fail notes on the row that a sink does not take what it is sent.
func (x *Exports) fail(ctx context.Context, p *planned, why error) error {
	if ctx.Err() != nil {
		return nil // it was we who ended it
	}
	return x.DB.InTx(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE audit_exports SET failing_at = COALESCE(failing_at, $1), problem = $2 WHERE name = $3 AND seq = $4 AND lease_owner = $5`,
			tx.Now.UnixMicro(), why.Error(), p.on.Name, p.on.Seq, x.owner)
		return err
	})
}

// release gives up the leases, so that another process goes on at once.
func (x *Exports) release(ctx context.Context) error {
	err := x.DB.InTx(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE audit_exports SET lease_owner = '', lease_until = 0 WHERE lease_owner = $1`, x.owner)
		return err
	})
	if err != nil {
		return fmt.Errorf("giving up the exports of the audit log: %w", err)
	}
	return nil
}
