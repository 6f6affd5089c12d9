package audit

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// A Copy is an entry as it leaves the house: with its bytes, whose hash is its leaf in the tree.
type Copy struct {
	Sequenced // with its personal values, if these were asked for and not erased
	Body      string
}

// A Stretch is what stands in the record between two numbers.
type Stretch struct {
	Entries []Copy
	Upto    int64 // all numbers up to this one were looked at; those without an entry were pruned
}

// ReadStretch reads what stands after a number and not after another, until it is at least some bytes long. It skips nothing: a number that is
// missing, or whose entry is without being pruned, is ErrTampered.
func ReadStretch(tx *store.Tx, after, until int64, most, bytes int, personal bool) (Stretch, error) {
	s, err := readStretch(tx, after, until, most, bytes, personal)
	if err != nil {
		return Stretch{}, fmt.Errorf("reading the audit log after %d: %w", after, err)
	}
	return s, nil
}

func readStretch(tx *store.Tx, after, until int64, most, bytes int, personal bool) (Stretch, error) {
	horizon, err := LastHorizon(tx, true)
	if err != nil {
		return Stretch{}, err
	}
	places, err := store.All(tx, scanPlaced, `SELECT s.seq, e.body FROM audit_sequence s LEFT JOIN audit_entries e ON e.id = s.entry_id
		WHERE s.seq > $1 AND s.seq <= $2 ORDER BY s.seq LIMIT $3`, after, until, most)
	if err != nil {
		return Stretch{}, err
	}
	s := Stretch{Upto: after}
	for _, p := range places {
		if bytes <= 0 {
			break
		}
		if p.seq != s.Upto+1 || !p.body.Valid && p.seq > horizon.Seq {
			return Stretch{}, fmt.Errorf("%w: entry %d is gone", ErrTampered, s.Upto+1)
		}
		s.Upto = p.seq
		if !p.body.Valid {
			continue
		}
		n, err := s.add(tx, p, personal)
		if err != nil {
			return Stretch{}, err
		}
		bytes -= n
	}
	return s, nil
}

// placed is a number with its entry, if that has not been removed.
type placed struct {
	seq  int64
	body sql.NullString
}

func scanPlaced(r store.Row) (p placed, err error) { return p, r.Scan(&p.seq, &p.body) }

// add appends an entry and gives how long it is.
func (s *Stretch) add(tx *store.Tx, p placed, personal bool) (bytes int, err error) {
	e := Copy{Sequenced{Seq: p.seq}, p.body.String}
	if err := json.Unmarshal([]byte(p.body.String), &e.Entry); err != nil {
		return 0, fmt.Errorf("%w: entry %d is not JSON", ErrTampered, p.seq)
	}
	bytes = len(p.body.String)
	if personal && len(e.Digests) > 0 {
		if e.Personal, err = Personal(tx, e.ID); err != nil {
			return 0, err
		}
	}
	for _, text := range e.Personal {
		bytes += len(text)
	}
	s.Entries = append(s.Entries, e)
	return bytes, nil
}
