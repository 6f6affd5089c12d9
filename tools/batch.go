package tools

import (
	"encoding/json"
	"time"

	"github.com/dtcgate/dtcgate/shop"
)

// A Batch is how the code of a batch reaches the calls that it is made of (Func.Calls). It is an interface because package gate alone judges
// and runs them, each as a call of its own.
type Batch interface {
	// Preview is what all of them would do together.
	Preview() (Preview, error)
	// Run runs them in their order, in the transaction of the batch. After an error that must be given up.
	Run() ([]Made, error)
}

// Made is one call of a batch that was carried out.
type Made struct {
	Tool      string          `json:"tool"`
	Result    json.RawMessage `json:"result"`
	UndoID    string          `json:"undo_id,omitempty"` // takes back this call alone
	UndoUntil time.Time       `json:"undo_until,omitzero"`
}

// A Part is what one call of a batch would do, as people are shown it and are held to: it may become less, and not more.
type Part struct {
	Tool      string      `json:"tool"`
	Summary   string      `json:"summary"`
	Customers int64       `json:"customers,omitempty"`
	Money     *shop.Money `json:"money,omitempty"`
}

// Batches reports whether a call of the tool is made of other calls, each judged as one of its own, so that what it may do follows from them.
func (t *Tool) Batches() bool { return t.handler.Calls != nil }
