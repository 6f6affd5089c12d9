package policy_test

import (
	"cmp"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/tools"
)

// naive says what a policy means, in the plainest way: it goes through the document for every call, as a general YAML library reads it, with
// loops and nothing prepared. It was written from what the document promises and not from the engine, of which it sees only the facts and
// the names of outcomes. Where the two differ, one of them is wrong.
type naive struct {
	doc        map[string]any
	conditions []written
	whens      []*written // of the approval rules, in order; nil for a rule without
}

// An answer is a verdict, with a word on why for the count of what was met.
type answer struct {
	policy.Verdict
	kind string
}

func newNaive(text []byte) (*naive, error) {
	n := &naive{}
	if err := yaml.Unmarshal(text, &n.doc); err != nil {
		return nil, err
	}
	var err error
	if n.conditions, err = readCedar(str(n.doc["conditions"]), lineAfter(string(text), "conditions:")); err != nil {
		return nil, err
	}
	for _, r := range items(n.doc["approvals"]) {
		var when *written
		if expr := str(at(r, "when")); expr != "" {
			one, err := readCedar("permit (principal, action, resource) when {\n"+expr+"\n};", 1)
			if err != nil {
				return nil, err
			}
			when = &one[0]
		}
		n.whens = append(n.whens, when)
	}
	return n, nil
}

func lineAfter(text, start string) int {
	for i, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, start) {
			return i + 2
		}
	}
	return 0
}

// decide asks in the order that the issue gives: the first refusal wins, and what comes behind it is not asked.
func (n *naive) decide(f *policy.Facts) answer {
	refuse := func(check, rule, kind string) answer {
		return answer{policy.Verdict{Outcome: policy.Refuse, Check: check, Rule: rule, Unknown: rule == ""}, kind}
	}
	for _, c := range []struct {
		name  string
		early bool
		judge func(*policy.Facts) (rule, kind string)
	}{
		{"switched", true, n.switched},
		{"profile", true, n.profile},
		{"action", true, n.action},
		{"objects", true, n.objects},
		{"freeze", false, n.freeze},
		{"ceiling", false, n.ceiling},
		{"sandbox", false, n.sandbox},
		{"conditions", false, n.cedar},
		{"quiet", false, n.quiet},
	} {
		if !c.early && f.Effect == nil {
			return refuse(c.name, "", "unknown effect")
		}
		if rule, kind := c.judge(f); rule != "" {
			return refuse(c.name, rule, c.name+": "+kind)
		}
	}
	a := answer{Verdict: policy.Verdict{Outcome: policy.Run, Charges: n.charges(f)}}
	var parks bool
	a.Ask, parks, a.kind = n.approval(f)
	if a.Rule = a.Ask.Name; parks {
		a.Outcome = policy.Park
	}
	return a
}

// free calls are held back by nobody: brakes, and asking who one is.
func free(f *policy.Facts) bool { return f.Tool.Brake || f.Tool.Resource == "self" }

func (n *naive) override(f *policy.Facts) any { return at(n.doc, "tools", f.Tool.Name) }

func (n *naive) switched(f *policy.Facts) (string, string) {
	if truth(at(n.override(f), "off")) {
		return "tools." + f.Tool.Name + ".off", "off"
	}
	return "", ""
}

// own is the profile of the caller; a credential that names none has scoped.
func (n *naive) own(f *policy.Facts) (name string, profile any, exists bool) {
	name = cmp.Or(f.Profile, "scoped")
	profile, exists = n.doc["profiles"].(map[string]any)[name]
	return name, profile, exists
}

func (n *naive) profile(f *policy.Facts) (string, string) {
	name, own, exists := n.own(f)
	switch {
	case free(f):
	case !exists:
		return "profiles", "no such profile"
	case fitsOne(at(own, "deny", "tools"), f.Tool.Name, f.Tool.Path):
		return "profiles." + name, "denied"
	case !fitsOne(at(own, "tools"), f.Tool.Name, f.Tool.Path):
		return "profiles." + name, "not granted"
	}
	return "", ""
}

func (n *naive) mayRun(f *policy.Facts) bool {
	_, own, _ := n.own(f)
	return f.Action != "" && fitsOne(at(own, "actions", "run"), f.Action) && !fitsOne(at(own, "deny", "actions"), f.Action)
}

func (n *naive) action(f *policy.Facts) (string, string) {
	name, own, _ := n.own(f)
	switch {
	case f.Action == "":
	case fitsOne(at(own, "deny", "actions"), f.Action):
		return "profiles." + name, "denied"
	case !fitsOne(at(own, "actions", "run"), f.Action) && !fitsOne(at(own, "actions", "request"), f.Action):
		return "profiles." + name, "not granted"
	}
	return "", ""
}

// about are the names of each object of the call.
func about(f *policy.Facts) [][]string {
	var all [][]string
	for _, o := range f.Objects {
		all = append(all, o)
	}
	if f.Objects == nil {
		for _, name := range f.Tool.ResourcesOf(f.Args) {
			all = append(all, []string{name})
		}
	}
	return all
}

func (n *naive) objects(f *policy.Facts) (string, string) {
	name, own, _ := n.own(f)
	kind, _, _ := strings.Cut(f.Tool.Resource, ":")
	if free(f) || kind == "self" || kind == "job" || kind == "effect" || kind == "sub_token" {
		return "", ""
	}
	for _, names := range about(f) {
		switch {
		case fitsOne(at(own, "deny", "resources"), names...):
			return "profiles." + name, "denied"
		case !has(at(own, "resources"), "*") && !fitsOne(at(own, "resources"), names...): // "*" alone is also for what has no name
			return "profiles." + name, "not granted"
		}
	}
	return "", ""
}

// matches says whether a rule of the document is about the call: what it leaves out fits every one.
func (n *naive) matches(rule any, f *policy.Facts) bool {
	named := func(part string) bool { return at(rule, part) != nil }
	return (!named("tools") || fitsOne(at(rule, "tools"), f.Tool.Name, f.Tool.Path)) &&
		(!named("classes") || has(at(rule, "classes"), string(n.class(f)))) &&
		(!named("profiles") || has(at(rule, "profiles"), f.Profile))
}

// class and risk are as the operator sees them.
func (n *naive) class(f *policy.Facts) tools.Class {
	switch c := str(at(n.override(f), "class")); c {
	case "":
		return f.Effect.Class
	case "none":
		return tools.ClassNone
	default:
		return tools.Class(c)
	}
}

func (n *naive) risk(f *policy.Facts) tools.Risk {
	r := f.Effect.Risk
	part := func(own int, name string) int {
		if v := at(n.override(f), "risk", name); v != nil {
			return int(num(v))
		}
		return own
	}
	r.Undo, r.Blast, r.Money = part(r.Undo, "undo"), part(r.Blast, "blast"), part(r.Money, "money")
	r.Touch, r.DataOut, r.Reach = part(r.Touch, "touch"), part(r.DataOut, "data_out"), part(r.Reach, "reach")
	if f.DryRun {
		r.Undo, r.Blast, r.Money, r.Touch, r.Reach = 0, 0, 0, 0, 0
	}
	return r
}

// when is the time at which something would happen.
func when(f *policy.Facts) time.Time {
	if f.Effect.RunAt.After(f.At) {
		return f.Effect.RunAt
	}
	return f.At
}

func (n *naive) freeze(f *policy.Facts) (string, string) {
	for _, z := range items(n.doc["freezes"]) {
		during := !when(f).Before(moment(at(z, "from"))) && when(f).Before(moment(at(z, "to")))
		if during && f.Tool.Writes() && !free(f) && !f.DryRun && n.matches(z, f) {
			return "freezes." + str(at(z, "name")), "frozen"
		}
	}
	return "", ""
}

func (n *naive) ceiling(f *policy.Facts) (string, string) {
	if free(f) {
		return "", ""
	}
	name, own, _ := n.own(f)
	rule, c, r := "profiles."+name+".ceiling", at(own, "ceiling"), n.risk(f)
	if v, ok := c.(map[string]any); ok {
		if kind := n.over(v, r, f); kind != "" {
			return rule, kind
		}
		return "", ""
	}
	if r.Level() > level(c) {
		return rule, "level"
	}
	return "", ""
}

// over names the part of a vector that the call is over. What the vector leaves out is 0, but for blast, which is then not bounded.
func (n *naive) over(v map[string]any, r tools.Risk, f *policy.Facts) string {
	blast, bounded := v["blast"]
	money, e := f.Effect.Money, f.Effect
	switch {
	case r.Undo > int(num(v["undo"])):
		return "undo"
	case bounded && r.Blast > int(num(blast)):
		return "blast"
	case r.DataOut > int(num(v["data"])):
		return "data"
	case r.Reach > int(num(v["reach"])):
		return "reach"
	case f.DryRun:
	case r.Money > 0 && money == nil:
		return "money not known"
	case money != nil && money.AmountMinor > num(at(v, "money", "per_call_minor")):
		return "money"
	case money != nil && money.AmountMinor > 0 && money.Currency != str(at(v, "money", "currency")):
		return "currency"
	case e.Customers > num(at(v, "customers", "per_call")):
		return "customers"
	case r.Touch > 0 && num(at(v, "customers", "per_call")) == 0:
		return "customers not counted"
	}
	return ""
}

func (n *naive) sandbox(f *policy.Facts) (string, string) {
	if free(f) {
		return "", ""
	}
	r := n.risk(f)
	required := truth(at(n.doc, "trust", "source", "required"))
	if f.NoTrust && (r.Reach > 0 || r.Touch > 0 || required) {
		return "trust.source", "no source"
	}
	order := map[string]int{"STRICT": 1, "ADAPTIVE": 2, "OPEN": 3}
	name, terms := n.box(int64(f.Trust))
	if order[str(at(n.override(f), "minimum_trust"))] > order[name] {
		return "tools." + f.Tool.Name + ".minimum_trust", "minimum"
	}
	if only := at(terms, "tools"); only != nil && !fitsOne(only, f.Tool.Name, f.Tool.Path) {
		return "trust." + name, name + " tools"
	}
	if c := at(terms, "ceiling"); c != nil && r.Level() > level(c) {
		return "trust." + name, name + " ceiling"
	}
	return "", ""
}

// box is the sandbox of a score. Without any everybody is in the widest, which bounds nothing.
func (n *naive) box(score int64) (string, any) {
	boxes := at(n.doc, "trust", "sandboxes")
	switch {
	case boxes == nil:
		return "OPEN", nil
	case score >= thousandths(at(boxes, "open", "from"), 70_000):
		return "OPEN", at(boxes, "open")
	case score >= thousandths(at(boxes, "adaptive", "from"), 30_000):
		return "ADAPTIVE", at(boxes, "adaptive")
	}
	return "STRICT", at(boxes, "strict")
}

// touches says whether customers hear of the call.
func (n *naive) touches(f *policy.Facts) bool {
	return n.risk(f).Touch > 0 || f.Effect.Customers > 0 && n.class(f) == tools.ClassContact
}

func (n *naive) zone() *time.Location {
	zone, err := time.LoadLocation(str(at(n.doc, "limits", "zone")))
	if err != nil {
		panic(err)
	}
	return zone
}

func (n *naive) quiet(f *policy.Facts) (string, string) {
	hours := at(n.doc, "limits", "contact", "quiet")
	if hours == nil || free(f) || f.DryRun || !n.touches(f) {
		return "", ""
	}
	// Whoever waits for people is asked once they have agreed, unless the hour of its effect is fixed.
	if _, parks, _ := n.approval(f); parks && !f.Resumed && f.Effect.RunAt.IsZero() {
		return "", ""
	}
	local := when(f).In(n.zone())
	now, from, to := 60*local.Hour()+local.Minute(), clock(at(hours, "from")), clock(at(hours, "to"))
	for minute := from; minute != to; minute = (minute + 1) % (24 * 60) {
		if minute == now && from < to {
			return "limits.contact.quiet", "by day"
		} else if minute == now {
			return "limits.contact.quiet", "over midnight"
		}
	}
	return "", ""
}

func (n *naive) approval(f *policy.Facts) (ask approvals.Rule, parks bool, kind string) {
	ask, kind = approvals.Rule{Name: "profiles." + cmp.Or(f.Profile, "scoped")}, "run: the profile"
	if free(f) {
		ask.Name, kind = "builtin.free", "run: free"
	}
	if f.DryRun || f.Tool.Brake || !f.Tool.Writes() {
		return ask, false, kind
	}
	for i, r := range items(n.doc["approvals"]) {
		if n.matches(r, f) && n.isOver(at(r, "over"), f) && n.holds(i, f) {
			ask, kind = need(r), "run: a rule"
			ask.Grants = ask.Grants && !f.Effect.Asks && (!f.Tool.AlwaysAsks || n.mayRun(f))
			break
		}
	}
	switch {
	case ask.People > 0:
		return ask, true, "park: a rule"
	case f.Effect.Asks || f.Tool.AlwaysAsks && !n.mayRun(f):
		return approvals.Rule{Name: "builtin.always_asks", People: 1}, true, "park: always"
	case f.RequiresApproval && n.class(f) != tools.ClassNone:
		return approvals.Rule{Name: "builtin.key_requires_approval", People: 1}, true, "park: the key"
	}
	return ask, false, kind
}

// isOver says whether the call is over one of the amounts of a rule, which every call is when there is none.
func (n *naive) isOver(over any, f *policy.Facts) bool {
	if over == nil {
		return true
	}
	if most := at(over, "customers"); most != nil && f.Effect.Customers > num(most) {
		return true
	}
	most, money := at(over, "money"), f.Effect.Money
	if most == nil || money == nil || money.AmountMinor <= 0 {
		return false
	}
	return money.Currency != str(at(most, "currency")) || money.AmountMinor > num(at(most, "amount_minor"))
}

// holds asks the condition of the i-th approval rule. Where nobody can tell, people are asked.
func (n *naive) holds(i int, f *policy.Facts) bool {
	if n.whens[i] == nil {
		return true
	}
	yes, no := false, false
	for _, object := range oneAtLeast(firstNames(f)) {
		holds, failed := n.whens[i].ask(n, f, object)
		if failed {
			yes, no = true, true
		}
		yes, no = yes || holds, no || !holds
	}
	people := num(at(items(n.doc["approvals"])[i], "need", "people"))
	return yes && (!no || people > 0)
}

func need(rule any) approvals.Rule {
	n := at(rule, "need")
	r := approvals.Rule{
		Name: "approvals." + str(at(rule, "name")), People: int(num(at(n, "people"))), Roles: texts(at(n, "roles")), From: texts(at(n, "from")),
		Expires: span(at(n, "expires")), Override: truth(at(n, "override")), Grants: truth(at(n, "grants")),
	}
	for _, e := range items(at(n, "escalate")) {
		r.Escalate = append(r.Escalate, approvals.Escalation{After: span(at(e, "after")), To: texts(at(e, "to"))})
	}
	return r
}

func (n *naive) charges(f *policy.Facts) []budget.Charge {
	if f.DryRun || free(f) {
		return nil
	}
	var all []budget.Charge
	for _, b := range items(n.doc["limits"].(map[string]any)["budgets"]) {
		if n.matches(b, f) {
			all = n.charge(all, "limits.budgets."+str(at(b, "name")), b, f)
		}
	}
	name, own, _ := n.own(f)
	rule := "profiles." + name + ".ceiling."
	if day := at(own, "ceiling", "money", "per_day_minor"); num(day) > 0 {
		most := map[string]any{"amount_minor": day, "currency": at(own, "ceiling", "money", "currency")}
		all = n.charge(all, rule+"money", map[string]any{"per": "key", "every": "day", "money": most}, f)
	}
	if day := at(own, "ceiling", "customers", "per_day"); num(day) > 0 {
		all = n.charge(all, rule+"customers", map[string]any{"per": "key", "every": "day", "customers": day}, f)
	}
	return all
}

func (n *naive) charge(all []budget.Charge, name string, b any, f *policy.Facts) []budget.Charge {
	c := budget.Charge{Budget: name, Subject: f.Agent}
	switch per := str(at(b, "per")); {
	case per == "merchant":
		c.Subject = "merchant"
	case per == "chain" && f.Caller != "":
		c.Subject = f.Caller
	}
	if most := at(b, "calls"); most != nil {
		c.Unit, c.Amount, c.Limit = "calls", 1, num(most)
	}
	if most := at(b, "customers"); most != nil && n.touches(f) {
		c.Unit, c.Amount, c.Limit = "customers", max(1, f.Effect.Customers), num(most)
	}
	if most := at(b, "money"); most != nil && f.Effect.Money != nil {
		currency := str(at(most, "currency"))
		c.Unit, c.Amount, c.Limit = "money:"+currency, f.Effect.Money.AmountMinor, num(at(most, "amount_minor"))
		if f.Effect.Money.Currency != currency {
			c.Limit = 0
		}
	}
	if c.Amount == 0 {
		return all
	}
	c.From, c.Until = period(str(at(b, "every")), f.At.In(n.zone()))
	return append(all, c)
}
