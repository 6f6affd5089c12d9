package audit

import (
	"encoding/json"
	"fmt"
	"slices"
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

// Head is the number of the newest entry that has one, and 0 when none has. All entries up to it are there to be read, and
// none of them ever comes later: numbers are given in batches that are visible whole and one after the other.
func Head(tx *store.Tx) (int64, error) {
	head, err := store.One(tx, number, `SELECT COALESCE(MAX(seq), 0) FROM audit_sequence`)
	if err != nil {
		return 0, fmt.Errorf("reading the head of the audit log: %w", err)
	}
	return head, nil
}

// About returns the entries of all merchants after a number and up to another whose event is of one of the kinds, oldest first. The
// kind of an event is what stands before its dot. Who follows the log looks at a stretch at a time, and is at its end
// afterwards whether anything was there or not.
func About(tx *store.Tx, after, until int64, kinds ...string) ([]Sequenced, error) {
	args := []any{after, until}
	events := make([]string, len(kinds))
	for i, kind := range kinds {
		events[i] = "e.event LIKE " + marks(&args, kind+".%")
	}
	entries, err := store.All(tx, scanSequenced, `SELECT s.seq, e.body
		FROM audit_sequence s JOIN audit_entries e ON e.id = s.entry_id
		WHERE s.seq > $1 AND s.seq <= $2 AND (`+strings.Join(events, " OR ")+`) ORDER BY s.seq`, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log from %d to %d: %w", after, until, err)
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
	all, err := store.All(tx, func(r store.Row) (k Kept, err error) {
		k.Personal = make([]Value, len(s.Personal))
		return k, r.Scan(&k.ID, &k.Event, &k.CallID, &k.Body)
	}, query, args...)
	if err == nil && len(all) > 0 && len(s.Personal) > 0 {
		err = s.fill(tx, all)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the record from %s on: %w", s.After, err)
	}
	return all, nil
}

// query walks along the ids, which are in the order of time.
func (s Span) query() (string, []any) {
	var args []any
	return "SELECT id, event, call_id, body FROM audit_entries WHERE event IN (" + marks(&args, s.Events...) + ") AND merchant = " + marks(&args, s.Merchant) +
		" AND id > " + marks(&args, s.After) + " AND id < " + marks(&args, s.Until) + " ORDER BY id LIMIT " + marks(&args, s.Limit), args
}

// fill reads the personal values between the first and the last entry. In one query with the entries PostgreSQL would go through all that there
// are, for every page.
func (s Span) fill(tx *store.Tx, all []Kept) error {
	var args []any
	query := "SELECT entry_id, name, value FROM audit_values WHERE entry_id >= " + marks(&args, all[0].ID) + " AND entry_id <= " + marks(&args, all[len(all)-1].ID) +
		" AND name IN (" + marks(&args, s.Personal...) + ")"
	type found struct{ entry, name, text string }
	values, err := store.All(tx, func(r store.Row) (f found, err error) { return f, r.Scan(&f.entry, &f.name, &f.text) }, query, args...)
	at := make(map[string]int, len(all))
	for i, k := range all {
		at[k.ID] = i
	}
	for _, v := range values {
		if i, ours := at[v.entry]; ours {
			all[i].Personal[slices.Index(s.Personal, v.name)] = Value{v.text, true}
		}
	}
	return err
}

// marks adds values to the arguments of a statement and gives their places in it.
func marks[T any](args *[]any, values ...T) string {
	all := make([]string, len(values))
	for i, v := range values {
		*args = append(*args, v)
		all[i] = fmt.Sprintf("$%d", len(*args))
	}
	return strings.Join(all, ", ")
}
