package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/dtcgate/dtcgate/store"
)

// verifyBatch is how many entries Verify holds in memory.
const verifyBatch = 1024

// Report is what Verify found. After a bad entry the later ones were counted, not checked.
type Report struct {
	Entries     int64     `json:"entries"`   // on record
	Sequenced   int64     `json:"sequenced"` // of these, numbered
	Pending     int64     `json:"pending"`   // of these, not numbered yet
	Pruned      int64     `json:"pruned"`    // numbered, and removed since as their horizon allows
	Checkpoints int64     `json:"checkpoints"`
	Size        int64     `json:"size"`              // of the last checkpoint that was checked
	Root        string    `json:"root"`              // of the tree at Size, base64
	Outside     int64     `json:"outside,omitempty"` // checkpoints kept elsewhere that fit
	Bad         *BadEntry `json:"bad,omitempty"`
}

// BadEntry is the first entry that does not fit. Seq is 0 when it has no number, ID is empty when it cannot be told.
// Checkpoint is the size of the first checkpoint that does not fit, where that is what showed it.
type BadEntry struct {
	Seq        int64  `json:"seq"`
	ID         string `json:"id"`
	Why        string `json:"why"`
	Checkpoint int64  `json:"checkpoint,omitempty"`
}

func (b *BadEntry) Error() string { return fmt.Sprintf("entry %d (%s): %s", b.Seq, b.ID, b.Why) }

// Verify checks the whole record on one snapshot: the order without gaps, each entry against its columns, personal
// values and leaf, the tree against its leaves, each checkpoint against tree and signature, and that no entry is kept
// from being numbered. outside are checkpoints kept elsewhere (audit_checkpoints.note as it was): the record must
// still contain all that they signed. An error means that the check itself could not be done.
func Verify(ctx context.Context, db *store.DB, trusted note.Verifiers, outside ...string) (Report, error) {
	var report Report
	err := db.Read(ctx, func(tx *store.Tx) error {
		w := &walk{tx: tx, trusted: trusted, kept: map[int64]checkpoint{}, report: &report}
		return w.all(outside)
	})
	if bad := (*BadEntry)(nil); errors.As(err, &bad) {
		report.Bad = bad
		return report, nil
	}
	if err != nil {
		return report, fmt.Errorf("verifying the audit log: %w", err)
	}
	return report, nil
}

// walk goes over the record in order. Its methods return a *BadEntry as error for what does not fit.
type walk struct {
	tx      *store.Tx
	trusted note.Verifiers
	report  *Report

	tree   edge                 // of the entries checked so far
	head   checkpoint           // the last stored one that was checked
	kept   map[int64]checkpoint // from outside, by size, not reached yet
	agreed checkpoint           // the last from outside that was checked
	values int64                // personal values checked
	room   []byte               // to work in

	pruning pruning
}

func (w *walk) all(outside []string) error {
	if err := w.count(); err != nil {
		return err
	}
	if err := w.keep(outside); err != nil {
		return err
	}
	for _, step := range []func() error{w.sequence, w.end, w.pruning.holds, w.pending, w.hidden} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) count() error {
	for _, c := range []struct {
		n *int64
		q string
	}{
		{&w.report.Entries, `SELECT COUNT(*) FROM audit_entries`},
		{&w.report.Sequenced, `SELECT COUNT(*) FROM audit_sequence`},
		{&w.report.Pending, `SELECT COUNT(*) FROM audit_pending`},
		{&w.report.Checkpoints, `SELECT COUNT(*) FROM audit_checkpoints`},
	} {
		n, err := store.One(w.tx, number, c.q)
		if err != nil {
			return err
		}
		*c.n = n
	}
	var err error
	w.pruning.Horizon, err = LastHorizon(w.tx, true)
	return err
}

// record is an entry as stored, with its place and its row of the tree.
type record struct {
	seq    int64
	head   head
	body   string
	hashes string
}

func scanRecord(r store.Row) (record, error) {
	var c record
	err := r.Scan(&c.seq, &c.head.ID, store.At(&c.head.At), &c.head.Merchant, &c.head.Event, &c.head.CallID, &c.head.JobID,
		&c.head.Actor, &c.head.Tool, &c.body, &c.hashes)
	return c, err
}

const columns = `e.id, e.at, e.merchant, e.event, e.call_id, e.job_id, e.actor, e.tool, e.body`

// perhaps are columns of an entry that may have been removed. It then has no time.
const perhaps = `s.entry_id, e.at, COALESCE(e.merchant, ''), COALESCE(e.event, ''), COALESCE(e.call_id, ''), COALESCE(e.job_id, ''),
	COALESCE(e.actor, ''), COALESCE(e.tool, ''), COALESCE(e.body, '')`

// sequence checks all that has a number. Rows that lack a part are not among those it reads, and show as gaps.
func (w *walk) sequence() error {
	for from := int64(math.MinInt64); ; {
		records, err := store.All(w.tx, scanRecord, `SELECT s.seq, `+perhaps+`, t.hashes
			FROM audit_sequence s JOIN audit_tree t ON t.seq = s.seq LEFT JOIN audit_entries e ON e.id = s.entry_id
			WHERE s.seq > $1 AND t.seq > $1 ORDER BY s.seq LIMIT $2`, from, verifyBatch)
		if err != nil || len(records) == 0 {
			return err
		}
		upTo := records[len(records)-1].seq
		if err := w.batch(records, from, upTo); err != nil {
			return err
		}
		from = upTo
	}
}

// batch checks records with all values and checkpoints that belong to numbers above from, up to upTo.
func (w *walk) batch(records []record, from, upTo int64) error {
	// Numbers in a row have ids close together. Without their range PostgreSQL scans all values for each batch; without
	// || '' it finds the range by scanning the index of entry_id from its ends.
	values, err := store.All(w.tx, scanValue, `SELECT s.seq, v.name, v.salt, v.value
		FROM audit_sequence s JOIN audit_values v ON v.entry_id = s.entry_id
		WHERE s.seq > $1 AND s.seq <= $2
		AND v.entry_id >= (SELECT MIN(r.entry_id || '') FROM audit_sequence r WHERE r.seq > $1 AND r.seq <= $2)
		AND v.entry_id <= (SELECT MAX(r.entry_id || '') FROM audit_sequence r WHERE r.seq > $1 AND r.seq <= $2)
		ORDER BY s.seq`, from, upTo)
	if err != nil {
		return err
	}
	rows, err := store.All(w.tx, scanStored, `SELECT size, note, at FROM audit_checkpoints
		WHERE size > $1 AND size <= $2 ORDER BY size`, from, upTo)
	if err != nil {
		return err
	}
	checkpoints := openAll(rows, func(s stored) (checkpoint, error) { return s.open(w.trusted) })
	for _, r := range records {
		if r.seq != w.tree.size+1 {
			return w.gap(r.seq)
		}
		n := 0
		for n < len(values) && values[n].seq == r.seq {
			n++
		}
		if err := w.entry(r, values[:n]); err != nil {
			return err
		}
		values = values[n:]
		for len(checkpoints) > 0 && checkpoints[0].of.size <= r.seq {
			if err := w.checkpoint(checkpoints[0], r); err != nil {
				return err
			}
			checkpoints = checkpoints[1:]
		}
		if err := w.outside(r); err != nil {
			return err
		}
	}
	return nil
}

// sealed is a personal value with the number of its entry, 0 if that is pending.
type sealed struct {
	seq int64
	value
}

func scanValue(r store.Row) (sealed, error) {
	var s sealed
	err := r.Scan(&s.seq, &s.name, &s.salt, &s.text)
	return s, err
}

// entry checks one entry by itself, then against the tree.
func (w *walk) entry(r record, values []sealed) error {
	if r.head.At.IsZero() { // no row: an entry has a time
		return w.gone(r, len(values))
	}
	if err := w.contents(r, values); err != nil {
		return err
	}
	w.pruning.see(r)
	var leaf tlog.Hash
	leaf, w.room = leafIn(w.room, r.head.ID, r.body)
	return w.grow(r, leaf)
}

// grow adds a leaf to the tree, where it must complete the hashes on record.
func (w *walk) grow(r record, leaf tlog.Hash) error {
	w.room = appendRow(w.room[:0], w.tree.add(leaf))
	if r.hashes == string(w.room) {
		return nil
	}
	if !strings.HasPrefix(r.hashes, string(w.room[:hashDigits])) {
		return r.bad("its bytes do not give the hash recorded for it")
	}
	return r.bad("with it the hashes of the tree are not those recorded")
}

func (w *walk) contents(r record, values []sealed) error {
	var fits bool
	if fits, w.room = r.head.opens(r.body, w.room); !fits {
		return r.bad("its columns differ from its body")
	}
	for _, v := range values {
		if !proves(r.body, v.value) {
			return r.bad("personal value %q is not the one recorded", v.name)
		}
	}
	w.values += int64(len(values))
	return nil
}

func (r record) bad(why string, args ...any) error {
	return &BadEntry{Seq: r.seq, ID: r.head.ID, Why: fmt.Sprintf(why, args...)}
}

// checkpoint checks a stored checkpoint where the walk has reached its size, at entry r.
func (w *walk) checkpoint(o opened[stored], r record) error {
	c := o.checkpoint
	if o.err != nil {
		return r.bad("checkpoint %d: %v", o.of.size, o.err)
	}
	if c.previous != w.head.size {
		return r.bad("checkpoint %d follows checkpoint %d, which is not here", c.size, c.previous)
	}
	if c.size != w.tree.size || c.root != w.tree.root() {
		return w.since(w.head, c)
	}
	w.head = c
	w.pruning.sign(c)
	w.report.Size, w.report.Root = c.size, c.root.String()
	return nil
}

// since blames the entries that c covers and the last good checkpoint does not: their tree agrees with itself and not
// with the signature, so it was computed anew.
func (w *walk) since(good, c checkpoint) error {
	bad, err := w.at(good.size+1, fmt.Sprintf("entries %d to %d do not give the root that checkpoint %d of %s signed",
		good.size+1, c.size, c.size, c.at.Format(time.DateTime)))
	if err != nil {
		return err
	}
	bad.Checkpoint = c.size
	return bad
}

// at names the entry of a number.
func (w *walk) at(seq int64, why string) (*BadEntry, error) {
	id, err := store.One(w.tx, text, `SELECT entry_id FROM audit_sequence WHERE seq = $1`, seq)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return &BadEntry{Seq: seq, ID: id, Why: why}, nil
}

// blame is at for who has nothing to add.
func (w *walk) blame(seq int64, why string) error {
	bad, err := w.at(seq, why)
	if err != nil {
		return err
	}
	return bad
}

// gap tells why the entry after the last good one could not be read; found is the number read instead.
func (w *walk) gap(found int64) error {
	seq := w.tree.size + 1
	if found < seq {
		return w.blame(found, "its number is not part of the sequence")
	}
	var id, entry, hashes sql.NullString
	err := w.tx.QueryRow(`SELECT s.entry_id, e.id, t.hashes FROM audit_sequence s
		LEFT JOIN audit_entries e ON e.id = s.entry_id LEFT JOIN audit_tree t ON t.seq = s.seq
		WHERE s.seq = $1`, seq).Scan(&id, &entry, &hashes)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return &BadEntry{Seq: seq, Why: "its number is gone"}
	case err != nil:
		return err
	case !entry.Valid:
		return &BadEntry{Seq: seq, ID: id.String, Why: "the entry is gone"}
	default:
		return &BadEntry{Seq: seq, ID: id.String, Why: "its hashes are gone from the tree"}
	}
}

// end checks that nothing stands beyond what was walked, and that the last checkpoint covers all of it.
func (w *walk) end() error {
	size := w.tree.size
	trees, err := store.One(w.tx, number, `SELECT COUNT(*) FROM audit_tree`)
	if err != nil {
		return err
	}
	if w.report.Sequenced != size {
		return w.gap(size + 1)
	}
	if trees != size {
		return &BadEntry{Seq: size + 1, Why: fmt.Sprintf("the record ends before it; the tree has hashes of %d entries", trees)}
	}
	if err := w.cut(); err != nil {
		return err
	}
	beyond, err := store.One(w.tx, number, `SELECT COALESCE(MAX(size), 0) FROM audit_checkpoints`)
	if err != nil {
		return err
	}
	if beyond > size {
		return &BadEntry{Seq: size + 1, Why: fmt.Sprintf("the record ends before it; checkpoint %d has more entries", beyond)}
	}
	if w.head.size != size {
		return w.blame(w.head.size+1, fmt.Sprintf("no checkpoint covers it; the last is %d", w.head.size))
	}
	return nil
}

// pending checks the entries that wait for a number.
func (w *walk) pending() error {
	for last := ""; ; {
		waiting, err := store.All(w.tx, scanWaiting, pendingQuery, last, verifyBatch)
		if err != nil || len(waiting) == 0 {
			return err
		}
		for _, p := range waiting {
			if err := w.waiting(p); err != nil {
				return err
			}
		}
		last = waiting[len(waiting)-1].id
	}
}

func (w *walk) waiting(p waiting) error {
	if !p.body.Valid {
		return &BadEntry{ID: p.id, Why: "it waits for a number and is gone"}
	}
	if p.seq.Valid {
		return &BadEntry{Seq: p.seq.Int64, ID: p.id, Why: "it has a number and waits for another"}
	}
	r, err := store.One(w.tx, scanRecord, `SELECT 0, `+columns+`, '' FROM audit_entries e WHERE e.id = $1`, p.id)
	if err != nil {
		return err
	}
	values, err := store.All(w.tx, scanValue, `SELECT 0, name, salt, value FROM audit_values WHERE entry_id = $1`, p.id)
	if err != nil {
		return err
	}
	return w.contents(r, values)
}

// hidden checks that each entry has a number or waits for one, and that each personal value has an entry. All numbered
// and all waiting entries are known to exist and to be different, so counting finds out if there are others.
func (w *walk) hidden() error {
	w.report.Pruned = w.pruning.removed
	if w.report.Entries+w.report.Pruned != w.report.Sequenced+w.report.Pending {
		return w.stray("it was kept from being numbered", `SELECT e.id FROM audit_entries e
			WHERE NOT EXISTS (SELECT 1 FROM audit_sequence s WHERE s.entry_id = e.id)
			AND NOT EXISTS (SELECT 1 FROM audit_pending p WHERE p.entry_id = e.id) ORDER BY e.id LIMIT 1`)
	}
	values, err := store.One(w.tx, number, `SELECT COUNT(*) FROM audit_values`)
	if err == nil && values != w.values {
		err = w.stray("a personal value names it and it is not there", `SELECT v.entry_id FROM audit_values v
			WHERE NOT EXISTS (SELECT 1 FROM audit_entries e WHERE e.id = v.entry_id) ORDER BY v.entry_id LIMIT 1`)
	}
	return err
}

func (w *walk) stray(why, q string) error {
	id, err := store.One(w.tx, text, q)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return &BadEntry{ID: id, Why: why}
}
