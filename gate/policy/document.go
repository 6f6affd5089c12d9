package policy

import (
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A Document is a policy as its operators write it, in YAML. Its parts are asked in the order in which they stand here. What a
// document leaves out grants nothing.
type Document struct {
	Language    int                 `yaml:"language" json:"language"`                           // of the document itself: 1
	Environment string              `yaml:"environment,omitempty" json:"environment,omitempty"` // context.environment of conditions
	Tools       map[string]Override `yaml:"tools,omitempty" json:"tools,omitempty"`             // by the tool's name
	Profiles    map[string]Profile  `yaml:"profiles" json:"profiles"`
	Freezes     []Freeze            `yaml:"freezes,omitempty" json:"freezes,omitempty"`
	Trust       trust.Rules         `yaml:"trust,omitempty" json:"trust,omitzero"`
	Conditions  string              `yaml:"conditions,omitempty" json:"conditions,omitempty"` // Cedar; see package condition
	Limits      Limits              `yaml:"limits,omitempty" json:"limits,omitzero"`
	Approvals   []ApprovalRule      `yaml:"approvals,omitempty" json:"approvals,omitempty"`
	Publishing  Publishing          `yaml:"publishing,omitempty" json:"publishing,omitzero"`
}

// An Override is what an operator says about a tool, in place of its own Spec.
type Override struct {
	Off          bool         `yaml:"off,omitempty" json:"off,omitempty"` // nobody calls it
	Risk         *Risk        `yaml:"risk,omitempty" json:"risk,omitempty"`
	Class        *tools.Class `yaml:"class,omitempty" json:"class,omitempty"`                 // of every call; "none" takes it away
	MinimumTrust trust.Level  `yaml:"minimum_trust,omitempty" json:"minimum_trust,omitempty"` // the sandbox that its caller must be in at least
}

// Risk names the parts of a tool's risk that an operator sees in another way; the rest stays the tool's own.
type Risk struct {
	Undo    *int `yaml:"undo,omitempty" json:"undo,omitempty"`
	Blast   *int `yaml:"blast,omitempty" json:"blast,omitempty"`
	Money   *int `yaml:"money,omitempty" json:"money,omitempty"`
	Touch   *int `yaml:"touch,omitempty" json:"touch,omitempty"`
	DataOut *int `yaml:"data_out,omitempty" json:"data_out,omitempty"`
	Reach   *int `yaml:"reach,omitempty" json:"reach,omitempty"`
}

// A Profile is what a kind of agent may do. A key names one; what it grants is granted within the key's own scopes and limits.
// In each pair deny beats allow. A pattern is a name, or ends in _*, .* , :* or /*; "*" alone is everything.
type Profile struct {
	Description string   `yaml:"description,omitempty" json:"description,omitempty"`
	Warning     string   `yaml:"warning,omitempty" json:"warning,omitempty"` // told to whoever gives a key this profile
	Tools       []string `yaml:"tools,omitempty" json:"tools,omitempty"`     // names or paths: dtc_search_orders, tickets.*
	Resources   []string `yaml:"resources,omitempty" json:"resources,omitempty"`
	Actions     Actions  `yaml:"actions,omitempty" json:"actions,omitzero"`
	Ceiling     Ceiling  `yaml:"ceiling,omitempty" json:"ceiling,omitzero"` // nothing: L0
	Deny        Deny     `yaml:"deny,omitempty" json:"deny,omitzero"`
	// OpenRequests is how many questions to people one agent may have open at once; 0: DefaultOpenRequests.
	OpenRequests int64 `yaml:"open_requests,omitempty" json:"open_requests,omitempty"`
}

const (
	// DefaultOpenRequests is how many questions to people an agent may have open when its profile does not say.
	DefaultOpenRequests = 5
	// MaxOpenRequests is how many a profile may let it have.
	MaxOpenRequests = 100_000
)

// Actions are those of dtc_request_action, provider:action. What may be requested waits for people; what may be run does so too, unless
// no approval rule asks and the action does not insist.
type Actions struct {
	Request []string `yaml:"request,omitempty" json:"request,omitempty"`
	Run     []string `yaml:"run,omitempty" json:"run,omitempty"`
}

// Deny takes away what the rest of a profile grants.
type Deny struct {
	Tools     []string `yaml:"tools,omitempty" json:"tools,omitempty"`
	Resources []string `yaml:"resources,omitempty" json:"resources,omitempty"`
	Actions   []string `yaml:"actions,omitempty" json:"actions,omitempty"`
}

// A Ceiling bounds what one call may do at worst. It is written as a word (low, medium, high), a level (L0 to L7), or a vector, which
// bounds each part of the risk by itself; a part that a vector leaves out is bounded by 0.
type Ceiling struct {
	Level  *auth.Level // of a word or a level; nil: the vector counts
	Vector *Vector
}

// A Vector bounds the parts of a call's risk (tools.Risk). What it says of money and customers bounds the amounts themselves: one
// call's, and those of a day of one key together.
type Vector struct {
	Undo      int          `yaml:"undo,omitempty" json:"undo,omitempty"`
	Blast     *int         `yaml:"blast,omitempty" json:"blast,omitempty"` // nothing: not bounded
	Money     MoneyCeiling `yaml:"money,omitempty" json:"money,omitzero"`
	Customers CountCeiling `yaml:"customers,omitempty" json:"customers,omitzero"`
	Data      int          `yaml:"data,omitempty" json:"data,omitempty"`
	Reach     int          `yaml:"reach,omitempty" json:"reach,omitempty"`
}

// A MoneyCeiling is in minor units of one currency; money of another is over it.
type MoneyCeiling struct {
	PerCallMinor int64  `yaml:"per_call_minor,omitempty" json:"per_call_minor,omitempty"`
	PerDayMinor  int64  `yaml:"per_day_minor,omitempty" json:"per_day_minor,omitempty"`
	Currency     string `yaml:"currency,omitempty" json:"currency,omitempty"`
}

// A CountCeiling is in customers reached.
type CountCeiling struct {
	PerCall int64 `yaml:"per_call,omitempty" json:"per_call,omitempty"`
	PerDay  int64 `yaml:"per_day,omitempty" json:"per_day,omitempty"`
}

// A Match says which calls a rule is about: those that fit everything it names. What it leaves out fits every call.
type Match struct {
	Tools    []string      `yaml:"tools,omitempty" json:"tools,omitempty"`
	Classes  []tools.Class `yaml:"classes,omitempty" json:"classes,omitempty"`
	Profiles []string      `yaml:"profiles,omitempty" json:"profiles,omitempty"`
}

// A Freeze is a time in which some calls are refused, whoever makes them. Reads, brakes and rehearsals are never frozen.
type Freeze struct {
	Name  string    `yaml:"name" json:"name"`
	From  time.Time `yaml:"from" json:"from"`
	To    time.Time `yaml:"to" json:"to"` // the first moment after it
	Why   string    `yaml:"why,omitempty" json:"why,omitempty"`
	Match `yaml:",inline"`
}

// Limits bound what calls do together.
type Limits struct {
	Zone    string   `yaml:"zone,omitempty" json:"zone,omitempty"` // IANA time zone of days and hours; nothing: UTC
	Budgets []Budget `yaml:"budgets,omitempty" json:"budgets,omitempty"`
	Contact Contact  `yaml:"contact,omitempty" json:"contact,omitzero"`
}

// A Budget is an amount that some calls may use up together in a period of the calendar. It bounds one of money, customers, calls.
type Budget struct {
	Name      string      `yaml:"name" json:"name"`
	Per       Subject     `yaml:"per" json:"per"`
	Every     budget.Kind `yaml:"every" json:"every"`
	Money     *shop.Money `yaml:"money,omitempty" json:"money,omitempty"`
	Customers *int64      `yaml:"customers,omitempty" json:"customers,omitempty"`
	Calls     *int64      `yaml:"calls,omitempty" json:"calls,omitempty"`
	Match     `yaml:",inline"`
}

// A Subject is whose calls a budget counts together.
type Subject string

// The subjects: a key (or agent of an issuer) with all its sub-tokens, each caller by itself, the whole merchant.
const (
	PerKey      Subject = "key"
	PerChain    Subject = "chain"
	PerMerchant Subject = "merchant"
)

// Contact bounds how customers are written to.
type Contact struct {
	Rest  Duration `yaml:"rest,omitempty" json:"rest,omitempty"` // a customer who was written to is left alone for so long
	Quiet *Quiet   `yaml:"quiet,omitempty" json:"quiet,omitempty"`
}

// Quiet are hours of the day, in Limits.Zone, in which nobody is written to.
type Quiet struct {
	From ClockTime `yaml:"from" json:"from"` // 21:00
	To   ClockTime `yaml:"to" json:"to"`     // 08:00, the first minute after it; may be the next day
}

// An ApprovalRule says which calls wait for which people. Of several that match the first counts.
type ApprovalRule struct {
	Name  string `yaml:"name" json:"name"`
	Match `yaml:",inline"`
	Over  Over   `yaml:"over,omitempty" json:"over,omitzero"`
	When  string `yaml:"when,omitempty" json:"when,omitempty"` // a Cedar expression over principal, resource, context
	Need  Need   `yaml:"need" json:"need"`
}

// Over are amounts of one call. A call over any of them fits.
type Over struct {
	Money     *shop.Money `yaml:"money,omitempty" json:"money,omitempty"` // money of another currency is over it
	Customers *int64      `yaml:"customers,omitempty" json:"customers,omitempty"`
}

// Need is whose consent a call waits for; see approvals.Rule.
type Need struct {
	People   int        `yaml:"people" json:"people"`                   // 0: it runs without being asked
	Roles    []string   `yaml:"roles,omitempty" json:"roles,omitempty"` // each by a person of its own
	From     []string   `yaml:"from,omitempty" json:"from,omitempty"`   // roles whose people may vote; nothing: Roles, or else whoever may decide
	Expires  Duration   `yaml:"expires,omitempty" json:"expires,omitempty"`
	Escalate []Escalate `yaml:"escalate,omitempty" json:"escalate,omitempty"`
	Override bool       `yaml:"override,omitempty" json:"override,omitempty"`
	Grants   bool       `yaml:"grants,omitempty" json:"grants,omitempty"` // they may agree beforehand to many such calls, by a standing grant
}

// Escalate lets more people vote when nobody has decided for a while.
type Escalate struct {
	After Duration `yaml:"after" json:"after"`
	To    []string `yaml:"to" json:"to"`
}

// Publishing says what a new version of the policy takes.
type Publishing struct {
	Need   *Need    `yaml:"need,omitempty" json:"need,omitempty"`     // nothing: whoever holds policy:admin publishes alone
	Replay Duration `yaml:"replay,omitempty" json:"replay,omitempty"` // how far back the rehearsal goes that those people are shown; nothing: 7 days
}

// Rule gives a need as what a request for approval holds, under the rule's full name.
func (n Need) Rule(name string) approvals.Rule {
	r := approvals.Rule{Name: name, People: n.People, Roles: n.Roles, From: n.From, Expires: time.Duration(n.Expires), Override: n.Override, Grants: n.Grants}
	for _, e := range n.Escalate {
		r.Escalate = append(r.Escalate, approvals.Escalation{After: time.Duration(e.After), To: e.To})
	}
	return r
}
