package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A Witness is a call that is not as an assertion says, and what becomes of it.
type Witness struct {
	Profile          string      `json:"profile"`
	Tool             string      `json:"tool"`
	Action           string      `json:"action,omitempty"`
	Object           []string    `json:"object,omitempty"` // the names that it goes by
	Class            tools.Class `json:"class"`            // as the operator sees it
	Level            auth.Level  `json:"level"`
	Risk             tools.Risk  `json:"risk"`
	Money            *shop.Money `json:"money,omitempty"`
	Customers        int64       `json:"customers"`
	Trust            trust.Score `json:"trust"`
	Tainted          bool        `json:"tainted"`
	RequiresApproval bool        `json:"requires_approval"`
	NoTrust          bool        `json:"no_trust,omitempty"`
	DryRun           bool        `json:"dry_run,omitempty"`
	At               time.Time   `json:"at"`

	Outcome  Outcome  `json:"outcome"`
	Rule     string   `json:"rule"`            // that decides
	Check    string   `json:"check,omitempty"` // that refuses
	People   int      `json:"people"`
	Roles    []string `json:"roles,omitempty"`
	Override bool     `json:"override,omitempty"`
	If       []string `json:"if,omitempty"` // what has to be true besides, and nobody looked at

	Words string `json:"words"`
}

func newWitness(p *Policy, f *Facts, v *Verdict) *Witness {
	risk := p.Rated(f)
	w := &Witness{
		Profile: f.Profile, Tool: f.Tool.Name, Action: f.Action, Class: p.Classify(f.Tool, f.Effect.Class), Level: risk.Level(), Risk: risk,
		Money: f.Effect.Money, Customers: f.Effect.Customers, Trust: f.Trust, Tainted: f.Tainted, RequiresApproval: f.RequiresApproval,
		NoTrust: f.NoTrust, DryRun: f.DryRun, At: f.At, Outcome: v.Outcome, Rule: v.Rule, Check: v.Check,
	}
	if w.Class == tools.ClassNone {
		w.Class = "none"
	}
	if len(f.Objects) > 0 && !f.free() && !f.Tool.Own() {
		w.Object = f.Objects[0]
	}
	if v.Outcome == Park {
		w.People, w.Roles = v.asked(true)
		w.Override = v.Ask.Override
	}
	w.Words = w.words()
	return w
}

// String is the witness in one sentence, with what has to be true besides.
func (w *Witness) String() string {
	if len(w.If) == 0 {
		return w.Words
	}
	return w.Words + " if " + strings.Join(w.If, " and ")
}

// words tell the witness in one sentence.
func (w *Witness) words() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s calls %s", w.Profile, w.Tool)
	if w.Action != "" {
		fmt.Fprintf(&b, " for %s", w.Action)
	}
	if len(w.Object) > 0 {
		fmt.Fprintf(&b, " about %s", strings.Join(w.Object, " = "))
	}
	fmt.Fprintf(&b, " (%s), and %s", strings.Join(w.facts(), ", "), w.becomes())
	return b.String()
}

// facts are those about the call that are worth a word.
func (w *Witness) facts() []string {
	all := []string{w.Level.String()}
	add := func(worth bool, format string, args ...any) {
		if worth {
			all = append(all, fmt.Sprintf(format, args...))
		}
	}
	add(w.Class != "none", "class %s", w.Class)
	add(w.Money != nil, "money %s", w.Money)
	add(w.Money == nil && w.Risk.Money > 0, "money of an amount that the tool does not say")
	add(w.Customers > 0, "customers %d", w.Customers)
	add(w.DryRun, "rehearsed")
	add(w.Tainted, "tainted")
	add(w.RequiresApproval, "the key requires approval")
	add(w.NoTrust, "the source of trust gives no answer")
	add(true, "trust %s", w.Trust)
	return all
}

func (w *Witness) becomes() string {
	switch {
	case w.Outcome == Run:
		return "it runs by " + w.Rule
	case w.Outcome == Refuse:
		return "it is refused by " + w.Rule
	}
	people := fmt.Sprintf("%d people", w.People)
	if w.People == 1 {
		people = "1 person"
	}
	if len(w.Roles) > 0 {
		people += " (" + strings.Join(w.Roles, ", ") + ")"
	}
	if w.Override {
		people += ", or for one who may override"
	}
	return fmt.Sprintf("it waits for %s by %s", people, w.Rule)
}

// suppositions are how the conditions have to come out that look outside the space, for a call to get the verdict that p gives it.
func (h *hunt) suppositions(at place, p *Policy) (all []string) {
	outside := h.outside(at)
	for _, name := range slices.Sorted(maps.Keys(outside)) {
		looks := " (it looks at " + strings.Join(outside[name], ", ") + ")"
		if rule, when := strings.CutSuffix(name, ".when"); when && strings.HasPrefix(name, "approvals.") {
			all = append(all, fmt.Sprintf("%s %s%s", name, doesHold(p.fitsPlainly(at, rule)), looks))
		}
	}
	for _, c := range h.policy.conditions.About(at.tool.Name, at.profile) {
		if paths := c.Outside(); len(paths) > 0 {
			favourable := p.conditions == h.favourable.conditions
			all = append(all, fmt.Sprintf("%s %s (it looks at %s)", c.Rule(), doesHold(c.Permits() == favourable), strings.Join(paths, ", ")))
		}
	}
	return all
}

// fitsPlainly reports whether the condition of a rule was supposed to be true.
func (p *Policy) fitsPlainly(at place, rule string) bool {
	return slices.ContainsFunc(p.byTool[at.tool.Name], func(r *approvalRule) bool { return r.full == rule && r.when == nil })
}

func doesHold(yes bool) string {
	if yes {
		return "holds"
	}
	return "does not hold"
}
