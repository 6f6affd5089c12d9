package approvals

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// An Effect is what a write did, and what it takes to take it back.
type Effect struct {
	tools.Effect
	Merchant    string
	PrincipalID string
	CallID      string
	JobID       string
	SchemaHash  string
	Args        []byte
	Level       string
	Result      []byte
	Image       []byte
}

// keepEffects is how long an effect is remembered. It can be taken back for tools.UndoTime of it.
const keepEffects = 30 * 24 * time.Hour

// ErrUndone means that somebody else took the effect back first.
var ErrUndone = errors.New("the effect is undone already")

var effectInserted = []string{
	"id", "merchant_id", "principal_id", "call_id", "job_id", "tool", "tool_schema_sha256", "args", "resource", "level",
	"summary", "changes", "result", "image", "state", "why", "created_at", "undo_until",
}

// AddEffect stores e in the transaction of the effect and gives its id. An effect without an image is final.
func AddEffect(tx *store.Tx, e Effect) (Effect, error) {
	e.UndoID, e.At = store.NewID("und", tx.Now), tx.Now
	e.State = tools.EffectFinal
	if e.Image != nil {
		e.State, e.Until = tools.EffectOpen, tx.Now.Add(tools.UndoTime)
	} else {
		e.Args, e.Result = nil, nil // nothing will be done with them
	}
	changes, err := json.Marshal(e.Changes)
	if err != nil {
		return e, fmt.Errorf("writing the changes: %w", err)
	}
	err = tx.Insert("effects", effectInserted, [][]any{{
		e.UndoID, e.Merchant, e.PrincipalID, e.CallID, e.JobID, e.Tool, e.SchemaHash, string(e.Args), e.Resource, e.Level,
		e.Summary, string(changes), string(e.Result), string(e.Image), string(e.State), e.Why, store.Micros(e.At), store.Micros(e.Until),
	}})
	if err != nil {
		return e, fmt.Errorf("storing the effect: %w", err)
	}
	return e, nil
}

// FindEffect gives an effect of a merchant's principal. An empty principal stands for all.
func FindEffect(tx *store.Tx, merchant, principal, id string) (Effect, error) {
	if _, ok := store.IDTime(id); !ok { // no text that PostgreSQL would refuse
		return Effect{}, store.ErrNotFound
	}
	e, err := store.One(tx, scanEffect, `SELECT `+effectColumns+` FROM effects WHERE merchant_id = $1 AND id = $2`, merchant, id)
	if err == nil && principal != "" && e.PrincipalID != principal {
		err = store.ErrNotFound
	}
	return e, err
}

// Effects gives what a principal, or a sub-token under it, has done since a time, newest first, at most limit of it.
func Effects(tx *store.Tx, merchant, principal string, since time.Time, limit int) ([]Effect, error) {
	return store.All(tx, scanEffect, `SELECT `+effectColumns+` FROM effects WHERE merchant_id = $1 AND created_at >= $3
			AND principal_id IN (SELECT CAST($2 AS TEXT) UNION ALL SELECT sub_token_id FROM sub_token_above WHERE above_id = $2)
		ORDER BY created_at DESC, id DESC LIMIT $4`, merchant, principal, since.UnixMicro(), limit)
}

// Undone marks an effect as taken back by somebody. It comes first in the transaction that takes it back, so that of two at once
// the second waits and gets ErrUndone.
func Undone(tx *store.Tx, id, by string) error {
	n, err := tx.Exec(`UPDATE effects SET state = 'undone', undone_at = $1, undone_by = $2 WHERE id = $3 AND state = 'open' AND undo_until > $1`,
		store.Micros(tx.Now), by, id)
	return one(n, err, ErrUndone)
}

// ForgetEffects drops effects that are long past taking back.
func ForgetEffects(tx *store.Tx) error {
	_, err := tx.Exec(`DELETE FROM effects WHERE created_at < $1`, store.Micros(tx.Now.Add(-keepEffects)))
	return err
}

const effectColumns = `id, merchant_id, principal_id, call_id, job_id, tool, tool_schema_sha256, args, resource, level, summary, changes,
	result, image, state, why, created_at, undo_until, undone_at`

func scanEffect(r store.Row) (Effect, error) {
	var e Effect
	var args, changes, result, image string
	err := r.Scan(&e.UndoID, &e.Merchant, &e.PrincipalID, &e.CallID, &e.JobID, &e.Tool, &e.SchemaHash, &args, &e.Resource, &e.Level, &e.Summary,
		&changes, &result, &image, &e.State, &e.Why, store.At(&e.At), store.At(&e.Until), store.At(&e.UndoneAt))
	if err != nil {
		return Effect{}, err
	}
	e.Args, e.Result, e.Image = []byte(args), []byte(result), []byte(image)
	if err := json.Unmarshal([]byte(changes), &e.Changes); err != nil {
		return Effect{}, fmt.Errorf("reading the changes of %s: %w", e.UndoID, err)
	}
	return e, nil
}
