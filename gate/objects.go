package gate

import (
	"context"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/tools"
)

// checkObjects resolves what the call is about, in its own transaction, and asks whether a link of the caller's chain names only other
// objects. It is not asked before: an object may go by a name that stands in the database alone, so that the arguments are not enough
// to refuse by. What is not there and what is out of reach are refused alike.
func (g *Gate) checkObjects(_ context.Context, c *call) (err error) {
	if c.objects, err = c.Tool.Handler().Objects(&c.Call); err != nil {
		return err
	}
	if _, out := c.outside(c.objects); !out {
		return nil
	}
	return tools.Refuse(tools.ForbiddenResource, "Work with the objects that were named to you, or ask whoever gave you the token for one that names it.",
		"This credential is limited to some objects, and this call is about another.")
}

// judgeAnswer asks about what was read. It comes before the record: who is refused is told nothing, and is tainted by nothing.
func (g *Gate) judgeAnswer(c *call, answer any) error {
	rows := c.Tool.Handler().Rows
	if rows == nil {
		return nil
	}
	c.rows = rows(answer)
	return g.judgeTx(c, answerChecks)
}

// checkRows holds what was read to the same limits. An answer leaves whole or not at all: with rows left out of it, its totals and its
// pages would be wrong, and nobody would know. Of the row the caller learns what type of object it is, which the tool tells anybody.
func (g *Gate) checkRows(_ context.Context, c *call) error {
	row, out := c.outside(c.rows)
	if !out {
		return nil
	}
	return tools.Refuse(tools.ForbiddenResource,
		"Narrow the call with a filter or the id of one object that was named to you, or ask whoever gave you the token for one that names more.",
		"This credential is limited to some objects, and the answer would show another, of type %s.", kindOf(row))
}

// checkProfileRows holds the rows of an answer to the caller's profile.
func (g *Gate) checkProfileRows(_ context.Context, c *call) error {
	if c.Tool.Own() || c.Tool.Resource == "self" {
		return nil
	}
	return c.policy.Touches(c.facts.Profile, c.rows)
}

// outside gives the first of the objects that the caller may not reach, and whether there is one.
func (c *call) outside(objects []tools.Object) (tools.Object, bool) {
	i := slices.IndexFunc(objects, func(o tools.Object) bool { return !c.Principal.MayTouch(o...) })
	if i < 0 {
		return nil, false
	}
	return objects[i], true
}

// kindOf is the type in the first name of an object.
func kindOf(o tools.Object) string {
	if len(o) == 0 {
		return "unknown"
	}
	kind, _, _ := strings.Cut(o[0], ":")
	return kind
}
