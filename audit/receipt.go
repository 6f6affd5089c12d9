package audit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/dtcgate/dtcgate/store"
)

// FormatReceipt is the first member of a Receipt.
const FormatReceipt = "dtcgate.receipt/v1"

// A Receipt is all that is on record about one call, with what proves it to somebody who has neither the database nor any
// trust in us: the entries of the call, of its job and of the votes on it, each with the path of hashes that leads from it to
// the root (RFC 6962, 2.1.1); the texts of the policies that decided, each with the entry that published it under its
// hash; and one signed checkpoint of that root. A receipt proves what it shows. That nothing was left out of it, and that
// everybody was shown the same root, it cannot prove: checkpoints kept outside can, see ProveConsistency.
//
// Personal values stand in it only if they were asked for: a file cannot be made to forget. The entries hold their salted
// digests, so that a receipt is the same before and after they are erased.
type Receipt struct {
	Format     string         `json:"format"`
	Subject    string         `json:"subject"`    // call_…, job_…, or aud_… of one entry
	Key        string         `json:"key"`        // name and hash of the key that signed, to find the public one by
	Checkpoint string         `json:"checkpoint"` // signed
	Entries    []ProvedEntry  `json:"entries"`    // by number
	Policies   []ProvedPolicy `json:"policies"`   // by version
}

// ProvedEntry is an entry with its way to the root.
type ProvedEntry struct {
	Number int64       `json:"number"` // from 1
	ID     string      `json:"id"`
	Body   string      `json:"body"` // as it was hashed: the leaf is SHA-256 of a zero byte, id, a newline and body
	Proof  []tlog.Hash `json:"proof"`
	Values []Disclosed `json:"values,omitempty"`
}

// Disclosed is a personal value. SHA-256 of salt and value, as they are written here, is the digest in the entry.
type Disclosed struct {
	Name  string `json:"name"`
	Salt  string `json:"salt"`
	Value string `json:"value"`
}

// ProvedPolicy is the text of a policy and the entry that published it, whose reason begins with the text's SHA-256.
type ProvedPolicy struct {
	Version   int64       `json:"version"`
	SHA256    string      `json:"sha256"`
	Text      string      `json:"text"`
	Published ProvedEntry `json:"published"`
}

// PolicyText is a policy as package policy keeps it. This package knows of policies only what is on record.
type PolicyText struct {
	SHA256, Text string
	At           time.Time // of its publishing
}

// ReceiptOptions say how a receipt is made.
type ReceiptOptions struct {
	Trusted note.Verifiers // of the checkpoint
	// Policy finds the text of a version of a merchant's policy. Without it, and where it gives store.ErrNotFound, the receipt has none.
	Policy func(tx *store.Tx, merchant string, version int64) (PolicyText, error)
	Values bool // disclose the personal values that are not erased
}

// Bounds of a receipt. What has more is no ordinary call.
const (
	maxProved   = 1000      // entries
	maxPolicies = 32        // versions under which one call was judged
	maxPolicy   = 1 << 20   // bytes of one's text
	maxPath     = 63        // hashes from an entry to the root
	maxBody     = 256 << 10 // bytes of an entry; see TestNoTextIsTooLongOrTooOddToRecord
)

// Why no receipt can be made.
var (
	ErrUnnumbered = errors.New("it is on record and has no number yet: a running server gives it one within a second")
	ErrTooLong    = fmt.Errorf("it has more than %d entries", maxProved)
)

// MakeReceipt collects what is on record about a call or a job, or one entry, and proves it to the newest checkpoint. It is
// checked before it is given. store.ErrNotFound: nothing is on record about it.
func MakeReceipt(tx *store.Tx, subject string, o ReceiptOptions) (Receipt, error) {
	r, err := makeReceipt(tx, subject, o)
	if err == nil {
		_, err = r.Check(o.Trusted)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("a receipt of %s: %w", subject, err)
	}
	return r, nil
}

func makeReceipt(tx *store.Tx, subject string, o ReceiptOptions) (Receipt, error) {
	entries, err := caseOf(tx, subject)
	if err != nil {
		return Receipt{}, err
	}
	c, err := LastCheckpoint(tx)
	if errors.Is(err, store.ErrNotFound) {
		return Receipt{}, ErrUnnumbered
	}
	if err != nil {
		return Receipt{}, err
	}
	r := Receipt{FormatReceipt, subject, KeyOf(c.Note), c.Note, []ProvedEntry{}, []ProvedPolicy{}}
	for _, e := range entries {
		p, err := prove(tx, e, c.Size, o.Values)
		if err != nil {
			return Receipt{}, err
		}
		r.Entries = append(r.Entries, p)
	}
	if o.Policy != nil {
		r.Policies, err = provePolicies(tx, entries, c.Size, o)
	}
	return r, err
}

// kept is an entry as it is stored, with its number, 0 if it has none.
type kept struct {
	seq      int64
	id, body string
	entry    Entry
}

func scanKept(r store.Row) (kept, error) {
	var k kept
	if err := r.Scan(&k.seq, &k.id, &k.body); err != nil {
		return k, err
	}
	var err error
	k.entry, err = decodeBody(k.body)
	return k, err
}

const keptColumns = `SELECT COALESCE(s.seq, 0), e.id, e.body FROM audit_entries e LEFT JOIN audit_sequence s ON s.entry_id = e.id WHERE `

// progress is left out of receipts: a long job has thousands, and they decide nothing.
const progress = "job.progress"

// caseOf gives all entries that a receipt is about, in the order of their numbers.
func caseOf(tx *store.Tx, subject string) ([]kept, error) {
	if strings.HasPrefix(subject, "aud_") {
		return numbered(store.All(tx, scanKept, keptColumns+`e.id = $1`, subject))
	}
	if strings.HasPrefix(subject, "job_") {
		return numbered(entriesOf(tx, "job_id", subject))
	}
	found, err := entriesOf(tx, "call_id", subject)
	// A call that asked what was asked already has its job, and so its votes, from another call.
	for _, job := range jobsOf(found) {
		of, failed := entriesOf(tx, "job_id", job)
		found, err = append(found, of...), errors.Join(err, failed)
	}
	return numbered(found, err)
}

// entriesOf gives the entries of a call or a job. That the column is not ” lets both engines use its partial index.
func entriesOf(tx *store.Tx, column, id string) ([]kept, error) {
	return store.All(tx, scanKept, keptColumns+`e.`+column+` = $1 AND e.`+column+` <> '' AND e.event <> $2 ORDER BY e.id LIMIT $3`,
		id, progress, maxProved+1)
}

func jobsOf(entries []kept) (jobs []string) {
	for _, k := range entries {
		if job := k.entry.JobID; job != "" && !slices.Contains(jobs, job) {
			jobs = append(jobs, job)
		}
	}
	return jobs
}

// numbered puts entries into the order of the record, each once.
func numbered(entries []kept, err error) ([]kept, error) {
	slices.SortFunc(entries, func(a, b kept) int { return int(a.seq - b.seq) })
	entries = slices.CompactFunc(entries, func(a, b kept) bool { return a.id == b.id })
	switch {
	case err != nil:
		return nil, err
	case len(entries) == 0:
		return nil, store.ErrNotFound
	case len(entries) > maxProved:
		return nil, ErrTooLong
	case entries[0].seq == 0:
		return nil, ErrUnnumbered
	}
	return entries, nil
}

// prove gives an entry with its way to the root of that many entries.
func prove(tx *store.Tx, k kept, size int64, values bool) (ProvedEntry, error) {
	p := ProvedEntry{Number: k.seq, ID: k.id, Body: k.body}
	if k.seq > size {
		return p, ErrUnnumbered
	}
	proof, err := tlog.ProveRecord(size, k.seq-1, storedTree{tx})
	p.Proof = notNil(proof)
	if err != nil || !values {
		return p, err
	}
	p.Values, err = store.All(tx, func(r store.Row) (d Disclosed, err error) { return d, r.Scan(&d.Name, &d.Salt, &d.Value) },
		`SELECT name, salt, value FROM audit_values WHERE entry_id = $1 ORDER BY name`, k.id)
	if len(p.Values) == 0 {
		p.Values = nil
	}
	return p, err
}
