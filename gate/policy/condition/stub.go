// Package condition is a stand-in.
package condition

import (
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"net/netip"
	"time"
)

type Request struct {
	Agent, Name, Kind, Profile, Owner string
	Scopes                            []string
	Ceiling                           int64
	RequiresApproval                  bool
	Tool, Path, Action                string
	Resources                         []string
	Input                             []byte
	Effect                            Effect
	Time                              time.Time
	Source                            netip.Addr
	Environment, Transport            string
	Tainted                           bool
	Trust                             int64
}
type Effect struct {
	Known                                     bool
	Level                                     int64
	Undo, Blast, Money, Touch, DataOut, Reach int64
	Class                                     string
	Writes, DryRun                            bool
	Customers, MoneyMinor                     int64
	Currency                                  string
}
type Set struct{}
type When struct{}
type Decision struct {
	Allowed  bool
	Rule     string
	Errors   []string
	Why      string
	NoPermit bool
}

func Compile(text string, line int) (*Set, []strict.Problem)      { return nil, nil }
func (s *Set) Decide(Request) Decision                            { return Decision{Allowed: true} }
func CompileWhen(expr string, line int) (*When, []strict.Problem) { return nil, nil }
func (w *When) Holds(Request) (bool, error)                       { return true, nil }
