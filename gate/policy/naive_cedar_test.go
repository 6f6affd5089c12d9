package policy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"github.com/cedar-policy/cedar-go"

	"github.com/dtcgate/dtcgate/gate/policy"
)

// A written is one policy of Cedar, to be asked by itself.
type written struct {
	name   string
	permit bool
	set    *cedar.PolicySet
}

func readCedar(text string, line int) ([]written, error) {
	list, err := cedar.NewPolicyListFromBytes("", []byte(text))
	if err != nil {
		return nil, err
	}
	var all []written
	for _, one := range list {
		w := written{fmt.Sprintf("conditions.line %d", line+one.Position().Line-1), one.Effect() == cedar.Permit, cedar.NewPolicySet()}
		if id, named := one.Annotations()["id"]; named {
			w.name = "conditions." + string(id)
		}
		w.set.Add("it", one)
		all = append(all, w)
	}
	return all, nil
}

// ask puts one policy to Cedar with everything there is to know about the call.
func (w *written) ask(n *naive, f *policy.Facts, object string) (applies, failed bool) {
	entities, request := n.everything(f, object)
	_, found := cedar.Authorize(w.set, entities, request)
	return len(found.Reasons) > 0, len(found.Errors) > 0
}

// cedar asks the conditions about each object: a forbid wins, then an error, then the want of a permit.
func (n *naive) cedar(f *policy.Facts) (string, string) {
	if free(f) {
		return "", ""
	}
	for _, object := range oneAtLeast(firstNames(f)) {
		if rule, kind := n.cedarOf(f, object); rule != "" {
			return rule, kind
		}
	}
	return "", ""
}

func (n *naive) cedarOf(f *policy.Facts, object string) (rule, kind string) {
	broken, permitted := "", false
	for _, w := range n.conditions {
		applies, failed := w.ask(n, f, object)
		switch {
		case applies && !w.permit:
			return w.name, "forbidden"
		case failed && broken == "":
			broken = w.name
		}
		permitted = permitted || applies
	}
	switch {
	case broken != "":
		return broken, "an error"
	case !permitted:
		return "conditions", "no permit"
	}
	return "", ""
}

// firstNames are the objects as Cedar sees them: one without a name has no type and no id.
func firstNames(f *policy.Facts) []string {
	var all []string
	for _, names := range about(f) {
		all = append(all, append(names, "")[0])
	}
	return all
}

func oneAtLeast(objects []string) []string {
	if len(objects) == 0 {
		return []string{""}
	}
	return objects
}

func (n *naive) everything(f *policy.Facts, object string) (cedar.EntityMap, cedar.Request) {
	principal, action, resource := cedar.NewEntityUID("Agent", cedar.String(f.Agent)), cedar.NewEntityUID("Action", cedar.String(f.Tool.Name)), cedar.NewEntityUID("Resource", cedar.String(object))
	profile, _, _ := n.own(f)
	kind, id, _ := strings.Cut(object, ":")
	scopes := make([]cedar.Value, len(f.Scopes))
	for i, s := range f.Scopes {
		scopes[i] = cedar.String(s)
	}
	agent := cedar.RecordMap{
		"kind": cedar.String(f.Kind), "name": cedar.String(f.Name), "profile": cedar.String(profile), "ceiling": cedar.Long(f.Ceiling),
		"requires_approval": cedar.Boolean(f.RequiresApproval), "scopes": cedar.NewSet(scopes...),
	}
	if f.Owner != "" {
		agent["owner"] = cedar.String(f.Owner)
	}
	entities := cedar.EntityMap{
		principal: {UID: principal, Parents: cedar.NewEntityUIDSet(cedar.NewEntityUID("Profile", cedar.String(profile))), Attributes: cedar.NewRecord(agent)},
		action:    {UID: action, Parents: cedar.NewEntityUIDSet(groups(f)...)},
		resource:  {UID: resource, Attributes: cedar.NewRecord(cedar.RecordMap{"type": cedar.String(kind), "id": cedar.String(id)})},
	}
	return entities, cedar.Request{Principal: principal, Action: action, Resource: resource, Context: n.context(f)}
}

// groups are what a tool is in: one for each part of its path, and reads or writes.
func groups(f *policy.Facts) []cedar.EntityUID {
	kind := "reads"
	if f.Tool.Writes() {
		kind = "writes"
	}
	all := []cedar.EntityUID{cedar.NewEntityUID("Action", cedar.String(kind))}
	parts := strings.Split(f.Tool.Path, ".")
	for i := 1; i < len(parts); i++ {
		all = append(all, cedar.NewEntityUID("Action", cedar.String(strings.Join(parts[:i], ".")+".*")))
	}
	return all
}

func (n *naive) context(f *policy.Facts) cedar.Record {
	r, class := n.risk(f), n.class(f)
	money := cedar.RecordMap{"money_minor": cedar.Long(0), "currency": cedar.String("")}
	if m := f.Effect.Money; m != nil {
		money = cedar.RecordMap{"money_minor": cedar.Long(m.AmountMinor), "currency": cedar.String(m.Currency)}
	}
	if class == "" {
		class = "none"
	}
	trust, err := cedar.NewDecimal(int64(f.Trust), -3)
	if err != nil {
		panic(err)
	}
	now := f.At.In(n.zone())
	context := cedar.RecordMap{
		"input": inputOf(f.Args), "environment": cedar.String(str(n.doc["environment"])), "transport": cedar.String(f.Transport), "tainted": cedar.Boolean(f.Tainted),
		"trust": trust, "action": cedar.String(f.Action),
		"effect": cedar.NewRecord(cedar.RecordMap{
			"level": cedar.Long(r.Level()), "undo": cedar.Long(r.Undo), "blast": cedar.Long(r.Blast), "money": cedar.Long(r.Money), "touch": cedar.Long(r.Touch),
			"data_out": cedar.Long(r.DataOut), "reach": cedar.Long(r.Reach), "class": cedar.String(class), "writes": cedar.Boolean(f.Tool.Writes()),
			"dry_run": cedar.Boolean(f.DryRun), "customers": cedar.Long(f.Effect.Customers), "money_minor": money["money_minor"], "currency": money["currency"],
		}),
		"time": cedar.NewRecord(cedar.RecordMap{
			"hour": cedar.Long(now.Hour()), "minute": cedar.Long(now.Minute()), "weekday": cedar.String(strings.ToLower(now.Weekday().String())),
			"date": cedar.String(now.Format("2006-01-02")), "datetime": cedar.NewDatetime(now),
		}),
	}
	if from, err := netip.ParseAddr(f.Source); err == nil {
		context["source"] = cedar.IPAddr(netip.PrefixFrom(from, from.BitLen()))
	}
	return cedar.NewRecord(context)
}

// inputOf makes arguments into Cedar's values. What Cedar has none for is left out, and no condition of these tests looks at it.
func inputOf(args []byte) cedar.Value {
	d := json.NewDecoder(bytes.NewReader(args))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(err)
	}
	return valueOf(v)
}

func valueOf(v any) cedar.Value {
	switch v := v.(type) {
	case string:
		return cedar.String(v)
	case bool:
		return cedar.Boolean(v)
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			return nil
		}
		return cedar.Long(n)
	case []any:
		var all []cedar.Value
		for _, one := range v {
			if value := valueOf(one); value != nil {
				all = append(all, value)
			}
		}
		return cedar.NewSet(all...)
	case map[string]any:
		m := cedar.RecordMap{}
		for name, one := range v {
			if value := valueOf(one); value != nil {
				m[cedar.String(name)] = value
			}
		}
		return cedar.NewRecord(m)
	}
	return nil
}
