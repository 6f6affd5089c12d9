package policy

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// Default is the document that a merchant begins with.
//
//go:embed default.yaml
var Default []byte

// A Version is a policy as it was published. It never changes; going back to it is publishing its source again.
type Version struct {
	Number   int64     `json:"version"`
	Merchant string    `json:"-"`
	Hash     string    `json:"sha256"` // of the source
	Source   string    `json:"source,omitempty"`
	Author   string    `json:"author"` // as in a chain: person:per_…, operator:cli
	Note     string    `json:"note"`
	Diff     string    `json:"diff,omitempty"` // from the version before, in the unified form
	At       time.Time `json:"published_at"`
	InForce  bool      `json:"in_force,omitempty"`
}

// Hash names a document by its bytes.
func Hash(source []byte) string {
	sum := sha256.Sum256(source)
	return hex.EncodeToString(sum[:])
}

// ErrMoved says that another version came into force since the one that a change was made from.
var ErrMoved = errors.New("another version of the policy is in force by now")

// Publish stores a document as the version after from and puts it in force. BeginChange comes before it; that the document is one is for
// the caller to know.
func Publish(tx *store.Tx, v Version, from int64) (Version, error) {
	v.Number, v.Hash, v.At, v.InForce = from+1, Hash([]byte(v.Source)), tx.Now, true
	switch err := auth.SetPolicyVersion(tx, v.Merchant, from, v.Number); {
	case errors.Is(err, auth.ErrChanged):
		return Version{}, ErrMoved
	case err != nil:
		return Version{}, err
	}
	_, err := tx.Exec(`INSERT INTO policies (merchant_id, version, sha256, source, author, note, diff, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		v.Merchant, v.Number, v.Hash, v.Source, v.Author, v.Note, v.Diff, store.Micros(v.At))
	if err != nil {
		return Version{}, fmt.Errorf("storing the policy: %w", err)
	}
	return v, nil
}

// Install gives a merchant that never had a policy a first one, and reports whether it did. A merchant whose policy is gone gets none: its
// calls stay refused until somebody publishes.
func Install(tx *store.Tx, merchant string, source []byte, author string) (bool, error) {
	now, err := auth.PolicyVersion(tx, merchant)
	if err != nil || now != 0 {
		return false, err
	}
	v, err := Publish(tx, Version{Merchant: merchant, Source: string(source), Author: author, Note: "The policy that a merchant begins with."}, 0)
	if errors.Is(err, ErrMoved) { // by another process, just now
		return false, nil
	}
	if err == nil {
		e := v.Entry()
		e.Merchant, e.Actor, e.Chain, e.PolicyVersion = merchant, author, []string{author}, v.Number
		_, err = audit.Append(tx, e)
	}
	return err == nil, err
}

// EventPublished is the event of a new version on the record.
const EventPublished = "policy.published"

// Resource names a version on the record.
func (v Version) Resource() string { return fmt.Sprintf("policy:%d", v.Number) }

// Entry is what the record says of a version that is put in force.
func (v Version) Entry() audit.Entry {
	return audit.Entry{Event: EventPublished, Status: "done", Resource: v.Resource(), Reason: fmt.Sprintf("sha256 %s: %s", v.Hash, v.Note)}
}

// Place is where a version stands in lists, which its number says alone.
func (v Version) Place() auth.Place { return auth.Place{ID: strconv.FormatInt(v.Number, 10)} }

// Page is List for a page of an administrator's list.
func Page(tx *store.Tx, merchant string, page auth.Page) ([]Version, error) {
	var before int64
	if page.After.ID != "" {
		var err error
		if before, err = strconv.ParseInt(page.After.ID, 10, 64); err != nil {
			return nil, fmt.Errorf("reading the place in a list: %w", err)
		}
	}
	return List(tx, merchant, before, page.Limit)
}

// Find gives a version of a merchant's policy; 0 stands for the one in force.
func Find(tx *store.Tx, merchant string, number int64) (Version, error) {
	now, err := auth.PolicyVersion(tx, merchant)
	if err != nil {
		return Version{}, err
	}
	if number == 0 {
		number = now
	}
	v, err := store.One(tx, scanVersion, `SELECT `+columns+` FROM policies WHERE merchant_id = $1 AND version = $2`, merchant, number)
	v.InForce = v.Number == now
	return v, err
}

// List gives a merchant's versions without their sources, newest first, at most limit of those before a number; 0: from the newest.
func List(tx *store.Tx, merchant string, before int64, limit int) ([]Version, error) {
	now, err := auth.PolicyVersion(tx, merchant)
	if err != nil {
		return nil, err
	}
	if before == 0 {
		before = now + 1
	}
	all, err := store.All(tx, scanVersion, `SELECT `+columns+` FROM policies WHERE merchant_id = $1 AND version < $2 ORDER BY version DESC LIMIT $3`, merchant, before, limit)
	for i := range all {
		all[i].Source, all[i].Diff, all[i].InForce = "", "", all[i].Number == now
	}
	return all, err
}

// Load reads a version and makes it ready. One that is not there, was changed, or cannot be read is ErrUnreadable.
func Load(tx *store.Tx, registry *tools.Registry, merchant string, number int64) (*Policy, error) {
	v, err := store.One(tx, scanVersion, `SELECT `+columns+` FROM policies WHERE merchant_id = $1 AND version = $2`, merchant, number)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: version %d is not there", ErrUnreadable, number)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the policy: %w", err)
	}
	if Hash([]byte(v.Source)) != v.Hash {
		return nil, fmt.Errorf("%w: version %d is not what was published", ErrUnreadable, number)
	}
	p, problems := New([]byte(v.Source), registry)
	if len(problems) > 0 {
		return nil, fmt.Errorf("%w: version %d, line %d: %s %s", ErrUnreadable, number, problems[0].Line, problems[0].Path, problems[0].Problem)
	}
	p.Version = number
	return p, nil
}

const columns = `merchant_id, version, sha256, source, author, note, diff, created_at`

func scanVersion(r store.Row) (Version, error) {
	var v Version
	return v, r.Scan(&v.Merchant, &v.Number, &v.Hash, &v.Source, &v.Author, &v.Note, &v.Diff, store.At(&v.At))
}
