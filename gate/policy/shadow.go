package policy

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A Shadow is a draft that runs beside the version in force. It decides nothing.
type Shadow struct {
	Merchant string    `json:"-"`
	Hash     string    `json:"sha256"`
	Source   string    `json:"-"`
	Author   string    `json:"author"` // as in a chain
	Note     string    `json:"note"`
	At       time.Time `json:"since"`
}

// EventDiffers is the event of a call about which the shadow says something else than the version in force.
const EventDiffers = "policy.differs"

// CastShadow lets a draft run beside the version in force, in place of the one before. BeginChange comes before it.
func CastShadow(tx *store.Tx, s Shadow) (Shadow, error) {
	s.Hash, s.At = Hash([]byte(s.Source)), tx.Now
	if err := LiftShadow(tx, s.Merchant); err != nil && !errors.Is(err, store.ErrNotFound) {
		return s, err
	}
	if err := auth.SetPolicyShadow(tx, s.Merchant, "", s.Hash); err != nil {
		return s, err
	}
	_, err := tx.Exec(`INSERT INTO policy_shadows (merchant_id, sha256, source, author, note, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		s.Merchant, s.Hash, s.Source, s.Author, s.Note, store.Micros(s.At))
	if err != nil {
		err = fmt.Errorf("storing the shadow: %w", err)
	}
	return s, err
}

// LiftShadow ends the run of a draft. BeginChange comes before it.
func LiftShadow(tx *store.Tx, merchant string) error {
	hash, err := auth.PolicyShadow(tx, merchant)
	if err != nil {
		return err
	}
	if hash == "" {
		return store.ErrNotFound
	}
	if err := auth.SetPolicyShadow(tx, merchant, hash, ""); err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM policy_shadows WHERE merchant_id = $1`, merchant); err != nil {
		return fmt.Errorf("forgetting the shadow: %w", err)
	}
	return nil
}

// FindShadow gives the draft that runs beside the version in force.
func FindShadow(tx *store.Tx, merchant string) (Shadow, error) {
	return store.One(tx, func(r store.Row) (s Shadow, err error) {
		return s, r.Scan(&s.Merchant, &s.Hash, &s.Source, &s.Author, &s.Note, store.At(&s.At))
	}, `SELECT merchant_id, sha256, source, author, note, created_at FROM policy_shadows WHERE merchant_id = $1`, merchant)
}

// LoadShadow makes the shadow of a hash ready. One that is not there, was changed, or cannot be read is ErrUnreadable.
func LoadShadow(tx *store.Tx, registry *tools.Registry, merchant, hash string) (*Policy, error) {
	s, err := FindShadow(tx, merchant)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, fmt.Errorf("%w: the shadow is not there", ErrUnreadable)
	case err != nil:
		return nil, fmt.Errorf("reading the shadow: %w", err)
	case s.Hash != hash || Hash([]byte(s.Source)) != hash:
		return nil, fmt.Errorf("%w: the shadow is another one", ErrUnreadable)
	}
	p, problems := New([]byte(s.Source), registry)
	if len(problems) > 0 {
		return nil, fmt.Errorf("%w: the shadow, line %d: %s %s", ErrUnreadable, problems[0].Line, problems[0].Path, problems[0].Problem)
	}
	return p, nil
}
