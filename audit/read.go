package audit

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// Sequenced is an entry with its place in the record. Seq is 0 while it is pending.
type Sequenced struct {
	Seq int64 `json:"seq"`
	Entry
}

func scanSequenced(r store.Row) (Sequenced, error) {
	var s Sequenced
	var body string
	if err := r.Scan(&s.Seq, &body); err != nil {
		return s, err
	}
	err := json.Unmarshal([]byte(body), &s.Entry)
	return s, err
}

// Tail returns up to limit entries of all merchants after a number, oldest first: the log as a feed.
func Tail(tx *store.Tx, afterSeq int64, limit int) ([]Sequenced, error) {
	entries, err := store.All(tx, scanSequenced, `SELECT s.seq, e.body
		FROM audit_sequence s JOIN audit_entries e ON e.id = s.entry_id
		WHERE s.seq > $1 ORDER BY s.seq LIMIT $2`, afterSeq, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log after %d: %w", afterSeq, err)
	}
	return entries, nil
}

// Filter says which entries Find returns; an empty field does not filter. Without Merchant Find returns everybody's:
// that is for operators only.
type Filter struct {
	Merchant, Event, CallID, JobID, Actor, Tool string
	Before                                      string // id; only older entries
	Limit                                       int    // 100 if zero
}

// Find returns entries, pending ones too, newest first.
func Find(tx *store.Tx, f Filter) ([]Sequenced, error) {
	where, args := f.where()
	if f.Limit == 0 {
		f.Limit = 100
	}
	args = append(args, f.Limit)
	entries, err := store.All(tx, scanSequenced, fmt.Sprintf(`SELECT COALESCE(s.seq, 0), e.body
		FROM audit_entries e LEFT JOIN audit_sequence s ON s.entry_id = e.id
		%s ORDER BY e.id DESC LIMIT $%d`, where, len(args)), args...)
	if err != nil {
		return nil, fmt.Errorf("searching the audit log: %w", err)
	}
	return entries, nil
}

func (f Filter) where() (string, []any) {
	var conditions []string
	var args []any
	for _, c := range []struct{ column, op, value string }{
		{"merchant", "=", f.Merchant},
		{"event", "=", f.Event},
		{"call_id", "=", f.CallID},
		{"job_id", "=", f.JobID},
		{"actor", "=", f.Actor},
		{"tool", "=", f.Tool},
		{"id", "<", f.Before},
	} {
		if c.value == "" {
			continue
		}
		args = append(args, c.value)
		// That it is not '' lets both engines use the partial indexes.
		conditions = append(conditions, fmt.Sprintf("e.%s %s $%d AND e.%[1]s <> ''", c.column, c.op, len(args)))
	}
	if len(conditions) == 0 {
		return "", nil
	}
	return "WHERE " + strings.Join(conditions, " AND "), args
}

// Personal returns the personal values of an entry that have not been erased, by name.
func Personal(tx *store.Tx, entryID string) (map[string]string, error) {
	values, err := store.All(tx, scanValue, `SELECT 0, name, salt, value FROM audit_values WHERE entry_id = $1`, entryID)
	if err != nil {
		return nil, fmt.Errorf("reading personal values of audit entry %s: %w", entryID, err)
	}
	byName := make(map[string]string, len(values))
	for _, v := range values {
		byName[v.name] = v.text
	}
	return byName, nil
}
