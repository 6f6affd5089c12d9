package audit

import (
	"database/sql"
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

// A Span is the part of a merchant's record between two ids, of some events.
type Span struct {
	Merchant string
	Events   []string
	After    string   // id; only younger entries
	Until    string   // id; only older entries
	Personal []string // names of the personal values that come with each entry
	Limit    int
}

// A Kept is an entry as it is stored, for who reads many: what is not looked at is not decoded.
type Kept struct {
	ID, Event, CallID, Body string
	Personal                []Value // those of the Span, in its order
}

// A Value is a personal value, if it has not been erased.
type Value struct {
	Text string
	Kept bool
}

// Between gives the entries of a span, pending ones too, oldest first. A transaction that is slow to commit can add to what was read already.
func Between(tx *store.Tx, s Span) ([]Kept, error) {
	query, args := s.query()
	all, err := store.All(tx, func(r store.Row) (Kept, error) { return s.scan(r) }, query, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the record from %s on: %w", s.After, err)
	}
	return all, nil
}

// query walks along the ids, which are in the order of time.
func (s Span) query() (string, []any) {
	var columns, joins, events strings.Builder
	var args []any
	mark := func(v any) string {
		args = append(args, v)
		return fmt.Sprintf("$%d", len(args))
	}
	for i, name := range s.Personal {
		fmt.Fprintf(&columns, ", v%d.value", i)
		fmt.Fprintf(&joins, " LEFT JOIN audit_values v%d ON v%[1]d.entry_id = e.id AND v%[1]d.name = %s", i, mark(name))
	}
	for i, event := range s.Events {
		if i > 0 {
			events.WriteString(", ")
		}
		events.WriteString(mark(event))
	}
	return fmt.Sprintf(`SELECT e.id, e.event, e.call_id, e.body%s FROM audit_entries e%s
		WHERE e.event IN (%s) AND e.merchant = %s AND e.id > %s AND e.id < %s ORDER BY e.id LIMIT %s`,
		columns.String(), joins.String(), events.String(), mark(s.Merchant), mark(s.After), mark(s.Until), mark(s.Limit)), args
}

func (s Span) scan(r store.Row) (Kept, error) {
	var k Kept
	texts := make([]sql.NullString, len(s.Personal))
	into := []any{&k.ID, &k.Event, &k.CallID, &k.Body}
	for i := range texts {
		into = append(into, &texts[i])
	}
	err := r.Scan(into...)
	k.Personal = make([]Value, len(texts))
	for i, t := range texts {
		k.Personal[i] = Value{t.String, t.Valid}
	}
	return k, err
}
