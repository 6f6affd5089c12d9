package auth

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// TaintTime is how long a principal counts as tainted after it was handed text that somebody outside wrote: such text may
// hold instructions, and whoever has read it may follow them.
const TaintTime = 30 * time.Minute

// A Taint says that a principal has read what outsiders wrote.
type Taint struct {
	Tool   string    `json:"tool"` // whose answer held the text last
	CallID string    `json:"call_id"`
	Until  time.Time `json:"until"`
}

// SetTaint notes that the answer of a call to a tool held outsiders' text.
func SetTaint(tx *store.Tx, p Principal, tool, call string) error {
	_, err := tx.Exec(`INSERT INTO taints (principal_id, merchant_id, tool, call_id, until) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (principal_id) DO UPDATE SET tool = excluded.tool, call_id = excluded.call_id, until = excluded.until`,
		p.ID, p.Merchant, tool, call, store.Micros(tx.Now.Add(TaintTime)))
	if err != nil {
		return fmt.Errorf("noting a taint: %w", err)
	}
	return nil
}

// TaintOf gives the taint of p, or nil when it has none or its time is over. What stands above p taints it: whoever has read outsiders' text
// would else be rid of it with a sub-token of its own.
func TaintOf(tx *store.Tx, p Principal) (*Taint, error) {
	if len(p.Links) == 0 || len(p.Links) > maxLinks {
		return nil, nil
	}
	args := make([]any, 0, maxLinks+1)
	args = append(args, store.Micros(tx.Now))
	for _, l := range p.Links {
		args = append(args, l.ID)
	}
	t, err := store.One(tx, func(r store.Row) (t Taint, err error) {
		return t, r.Scan(&t.Tool, &t.CallID, store.At(&t.Until))
	}, lastTaint[len(p.Links)], args...)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading a taint: %w", err)
	}
	return &t, nil
}

// lastTaint are the queries for the taint of so many principals that ends last.
var lastTaint = func() (all [maxLinks + 1]string) {
	in := "$2"
	for n := 1; n <= maxLinks; n++ {
		all[n] = `SELECT tool, call_id, until FROM taints WHERE until > $1 AND principal_id IN (` + in + `) ORDER BY until DESC LIMIT 1`
		in += ", $" + strconv.Itoa(n+2)
	}
	return all
}()
