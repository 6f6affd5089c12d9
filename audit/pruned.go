package audit

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// LeastKept is how long an entry stays on record whatever anybody says: the database refuses to remove younger ones, and Verify to miss them.
const LeastKept = 30 * 24 * time.Hour

// EventPruned is the event of the entry that says up to which number older ones may be removed, as its resource: audit:NUMBER.
const EventPruned = "audit.pruned"

const pruned = "audit:"

// A Horizon is a number up to which entries may be removed. Their places, their hashes in the tree and all checkpoints stay.
type Horizon struct {
	Seq   int64     `json:"seq"`
	Entry string    `json:"entry"` // the entry that says so
	At    time.Time `json:"at"`
	Said  int64     `json:"said"` // number of that entry; 0 while it has none, and then nothing may be removed yet
}

func scanHorizon(r store.Row) (h Horizon, err error) {
	return h, r.Scan(&h.Seq, &h.Entry, store.At(&h.At), &h.Said)
}

// LastHorizon is the newest horizon, or nothing at all. It is in force when its Said is above 0; the one in force is asked for with inForce.
func LastHorizon(tx *store.Tx, inForce bool) (Horizon, error) {
	said := int64(-1)
	if inForce {
		said = 0
	}
	h, err := store.One(tx, scanHorizon, `SELECT seq, entry_id, at, said FROM (SELECT h.seq, h.entry_id, h.at,
			COALESCE((SELECT s.seq FROM audit_sequence s WHERE s.entry_id = h.entry_id), 0) AS said FROM audit_horizons h) h
		WHERE said > $1 ORDER BY seq DESC LIMIT 1`, said)
	if errors.Is(err, store.ErrNotFound) {
		return Horizon{}, nil
	}
	if err != nil {
		return Horizon{}, fmt.Errorf("reading the horizon of the audit log: %w", err)
	}
	return h, nil
}

// A Place is where an entry stands in the record, whether the entry itself is still there or not.
type Place struct {
	Seq    int64  `json:"seq"`
	ID     string `json:"id"`
	Pruned bool   `json:"pruned"`
}

func scanPlace(r store.Row) (p Place, err error) {
	var there int64
	err = r.Scan(&p.Seq, &p.ID, &there)
	p.Pruned = there == 0
	return p, err
}

// Locate finds the place of a numbered entry by its number or its id. It returns store.ErrNotFound when there is none.
func Locate(tx *store.Tx, seq int64, id string) (Place, error) {
	p, err := store.One(tx, scanPlace, `SELECT s.seq, s.entry_id, (SELECT COUNT(*) FROM audit_entries e WHERE e.id = s.entry_id)
		FROM audit_sequence s WHERE s.seq = $1 OR s.entry_id = $2`, seq, id)
	if err != nil {
		return Place{}, fmt.Errorf("locating an entry of the audit log: %w", err)
	}
	return p, nil
}

// FirstKept is the least number whose entry is still there, and the one after the horizon when none behind it is. Those that Remove leaves are passed
// over; the others go in the order of their numbers, so that it is found by halving.
func FirstKept(tx *store.Tx) (int64, error) {
	h, err := LastHorizon(tx, true)
	if err != nil || h.Seq == 0 {
		return 1, err
	}
	var failed error
	from := func(seq int64) Place {
		p, err := firstPassing(tx, seq, h.Seq)
		if err != nil && failed == nil {
			failed = err
		}
		return p
	}
	first := sort.Search(int(h.Seq), func(i int) bool { return !from(int64(i) + 1).Pruned })
	return from(int64(first) + 1).Seq, failed
}

// firstPassing is the first place, between two numbers, of an entry that Remove removes or has removed; the place after them when there is none.
func firstPassing(tx *store.Tx, from, upTo int64) (Place, error) {
	p, err := store.One(tx, scanPlace, `SELECT s.seq, s.entry_id, CASE WHEN e.id IS NULL THEN 0 ELSE 1 END
		FROM audit_sequence s LEFT JOIN audit_entries e ON e.id = s.entry_id
		WHERE s.seq >= $1 AND s.seq <= $2 AND (e.id IS NULL OR e.event <> $3) ORDER BY s.seq LIMIT 1`, from, upTo, policyPublished)
	if errors.Is(err, store.ErrNotFound) {
		return Place{Seq: upTo + 1}, nil
	}
	if err != nil {
		return Place{}, fmt.Errorf("looking for the first entry of the audit log that is kept: %w", err)
	}
	return p, nil
}

// pruning is what Verify knows of the horizon in force. An entry may be missing when its number is not above it, an entry of the log names it,
// and the checkpoint that signed the one is LeastKept older than the one that signed the other. The times are signed ones: who has the
// database and not the key can move none of them. Older horizons need no look: all that they let go lies behind this one.
type pruning struct {
	Horizon
	named            bool      // its entry was seen, and names it
	signed, recorded time.Time // of the checkpoints that first covered the horizon and its entry
	first            *BadEntry // the first entry that is missing, should the horizon not hold
	removed          int64
}

// gone takes a record without an entry into the tree by the hash that stands there for it.
func (w *walk) gone(r record, values int) error {
	if r.seq > w.pruning.Seq {
		return r.bad("the entry is gone")
	}
	if values > 0 {
		return r.bad("the entry is gone and its personal values are not")
	}
	if w.pruning.first == nil {
		w.pruning.first = &BadEntry{Seq: r.seq, ID: r.head.ID}
	}
	w.pruning.removed++
	leaf, err := hashIn(r.hashes, 0)
	if err != nil {
		return r.bad("%v", err)
	}
	return w.grow(r, leaf)
}

// see notes what bears on the horizon at an entry that is there.
func (p *pruning) see(r record) {
	if r.seq == p.Said && r.head.ID == p.Entry && r.head.Event == EventPruned {
		p.named = strings.Contains(r.body, fmt.Sprintf(`,"resource":"%s%d"`, pruned, p.Seq))
	}
}

// sign notes when a checkpoint that fits was signed.
func (p *pruning) sign(c checkpoint) {
	if c.size >= p.Seq && p.signed.IsZero() {
		p.signed = c.at
	}
	if c.size >= p.Said && p.recorded.IsZero() {
		p.recorded = c.at
	}
}

// holds checks, at the end, that what is missing was allowed to go.
func (p *pruning) holds() error {
	bad := p.first
	switch {
	case bad == nil:
		return nil
	case !p.named:
		bad.Why = fmt.Sprintf("the entry is gone, and entry %d does not say that those up to %d may go", p.Said, p.Seq)
	case p.recorded.Sub(p.signed) < LeastKept:
		bad.Why = fmt.Sprintf("the entry is gone, and those up to %d were not yet %d days old when entry %d said that they may go",
			p.Seq, LeastKept/(24*time.Hour), p.Said)
	default:
		return nil
	}
	return bad
}
