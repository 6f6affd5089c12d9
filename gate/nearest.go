package gate

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// maxTries bounds how many other calls are tried for one that is refused.
const maxTries = 12

// hopeless are refusals that no other arguments would change, or that say themselves what the right ones are.
var hopeless = []tools.Code{
	tools.Unauthorized, tools.ForbiddenNetwork, tools.UnknownTool, tools.NotFound, tools.InvalidArguments, tools.StaleExpectation, tools.Conflict,
	tools.IdempotencyConflict, tools.Unavailable, tools.Internal, tools.RateLimited,
}

// nearest gives the call most like a refused one that would not be refused, as it is found by trying: a field dropped, an amount lowered, a
// rehearsal, or the action that people can be asked for instead. nil where none of these helps.
func (g *Gate) nearest(tx *store.Tx, p auth.Principal, c *call, refused error) *tools.Nearest {
	if c.Tool == nil || c.policy == nil || slices.Contains(hopeless, asRefusal(refused).Code) {
		return nil
	}
	for _, patch := range c.patches(refused) {
		args, err := patched(c.Args, patch)
		if err != nil {
			continue
		}
		try := g.newCall(p, Request{Tool: c.Tool.Name, Args: args, Transport: c.req.Transport, Source: c.req.Source})
		try.Tx, try.planned, try.said = tx, true, c.said
		if g.safely(try.ID, func() error { return g.rehearse(try) }) == nil {
			return &tools.Nearest{Arguments: patch}
		}
	}
	return c.instead()
}

// patches are the changes to try, the smallest first, as JSON Merge Patches (RFC 7396).
func (c *call) patches(refused error) []json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(c.Args, &members) != nil {
		return nil
	}
	var all []json.RawMessage
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if !c.Tool.Input.Requires(name) {
			all = append(all, json.RawMessage(`{`+quoted(name)+`:null}`))
		}
		for _, most := range c.amounts(refused) {
			all = append(all, lowered(name, members[name], most)...)
		}
		if string(members[name]) == "true" {
			all = append(all, json.RawMessage(`{`+quoted(name)+`:false}`))
		}
	}
	if _, has := c.Tool.Input.Property("dry_run"); has && !c.dryRun {
		all = append(all[:min(len(all), maxTries-1)], json.RawMessage(`{"dry_run":true}`))
	}
	return all[:min(len(all), maxTries)]
}

// amounts are those that the refusal would let through, in minor units, the largest first.
func (c *call) amounts(refused error) []int64 {
	var all []int64
	if over := (*budget.Exceeded)(nil); errors.As(refused, &over) && over.Left > 0 {
		all = append(all, over.Left)
	}
	if d := (*policy.Denied)(nil); errors.As(refused, &d) && d.Most > 0 {
		all = append(all, d.Most)
	}
	return all
}

// lowered changes a money argument to at most an amount.
func lowered(name string, value json.RawMessage, most int64) []json.RawMessage {
	var money struct {
		AmountMinor *int64 `json:"amount_minor"`
	}
	if json.Unmarshal(value, &money) != nil || money.AmountMinor == nil || *money.AmountMinor <= most {
		return nil
	}
	raw, err := json.Marshal(map[string]any{name: map[string]int64{"amount_minor": most}})
	if err != nil {
		return nil
	}
	return []json.RawMessage{raw}
}

// instead names the action that has the effect of the call's tool, where the caller may ask people for it.
func (c *call) instead() *tools.Nearest {
	for _, a := range c.Registry.Actions() {
		if a.Like == c.Tool.Name && c.mayRequest(a.ID()) {
			return &tools.Nearest{Tool: "dtc_request_action", Arguments: json.RawMessage(`{"action":` + quoted(a.ID()) + `}`)}
		}
	}
	return nil
}

func quoted(s string) string {
	raw, err := json.Marshal(s)
	if err != nil { // no text fails
		return `""`
	}
	return string(raw)
}

// patched applies a JSON Merge Patch (RFC 7396) to an object.
func patched(target, patch []byte) ([]byte, error) {
	var t, p map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(target, &t), json.Unmarshal(patch, &p)); err != nil {
		return nil, err
	}
	for name, value := range p {
		var inner map[string]json.RawMessage
		switch {
		case string(value) == "null":
			delete(t, name)
		case json.Unmarshal(value, &inner) == nil && len(t[name]) > 0 && t[name][0] == '{':
			merged, err := patched(t[name], value)
			if err != nil {
				return nil, err
			}
			t[name] = merged
		default:
			t[name] = value
		}
	}
	return json.Marshal(t)
}
