package trust

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

// Of gives the score of an agent now. It is one read by primary key, or none where trust is not used.
func Of(tx *store.Tx, r Rules, merchant, agent string) (Score, error) {
	if !r.Used() {
		return Full, nil
	}
	k, err := read(tx, merchant, agent)
	if errors.Is(err, store.ErrNotFound) {
		return r.start(), nil
	}
	if err != nil {
		return None, err
	}
	return r.later(k.state, tx.Now).score(), nil
}

// Move applies one signal to the score of an agent. Where trust is not used, and when the signal weighs nothing, it writes nothing.
func Move(tx *store.Tx, r Rules, merchant, agent string, s Signal) (Change, error) {
	weight, err := r.weight(s)
	if err != nil {
		return Change{}, err
	}
	return r.change(tx, merchant, agent, entry{Signal: s, count: 1}, int64(weight)*fine)
}

// Succeeded applies n successes at once.
func Succeeded(tx *store.Tx, r Rules, merchant, agent string, n int64) (Change, error) {
	by := min(n, int64(Full)) * int64(r.Signals.Success) * fine // a success weighs a thousandth or nothing
	return r.change(tx, merchant, agent, entry{Signal: Signal{Kind: Success}, count: n}, by)
}

// change moves a score by an amount and writes down why.
func (r Rules) change(tx *store.Tx, merchant, agent string, e entry, by int64) (Change, error) {
	if !r.Used() || by == 0 {
		s, err := Of(tx, r, merchant, agent)
		return Change{s, s}, err
	}
	k, err := r.take(tx, merchant, agent)
	if err != nil {
		return Change{}, fmt.Errorf("reading the trust in %s: %w", agent, err)
	}
	before := r.later(k.state, tx.Now)
	after := r.apply(before, e.Kind, by)
	e.Change = Change{before.score(), after.score()}
	if err := r.save(tx, k, after, e); err != nil {
		return Change{}, fmt.Errorf("moving the trust in %s: %w", agent, err)
	}
	return e.Change, nil
}

func (r Rules) apply(s state, kind Kind, by int64) state {
	if kind == Success {
		return r.earn(s, by)
	}
	return r.moved(s, by)
}

// A kept state is a row of trust_scores.
type kept struct {
	state
	merchant, agent string
	moves           int64
}

func read(tx *store.Tx, merchant, agent string) (kept, error) {
	k := kept{merchant: merchant, agent: agent}
	err := tx.QueryRow(`SELECT score, room, changed_at, moves FROM trust_scores WHERE merchant_id = $1 AND agent_id = $2`, merchant, agent).
		Scan(&k.points, &k.room, store.At(&k.at), &k.moves)
	return k, err
}

// take gives the row of an agent, which it makes when there is none, and keeps it from others until the transaction ends. What is read before
// the lock may be another's past.
func (r Rules) take(tx *store.Tx, merchant, agent string) (kept, error) {
	s := r.unmoved(tx.Now)
	_, err := tx.Exec(`INSERT INTO trust_scores (merchant_id, agent_id, score, room, changed_at, moves) VALUES ($1, $2, $3, $4, $5, 0)
		ON CONFLICT DO NOTHING`, merchant, agent, s.points, s.room, store.Micros(s.at))
	if err != nil {
		return kept{}, err
	}
	if err := tx.Lock(`SELECT agent_id FROM trust_scores WHERE merchant_id = $1 AND agent_id = $2`, merchant, agent); err != nil {
		return kept{}, err
	}
	return read(tx, merchant, agent)
}

// errMoved says that a row is no longer what was read under its lock, which is a mistake of ours.
var errMoved = errors.New("the score changed under its lock")

func (r Rules) save(tx *store.Tx, k kept, s state, e entry) error {
	number, err := r.note(tx, k, e)
	if err != nil {
		return err
	}
	n, err := tx.Exec(`UPDATE trust_scores SET score = $1, room = $2, changed_at = $3, moves = $4
		WHERE merchant_id = $5 AND agent_id = $6 AND score = $7 AND room = $8 AND changed_at = $9 AND moves = $10`,
		s.points, s.room, store.Micros(s.at), number, k.merchant, k.agent, k.points, k.room, store.Micros(k.at), k.moves)
	if err == nil && n == 0 {
		err = errMoved
	}
	return err
}

// A Standing is where an agent stands that something has moved.
type Standing struct {
	Agent     string    `json:"agent"`
	Score     Score     `json:"score"`
	Sandbox   Sandbox   `json:"sandbox"`
	ChangedAt time.Time `json:"changed_at,omitzero"` // by a signal; zero: none has yet
}

// Place is where an agent stands in lists.
func (s Standing) Place() auth.Place { return auth.Place{ID: s.Agent} }

// StandingOf gives where an agent stands.
func StandingOf(tx *store.Tx, r Rules, merchant, agent string) (Standing, error) {
	k, err := read(tx, merchant, agent)
	if errors.Is(err, store.ErrNotFound) {
		k, err = kept{agent: agent, state: state{points: int64(r.start()) * fine}}, nil
	}
	return r.standing(k, tx.Now), err
}

// List gives a page of the agents of a merchant that something has moved, by id.
func List(tx *store.Tx, r Rules, merchant string, page auth.Page) ([]Standing, error) {
	return store.All(tx, func(row store.Row) (Standing, error) {
		k := kept{}
		err := row.Scan(&k.agent, &k.points, &k.room, store.At(&k.at))
		return r.standing(k, tx.Now), err
	}, `SELECT agent_id, score, room, changed_at FROM trust_scores WHERE merchant_id = $1 AND agent_id > $2 ORDER BY agent_id LIMIT $3`,
		merchant, page.After.ID, page.Limit)
}

func (r Rules) standing(k kept, now time.Time) Standing {
	s := Full
	if r.Used() && k.at.IsZero() {
		s = r.start()
	} else if r.Used() {
		s = r.later(k.state, now).score()
	}
	return Standing{Agent: k.agent, Score: s, Sandbox: r.Sandbox(s), ChangedAt: k.at}
}
