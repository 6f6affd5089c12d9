// Package audit is the record of what happened: append-only and tamper-evident.
//
// Append inserts an entry in the caller's transaction, so that an effect and its record commit or vanish together. No
// Append waits for another: entries get their order afterwards. Beside each entry stands a row in audit_pending.
//
// A Log is the sequencer. It takes what is pending, gives it gapless numbers from 1, adds the hashes to a Merkle tree
// (RFC 6962, by golang.org/x/mod/sumdb/tlog) and signs the new root as a checkpoint (c2sp.org/tlog-checkpoint), all in
// one transaction. Any number of processes may run one: a lease keeps the others idle, and where a lease misjudges, the
// primary key of audit_sequence lets one of two win. It extends only a tree whose root is signed already.
//
// Entries, sequence, tree and checkpoints are never changed, and both databases refuse to. Personal values stay outside:
// an entry holds their salted digests, so Erase can forget a value and every proof still holds. Entries are removed only
// behind a horizon that is itself on record (package retention); their numbers and hashes stay, and with them every proof.
//
// Verify recomputes all of it and names the first entry that does not fit. Who owns the database and the signing key
// can still rewrite everything, or cut the end off together with its checkpoints: against that, keep checkpoints
// elsewhere (package witness) and hand them to Verify. A Receipt proves what is on record about a call, and a Consistency
// that two checkpoints are of one record, to somebody who has the public key and nothing else.
package audit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// Check is one question the gate asked about a call and what came of it: "ok" or an error code.
type Check struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"`
}

// Entry is one event. Its stored JSON may gain fields and never lose any. The fields up to Tool are repeated in columns
// (see head) and must stay first; Digests must stay last.
//
// Texts longer than maxText are cut; the cut names the full length and digest. Chain and Checks are as long as the
// caller makes them.
type Entry struct {
	ID       string    `json:"id"` // aud_…; made by Append when empty
	At       time.Time `json:"at"` // the transaction's time when zero
	Merchant string    `json:"merchant"`
	Event    string    `json:"event"` // call, approval.requested, job.succeeded, key.minted, …
	CallID   string    `json:"call_id,omitempty"`
	JobID    string    `json:"job_id,omitempty"`
	Actor    string    `json:"actor,omitempty"`
	Tool     string    `json:"tool,omitempty"`
	Action   string    `json:"action,omitempty"` // provider:name, of a call that asks for one

	Transport      string   `json:"transport,omitempty"`
	Source         string   `json:"source,omitempty"` // network address
	Chain          []string `json:"chain,omitempty"`  // principals from the caller up to its owner
	Status         string   `json:"status,omitempty"` // done, dry_run, pending_approval, queued, refused, failed, replayed
	Code           string   `json:"code,omitempty"`   // error code of a refusal
	Level          string   `json:"level,omitempty"`
	Checks         []Check  `json:"checks,omitempty"`
	PolicyVersion  int64    `json:"policy_version,omitempty"`
	PolicyRule     string   `json:"policy_rule,omitempty"`
	ApprovalID     string   `json:"approval_id,omitempty"`
	Binding        string   `json:"binding,omitempty"` // hash that votes are bound to
	Resource       string   `json:"resource,omitempty"`
	IdempotencyKey string   `json:"idempotency_key,omitempty"`
	Customers      int64    `json:"customers,omitempty"` // how many the call reaches
	MoneyMinor     int64    `json:"money_minor,omitempty"`
	Currency       string   `json:"currency,omitempty"`
	LatencyMicros  int64    `json:"latency_micros,omitempty"`
	CostMicros     int64    `json:"cost_micros,omitempty"` // micros of the currency unit
	Count          int64    `json:"count,omitempty"`
	Reason         string   `json:"reason,omitempty"`
	// Facts are what a policy decided by, in the form of package gate/policy. They name nobody but by id.
	Facts json.RawMessage `json:"facts,omitempty"`

	// Personal holds what must stay erasable, by name ("arguments", "reason"). Append takes it out, ReadStretch may put it back.
	Personal map[string]string `json:"-"`
	// Digests is set by Append: name to hex SHA-256 of salt and value, as in audit_values.
	Digests map[string]string `json:"digests,omitempty"`
}

// Append records e with the transaction and returns its id. Nothing is on record until the transaction commits; an
// error here must end it.
func Append(tx *store.Tx, e Entry) (string, error) {
	sealed, err := Seal(e, tx.Now)
	if err != nil {
		return "", err
	}
	return sealed.entry[0].(string), AppendSealed(tx, []Sealed{sealed})
}

// A Sealed is an entry as it is stored. Making one takes longer than storing it, and takes no transaction.
type Sealed struct {
	entry  []any
	values [][]any
}

// rooms are where entries are written before they are strings. A large one is not kept, or each would be as large as the largest entry ever was.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

const largestRoom = 16 << 10

// body is the entry as it is stored.
func (e *Entry) body() (string, error) {
	room := rooms.Get().(*[]byte)
	text, err := e.appendJSON((*room)[:0])
	body := visible(string(text))
	if cap(text) <= largestRoom {
		*room = text
		rooms.Put(room)
	}
	return body, err
}

// Seal makes an entry ready to be stored; now is its time if it has none.
func Seal(e Entry, now time.Time) (Sealed, error) {
	if e.Event == "" {
		return Sealed{}, errors.New("appending to the audit log: the entry has no event")
	}
	e.complete(now)
	values := e.seal()
	body, err := e.body()
	if err != nil {
		return Sealed{}, fmt.Errorf("appending to the audit log: %w", err)
	}
	s := Sealed{entry: []any{e.ID, e.At.UnixMicro(), e.Merchant, e.Event, e.CallID, e.JobID, e.Actor, e.Tool, body}}
	for _, v := range values {
		s.values = append(s.values, []any{e.ID, v.name, v.salt, v.text, e.Merchant, e.Resource})
	}
	return s, nil
}

// The columns that Sealed has values for.
var (
	entryColumns   = []string{"id", "at", "merchant", "event", "call_id", "job_id", "actor", "tool", "body"}
	pendingColumns = []string{"entry_id"}
	valueColumns   = []string{"entry_id", "name", "salt", "value", "merchant", "about"}
)

// AppendSealed is Append for entries that are sealed.
func AppendSealed(tx *store.Tx, all []Sealed) error {
	entries, pending, values := make([][]any, len(all)), make([][]any, len(all)), make([][]any, 0, len(all))
	for i, s := range all {
		entries[i], pending[i] = s.entry, s.entry[:1]
		values = append(values, s.values...)
	}
	for _, t := range []struct {
		name    string
		columns []string
		rows    [][]any
	}{{"audit_entries", entryColumns, entries}, {"audit_pending", pendingColumns, pending}, {"audit_values", valueColumns, values}} {
		if err := tx.Insert(t.name, t.columns, t.rows); err != nil {
			return fmt.Errorf("appending to the audit log: %w", err)
		}
	}
	return nil
}

// complete fills in id and time and bounds every text.
func (e *Entry) complete(now time.Time) {
	if e.ID == "" {
		e.ID = store.NewID("aud", now)
	}
	if e.At.IsZero() {
		e.At = now
	}
	e.At = e.At.UTC().Truncate(time.Microsecond)
	for _, s := range []*string{
		&e.ID, &e.Merchant, &e.Event, &e.CallID, &e.JobID, &e.Actor, &e.Tool, &e.Action, &e.Transport, &e.Source, &e.Status,
		&e.Code, &e.Level, &e.PolicyRule, &e.ApprovalID, &e.Binding, &e.Resource, &e.IdempotencyKey, &e.Currency, &e.Reason,
	} {
		*s = bounded(*s, maxText)
	}
	e.Chain = replaced(e.Chain, func(s string) string { return bounded(s, maxText) })
	e.Checks = replaced(e.Checks, func(c Check) Check { return Check{bounded(c.Name, maxText), bounded(c.Verdict, maxText)} })
}

// replaced is all with each made anew, in another slice where one has changed: the caller's own must not.
func replaced[T comparable](all []T, anew func(T) T) []T {
	own := false
	for i, old := range all {
		if one := anew(old); one != old {
			if !own {
				all, own = slices.Clone(all), true
			}
			all[i] = one
		}
	}
	return all
}

// value is a personal value as stored. Hashing salt and text as they are stored leaves no byte of the row unproved.
type value struct{ name, salt, text string }

const saltDigits = 32 // of 16 bytes in hexadecimal

// digest proves where the salt ends, too: salts are of one length, and a value with another has no digest. Else the last words of a value
// could be shown as the whole, with those before them as part of the salt.
func (v value) digest() string {
	if len(v.salt) != saltDigits {
		return ""
	}
	sum := sha256.Sum256([]byte(v.salt + v.text))
	return hex.EncodeToString(sum[:])
}

// seal sets e's digests from its personal values and returns the values to store.
func (e *Entry) seal() []value {
	e.Digests = nil
	if len(e.Personal) == 0 {
		return nil
	}
	e.Digests = make(map[string]string, len(e.Personal))
	values := make([]value, 0, len(e.Personal))
	for name, text := range e.Personal {
		var salt [saltDigits / 2]byte
		rand.Read(salt[:]) // never fails
		v := value{bounded(name, maxText), hex.EncodeToString(salt[:]), bounded(text, maxPersonal)}
		e.Digests[v.name] = v.digest()
		values = append(values, v)
	}
	return values
}
