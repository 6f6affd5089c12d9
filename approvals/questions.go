package approvals

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// DeniedFor is for how long nobody is asked again what was denied.
const DeniedFor = 24 * time.Hour

// askedAgain is how old a request may be that a later one is said to ask again.
const askedAgain = 30 * 24 * time.Hour

// QuestionHash is SHA-256 over what people are asked, however the agent words it and under whatever key it sends it: the agent at the root of
// the chain, the tool with its schema, the arguments but for those that do no more (Guards), the object with its version, and the effect. Facts
// and warnings are no part of it: they may change by themselves, such as the age of an order, and a no would be over with them.
func QuestionHash(agent string, args []byte, b Binding, effect tools.Preview) (string, error) {
	effect.Warnings = nil
	does, err := EffectHash(effect, nil)
	if err != nil {
		return "", err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(args, &members); err != nil {
		return "", fmt.Errorf("reading arguments: %w", err)
	}
	maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return Guards(name) })
	raw, err := json.Marshal(members)
	if err != nil {
		return "", fmt.Errorf("writing the question: %w", err)
	}
	canonical, err := schemas.Canonical(raw)
	if err != nil {
		return "", fmt.Errorf("writing the question: %w", err)
	}
	return hashOf("question", []string{"dtcgate-question-v1", b.Merchant, agent, b.Tool, b.SchemaHash, string(canonical), b.Resource, b.ResourceVersion, does})
}

// AskAlone keeps others of the same agent from asking until the transaction ends, so that two at once do not both find that nobody has.
func AskAlone(tx *store.Tx, merchant, agent string) error {
	return tx.Own("ask:" + merchant + ":" + agent)
}

// Asked gives the newest request with that question that is pending, or that was denied in the last DeniedFor; ok is false without one. An OR in
// place of the CASE would have SQLite read all that is pending.
func Asked(tx *store.Tx, merchant, question string) (r Request, ok bool, err error) {
	r, err = store.One(tx, scanRequest, `SELECT `+requestColumns+` FROM approvals WHERE merchant_id = $1 AND question_sha256 = $2
			AND CASE state WHEN 'pending' THEN expires_at > $3 WHEN 'rejected' THEN decided_at > $4 ELSE 1 = 0 END ORDER BY created_at DESC, id DESC LIMIT 1`,
		merchant, question, store.Micros(tx.Now), store.Micros(tx.Now.Add(-DeniedFor)))
	if errors.Is(err, store.ErrNotFound) {
		return Request{}, false, nil
	}
	if err != nil {
		return Request{}, false, fmt.Errorf("looking for the same question: %w", err)
	}
	return r, true, r.count(tx, voters{})
}

// Open counts the requests of an agent, and of all sub-tokens under it, that wait for people.
func Open(tx *store.Tx, merchant, agent string) (int64, error) {
	n, err := store.One(tx, func(r store.Row) (n int64, err error) { return n, r.Scan(&n) },
		`SELECT COUNT(*) FROM approvals WHERE merchant_id = $1 AND agent_id = $2 AND state = 'pending'`, merchant, agent)
	if err != nil {
		return 0, fmt.Errorf("counting open requests: %w", err)
	}
	return n, nil
}

// asksAgain gives the id of the last request of the same agent for the same tool about the same object that ended without running.
func asksAgain(tx *store.Tx, r Request) (id string, err error) {
	if r.Binding.Resource == "" {
		return "", nil
	}
	id, err = store.One(tx, func(row store.Row) (id string, err error) { return id, row.Scan(&id) },
		`SELECT id FROM approvals WHERE merchant_id = $1 AND agent_id = $2 AND tool = $3 AND resource = $4 AND created_at > $5
			AND state IN ('rejected', 'expired', 'invalidated') ORDER BY created_at DESC, id DESC LIMIT 1`,
		r.Merchant, r.AgentID, r.Binding.Tool, r.Binding.Resource, store.Micros(tx.Now.Add(-askedAgain)))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return id, err
}

// PendingAbout gives a merchant's requests that wait for people and are about an object, at most limit.
func PendingAbout(tx *store.Tx, merchant, resource string, limit int) ([]Request, error) {
	return store.All(tx, scanRequest, `SELECT `+requestColumns+` FROM approvals WHERE merchant_id = $1 AND resource = $2 AND state = 'pending'
		ORDER BY created_at, id LIMIT $3`, merchant, resource, limit)
}
