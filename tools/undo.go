package tools

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/store"
)

// UndoTime is how long a write can be taken back.
const UndoTime = 7 * 24 * time.Hour

// ErrNoUndo is returned by a keep for a call that cannot be taken back although others of its tool can.
var ErrNoUndo = errors.New("this call cannot be undone")

// An Undo is how a write is taken back. It is made by Reversible; the empty one is of a write that cannot be.
type Undo[In, Out any] struct {
	keep    func(*Call) (json.RawMessage, error)
	restore func(c *Call, result, image json.RawMessage) error
}

// Reversible makes a write one that can be taken back within UndoTime. keep reads what restore will need, the pre-image, in
// the transaction of the write and before it; of a stepped write it is asked before each step, and the last one counts.
// restore gets the arguments and the result of the write, and puts the image back: every column but versions, which go
// up, and histories, which grow. It refuses what somebody else has changed since.
func Reversible[In, Out, Image any](keep func(*Call, In) (Image, error), restore func(*Call, In, Out, Image) error) Undo[In, Out] {
	return Undo[In, Out]{
		keep: func(c *Call) (json.RawMessage, error) {
			image, err := with(c, func(in In) (Image, error) { return keep(c, in) })
			if err != nil {
				return nil, err
			}
			return json.Marshal(image)
		},
		restore: func(c *Call, result, image json.RawMessage) error {
			in, err := schemas.Decode[In](c.Args)
			if err != nil {
				return fmt.Errorf("decoding the arguments: %w", err)
			}
			var out Out
			var before Image
			if err := errors.Join(json.Unmarshal(result, &out), json.Unmarshal(image, &before)); err != nil {
				return fmt.Errorf("decoding the image: %w", err)
			}
			return restore(c, in, out, before)
		},
	}
}

// An EffectState says whether an effect can be taken back.
type EffectState string

// The states of an effect.
const (
	EffectOpen   EffectState = "open"
	EffectUndone EffectState = "undone"
	EffectFinal  EffectState = "final" // it never could be
)

// An Effect is what a write did, as its owner sees it.
type Effect struct {
	UndoID   string      `json:"undo_id"`
	Tool     string      `json:"tool"`
	Resource string      `json:"resource"`
	Summary  string      `json:"summary"` // of the write
	State    EffectState `json:"state"`
	Why      string      `json:"why,omitempty"`     // it cannot come back
	Changes  []Change    `json:"changes,omitempty"` // that the write made
	At       time.Time   `json:"at"`
	Until    time.Time   `json:"until,omitzero"`
	UndoneAt time.Time   `json:"undone_at,omitzero"`

	// Asks says that a person has to agree before the caller takes it back.
	Asks bool `json:"-"`
}

// Undos is how the undo tool reaches the caller's own effects. One of somebody else, or that never was, is
// store.ErrNotFound. It is an interface because package gate alone may run what restores, after judging it.
type Undos interface {
	// Effect gives an effect that the caller may take back, and refuses one that cannot be, or not any more.
	Effect(tx *store.Tx, p auth.Principal, id string) (Effect, error)
	// Undo takes it back. What is undone already is given as it is.
	Undo(tx *store.Tx, p auth.Principal, id string) (Effect, error)
}
