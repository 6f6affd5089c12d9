package approvals

import (
	"github.com/dtcgate/dtcgate/store"
	"time"
)

type Rule struct {
	Name        string
	People      int
	Roles, From []string
	Expires     time.Duration
	Escalate    []Escalation
	Override    bool
}
type Escalation struct {
	After time.Duration
	To    []string
}

func Satisfied(tx *store.Tx, r Request, rule Rule) (bool, error) { return Endorsed(tx, r) }
func (r Rule) Needs() string                                     { return "1 person" }
