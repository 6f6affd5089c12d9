package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// A long record beside a short one. Entries are stored by package audit and numbered here, many more in a transaction than its sequencer takes; the
// check of the record (verify.go) holds this to the same rules.

const (
	fewRows    = 1000
	rowsAtOnce = 10_000
	numberedAt = 500     // entries in one pass of the sequencer that is timed
	leastFree  = 4 << 30 // bytes of disk that are left to others
)

func (b *bench) flatRecord(ctx context.Context) error {
	b.flatHead("audit rows")
	var made []string
	for _, engine := range engines {
		told, err := b.flatRecordOn(ctx, engine)
		if err != nil {
			return fmt.Errorf("%s: %w", engine, err)
		}
		made = append(made, told)
	}
	fmt.Printf("\n%s\n", strings.Join(made, "\n"))
	return nil
}

// flatRecordOn also tells how the long record was made.
func (b *bench) flatRecordOn(ctx context.Context, engine string) (told string, err error) {
	var sides [2]*stand
	var logs [2]*audit.Log
	var sample audit.Entry
	made := [2]int{fewRows, b.rows}
	for side := range made {
		dsn, end, err := b.database(engine, fmt.Sprint("record", side))
		if err != nil {
			return "", err
		}
		defer end()
		if sides[side], err = newStand(ctx, dsn, ""); err != nil {
			return "", err
		}
		defer sides[side].close()
		sides[side].db.Now = time.Now
		if logs[side], sample, err = b.recordOf(ctx, sides[side]); err != nil {
			return "", err
		}
		began, free := time.Now(), b.free()
		if made[side], err = b.fillRows(ctx, sides[side], sample, made[side]); err != nil {
			return "", err
		}
		told = fmt.Sprintf("%s: %d audit rows were made in %s, and each takes %d bytes of disk.", engine, made[side], time.Since(began).Round(time.Second),
			(free-b.free())/max(1, int64(made[side])))
	}
	return told, b.flatRows(ctx, engine, made, sides, logs, sample)
}

// flatRows times a recorded call, and a pass of the sequencer.
func (b *bench) flatRows(ctx context.Context, engine string, made [2]int, sides [2]*stand, logs [2]*audit.Log, sample audit.Entry) error {
	names := between(made[0], made[1], "audit rows")
	if err := b.flatness(ctx, flatness{engine, "a whole dtc_whoami", names, b.calls3(1000), whoamiOn(sides)}); err != nil {
		return err
	}
	pass := func(ctx context.Context, side, _ int) (time.Duration, error) {
		if _, err := logs[side].Sequence(ctx); err != nil { // what came before is not timed
			return 0, err
		}
		if err := appendRows(ctx, sides[side].db, sample, numberedAt); err != nil {
			return 0, err
		}
		return timing(func() error {
			n, err := logs[side].Sequence(ctx)
			if err == nil && n != numberedAt {
				err = fmt.Errorf("%d entries were numbered", n)
			}
			return err
		})
	}
	return b.flatness(ctx, flatness{engine, fmt.Sprintf("numbering and signing %d entries", numberedAt), names, b.calls3(10), pass})
}

// calls3 is how many calls a round of figure 3 takes: a tenth in a quick run.
func (b *bench) calls3(n int) int {
	if b.rounds < 2 {
		return max(2, n/10)
	}
	return n
}

func appendRows(ctx context.Context, db *store.DB, sample audit.Entry, n int) error {
	return db.Bulk(ctx, func(tx *store.Tx) error { return appendIn(tx, sample, n) })
}

func appendIn(tx *store.Tx, sample audit.Entry, n int) error {
	all := make([]audit.Sealed, n)
	for i := range all {
		var err error
		if all[i], err = audit.Seal(sample, tx.Now.Add(time.Duration(i))); err != nil {
			return err
		}
	}
	return audit.AppendSealed(tx, all)
}

// fillRows makes a record of n entries, or of as many as time and disk allow, and says how many they are.
func (b *bench) fillRows(ctx context.Context, s *stand, sample audit.Entry, n int) (made int, err error) {
	f, err := b.newFiller(ctx, s)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for made < n && time.Since(began) < b.fill && b.free() > leastFree && err == nil {
		some := min(rowsAtOnce, n-made)
		err = s.db.Bulk(ctx, func(tx *store.Tx) error {
			if err := appendIn(tx, sample, some); err != nil {
				return err
			}
			return f.number(tx)
		})
		made += some
	}
	if err == nil && s.db.Engine() == "postgres" { // as it does by itself after a while
		err = s.db.Bulk(ctx, func(tx *store.Tx) error { _, err := tx.Exec("ANALYZE"); return err })
	}
	return made, err
}

// free is how much disk is left, in bytes.
func (b *bench) free() int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(b.dir, &s) != nil {
		return 0
	}
	return int64(s.Bavail) * s.Bsize
}

// A filler numbers entries of a record that nobody else numbers. It keeps the right edge of the tree (RFC 6962).
type filler struct {
	signer  note.Signer
	key     string
	size    int64 // of the tree
	last    [64]tlog.Hash
	signed  int64 // size at the last checkpoint
	keyKept bool
}

func (b *bench) newFiller(ctx context.Context, s *stand) (*filler, error) {
	signer, key, err := audit.LoadOrCreateSigner(filepath.Join(b.dir, "audit.key"), "bench")
	if err != nil {
		return nil, err
	}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		var n int64
		err := tx.QueryRow(`SELECT COUNT(*) FROM audit_sequence`).Scan(&n)
		if err == nil && n > 0 {
			err = errors.New("the record has been numbered by others")
		}
		return err
	})
	return &filler{signer: signer, key: key}, err
}

// number gives all that waits a number, and signs.
func (f *filler) number(tx *store.Tx) error {
	type entry struct{ id, body string }
	all, err := store.All(tx, func(r store.Row) (e entry, err error) { return e, r.Scan(&e.id, &e.body) },
		`SELECT e.id, e.body FROM audit_pending p JOIN audit_entries e ON e.id = p.entry_id ORDER BY e.id`)
	if err != nil || len(all) == 0 {
		return err
	}
	numbers, trees := make([][]any, len(all)), make([][]any, len(all))
	for i, e := range all {
		hashes := f.add(tlog.RecordHash([]byte(e.id + "\n" + e.body)))
		numbers[i], trees[i] = []any{f.size, e.id}, []any{f.size, hashes}
	}
	if err := tx.Insert("audit_sequence", []string{"seq", "entry_id"}, numbers); err != nil {
		return err
	}
	if err := tx.Insert("audit_tree", []string{"seq", "hashes"}, trees); err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM audit_pending`); err != nil {
		return err
	}
	return f.sign(tx)
}

// add adds a leaf and gives the hashes that it completes, as they are stored.
func (f *filler) add(h tlog.Hash) string {
	var row strings.Builder
	for level := 0; ; level++ {
		row.WriteString(hex.EncodeToString(h[:]))
		left := f.last[level]
		f.last[level] = h
		if f.size>>level&1 == 0 {
			break
		}
		h = tlog.NodeHash(left, h)
	}
	f.size++
	return row.String()
}

func (f *filler) root() tlog.Hash {
	root, joined := tlog.Hash(sha256.Sum256(nil)), false
	for level, left := range f.last {
		switch {
		case f.size>>level&1 == 0:
		case joined:
			root = tlog.NodeHash(left, root)
		default:
			root, joined = left, true
		}
	}
	return root
}

func (f *filler) sign(tx *store.Tx) error {
	if !f.keyKept {
		if _, err := tx.Exec(`INSERT INTO audit_keys (key, at) VALUES ($1, $2) ON CONFLICT DO NOTHING`, f.key, store.Micros(tx.Now)); err != nil {
			return err
		}
		f.keyKept = true
	}
	text := fmt.Sprintf("%s\n%d\n%s\nprevious %d at %d\n", f.signer.Name(), f.size, f.root(), f.signed, tx.Now.UnixMicro())
	signed, err := note.Sign(&note.Note{Text: text}, f.signer)
	if err != nil {
		return err
	}
	f.signed = f.size
	_, err = tx.Exec(`INSERT INTO audit_checkpoints (size, note, at) VALUES ($1, $2, $3)`, f.size, string(signed), store.Micros(tx.Now))
	return err
}
