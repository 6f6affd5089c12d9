package gate

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// checkBinding holds the call to what people saw: the same in everything, and an effect that is not larger.
func (g *Gate) checkBinding(_ context.Context, c *call) error {
	r := c.approval
	switch {
	case r.ID == "" && c.parked:
		return tools.Refuse(tools.ApprovalInvalidated, "Ask again.", "It needs a person's consent by now.")
	case r.ID == "":
		return nil
	case !r.Intact(), !r.Binding.Holds(*c.stored):
		return altered()
	}
	if err := endorsed(c, r); err != nil {
		return err
	}
	now, err := bind(c, nil)
	if err != nil {
		return err
	}
	if c.changed = slices.Concat(differences(r.Binding, now), larger(r.Preview, c.preview), largerParts(r.Preview, c.preview)); len(c.changed) > 0 {
		return changedSince(c.changed)
	}
	now.RuleHash = r.Binding.RuleHash                                                 // judged above, by the votes
	now.EffectHash = r.Binding.EffectHash                                             // judged above: less than what was shown is fine
	now.PolicyVersion, now.PolicyRule = r.Binding.PolicyVersion, r.Binding.PolicyRule // judged above: another policy may ask for as much or less
	if hash, err := now.Hash(); err != nil || hash != r.BindingHash {
		return errors.Join(err, altered())
	}
	return nil
}

// differences lists in what a call is not the one that was bound.
func differences(bound, now approvals.Binding) []tools.Change {
	var all []tools.Change
	for _, f := range append(versions(bound.ResourceVersion, now.ResourceVersion), []tools.Change{
		{Field: "merchant", From: bound.Merchant, To: now.Merchant},
		{Field: "tool", From: bound.Tool, To: now.Tool},
		{Field: "tool schema", From: bound.SchemaHash, To: now.SchemaHash},
		{Field: "arguments", From: bound.ArgsHash, To: now.ArgsHash},
		{Field: "principals", From: strings.Join(bound.Chain, " under "), To: strings.Join(now.Chain, " under ")},
		{Field: "object", From: bound.Resource, To: now.Resource},
		{Field: "idempotency key", From: bound.IdempotencyKey, To: now.IdempotencyKey},
	}...) {
		if f.From != f.To {
			all = append(all, f)
		}
	}
	return all
}

// larger lists what is more than was shown. Less is fine.
func larger(shown, now tools.Preview) []tools.Change {
	var all []tools.Change
	if now.Customers > shown.Customers {
		all = append(all, tools.Change{Field: "customers", From: strconv.FormatInt(shown.Customers, 10), To: strconv.FormatInt(now.Customers, 10)})
	}
	if !within(now.Money, shown.Money) {
		all = append(all, tools.Change{Field: "money", From: amount(shown.Money), To: amount(now.Money)})
	}
	return all
}

func amount(m *shop.Money) string {
	if m == nil {
		return "none"
	}
	return m.String()
}

// changedSince refuses a call that is not what people saw. It names the fields; what they were and are stands in the job.
func changedSince(changed []tools.Change) error {
	names := make([]string, len(changed))
	for i, c := range changed {
		names[i] = c.Field
	}
	return tools.Refuse(tools.ApprovalInvalidated, "Read it again and ask again.", "What was approved is not what would run: since then there was a change of %s.", strings.Join(names, ", "))
}

// kept lists what keeps a call from running: what is not as it was shown, or else the check that refused it.
func (c *call) kept(r *tools.Refusal) []tools.Change {
	if len(c.changed) > 0 || len(c.checks) == 0 {
		return c.changed
	}
	return []tools.Change{{Field: c.checks[len(c.checks)-1].Name, From: "ok", To: string(r.Code)}}
}

// agreed asks whether those who approved a call may still do so, and are enough.
func agreed(tx *store.Tx, r approvals.Request) error {
	ok, err := approvals.Satisfied(tx, r, r.Rule)
	if err != nil || !ok {
		return errors.Join(err, tools.Refuse(tools.ApprovalInvalidated, "Ask again.",
			"It needs the approval of %s, and not enough of those who gave theirs may decide any more.", r.Needs))
	}
	return nil
}

// endorsed asks whether those who approved a call may still do so, and are enough for what the policy asks for by now: another version, or
// another rule of the same one, which looks at what has changed since.
func endorsed(c *call, r approvals.Request) error {
	if err := agreed(c.Tx, r); err != nil {
		return err
	}
	if !c.parked || c.PolicyVersion == r.Binding.PolicyVersion && c.ask.Name == r.Binding.PolicyRule {
		return nil
	}
	ok, err := approvals.Satisfied(c.Tx, r, c.ask)
	if err != nil || !ok {
		return errors.Join(err, tools.Refuse(tools.ApprovalInvalidated, "Ask again.", "The policy, or what it looks at, has changed: by now it needs the approval of %s.", c.ask.Needs()))
	}
	return nil
}

// altered refuses what is not stored as it was asked.
func altered() *tools.Refusal {
	return tools.Refuse(tools.ApprovalInvalidated, "Ask again.", "The stored request does not fit its hash.")
}

// within reports whether now is at most shown, in the same currency. No money is within every amount.
func within(now, shown *shop.Money) bool {
	if now == nil || now.AmountMinor == 0 {
		return true
	}
	return shown != nil && now.Currency == shown.Currency && now.AmountMinor <= shown.AmountMinor
}
