package rehearsal

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/shop"
)

// The bounds of a report.
const (
	maxExamples = 20   // of each kind
	maxRows     = 1000 // of agents, and of rules; the others are counted together
	others      = "others"
)

// A Report is what would have become of recorded calls.
type Report struct {
	Summary  string    `json:"summary"`      // in one sentence
	Hash     string    `json:"draft_sha256"` // of the draft
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
	Through  time.Time `json:"through"`  // how far it came
	Complete bool      `json:"complete"` // through is until

	Entries     int64 `json:"entries"`       // of calls that were read
	Calls       int64 `json:"calls"`         // each once
	Repeats     int64 `json:"repeats"`       // answered by what the first call was answered
	Unchanged   int64 `json:"unchanged"`     // would get what they got
	KeptRefused int64 `json:"still_refused"` // by what no policy decides: a scope, a rate, arguments, the tool itself

	Changed  map[Kind]int64        `json:"changed"`
	Unknown  map[policy.Loss]int64 `json:"unknown"` // that cannot be decided again, by the reason
	Agents   []Row                 `json:"agents"`  // whose calls differ, those with most first
	Rules    []Row                 `json:"rules"`   // by which they do: the draft's that stops a call, or the one that had stopped it
	Examples map[Kind][]Example    `json:"examples"`

	agents, rules map[rowKey]*Row
}

// A Row is what differs for one agent, or by one rule, in one way.
type Row struct {
	Name      string           `json:"name"`
	Kind      Kind             `json:"kind"`
	Calls     int64            `json:"calls"`
	Customers int64            `json:"customers"`
	Money     map[string]int64 `json:"money_minor,omitempty"` // by currency
}

// Amounts are the row's money as people read it, in minor units.
func (r Row) Amounts() string {
	var all []string
	for _, currency := range slices.Sorted(maps.Keys(r.Money)) {
		all = append(all, fmt.Sprintf("%d %s", r.Money[currency], currency))
	}
	return strings.Join(all, ", ")
}

type rowKey struct {
	name string
	kind Kind
}

// An Example is one call that would get something else. It has nothing of the arguments.
type Example struct {
	CallID    string      `json:"call_id"`
	At        time.Time   `json:"at"`
	Agent     string      `json:"agent"`
	Tool      string      `json:"tool"`
	Was       Was         `json:"was"`
	Would     Would       `json:"would"`
	Money     *shop.Money `json:"money,omitempty"`
	Customers int64       `json:"customers,omitempty"`
}

// Was is what became of a call, and by which rule.
type Was struct {
	Status string `json:"status"`
	Rule   string `json:"rule"`
}

// Would is what the draft says, and by which rule.
type Would struct {
	Outcome policy.Outcome `json:"outcome"` // "" where that is not known
	Rule    string         `json:"rule,omitempty"`
	Why     string         `json:"why,omitempty"`
	Resumed bool           `json:"resumed,omitempty"` // when its turn comes, after people have agreed
}

func newReport(draft *policy.Policy) Report {
	return Report{
		Hash: draft.Hash, Changed: map[Kind]int64{}, Unknown: map[policy.Loss]int64{}, Examples: map[Kind][]Example{},
		agents: map[rowKey]*Row{}, rules: map[rowKey]*Row{},
	}
}

// Differences counts the calls that would get something else.
func (r *Report) Differences() (n int64) {
	for _, calls := range r.Changed {
		n += calls
	}
	return n
}

func (r *Report) unknown(why policy.Loss) { r.Unknown[why]++ }

// count notes what the draft says about a call; a kind of "" is as it was.
func (r *Report) count(kind Kind, c *policy.Record, v policy.Verdict) {
	if kind == "" {
		r.Unchanged++
		return
	}
	r.Changed[kind]++
	f := &c.Facts
	tally(r.agents, rowKey{f.Agent, kind}, f)
	tally(r.rules, rowKey{decisive(kind, c, v), kind}, f)
	if len(r.Examples[kind]) < maxExamples {
		r.Examples[kind] = append(r.Examples[kind], example(kind, c, v))
	}
}

// recount is count for a call that was counted as unchanged when it came.
func (r *Report) recount(kind Kind, c *policy.Record, v policy.Verdict) {
	r.Unchanged--
	r.count(kind, c, v)
}

// decisive is the rule that makes the difference: what stops a call by the draft, or what had stopped it.
func decisive(kind Kind, c *policy.Record, v policy.Verdict) string {
	if kind == Refused || kind == Parked {
		return v.Rule
	}
	return c.Rule
}

func tally(rows map[rowKey]*Row, k rowKey, f *policy.Facts) {
	row := rows[k]
	if row == nil && len(rows) >= maxRows {
		k.name = others
		row = rows[k]
	}
	if row == nil {
		row = &Row{Name: k.name, Kind: k.kind, Money: map[string]int64{}}
		rows[k] = row
	}
	row.Calls++
	if e := f.Effect; e != nil {
		row.Customers += e.Customers
		if e.Money != nil {
			row.Money[string(e.Money.Currency)] += e.Money.AmountMinor
		}
	}
}

func example(kind Kind, c *policy.Record, v policy.Verdict) Example {
	f := &c.Facts
	e := Example{CallID: c.CallID, At: f.At, Agent: f.Agent, Tool: c.Tool, Was: Was{c.Status, c.Rule}, Would: Would{Outcome: v.Outcome, Rule: v.Rule, Resumed: f.Resumed}}
	switch {
	case kind == Perhaps:
		e.Would = Would{Why: "It would get past what refused it; what comes after was not known."}
	case v.Refusal != nil:
		e.Would.Why = v.Refusal.Message
	case v.Outcome == policy.Park:
		e.Would.Why = "It takes the approval of " + v.Ask.Needs() + "."
	}
	if f.Effect != nil {
		e.Money, e.Customers = f.Effect.Money, f.Effect.Customers
	}
	return e
}

// told is the report with what follows from its counts. It shares nothing with r.
func (r *Report) told() Report {
	t := *r
	t.Changed, t.Unknown, t.Examples = maps.Clone(r.Changed), maps.Clone(r.Unknown), map[Kind][]Example{}
	for kind, all := range r.Examples {
		t.Examples[kind] = slices.Clone(all)
	}
	t.Agents, t.Rules = sorted(r.agents), sorted(r.rules)
	t.Summary = r.summary()
	return t
}

func sorted(rows map[rowKey]*Row) []Row {
	all := []Row{}
	for _, row := range rows {
		one := *row
		one.Money = maps.Clone(row.Money)
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Row) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Name, b.Name), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	return all
}

// sayings are the parts of the summary.
var sayings = map[Kind]string{
	Refused: "would be refused", Parked: "would be parked that ran", Unparked: "would run that were parked", Allowed: "would run that were refused",
	RefusedParked: "would be parked that were refused", Perhaps: "that were refused would get further, as far as it can be known",
}

func (r *Report) summary() string {
	var parts []string
	for _, kind := range Kinds {
		if n := r.Changed[kind]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, sayings[kind]))
		}
	}
	said := fmt.Sprintf("Of %d calls %s", r.Calls, strings.Join(parts, ", "))
	if len(parts) == 0 {
		said = fmt.Sprintf("None of %d calls would get anything else", r.Calls)
	}
	var lost int64
	for _, n := range r.Unknown {
		lost += n
	}
	if lost > 0 {
		said += fmt.Sprintf("; %d cannot be decided again", lost)
	}
	return said + "."
}
