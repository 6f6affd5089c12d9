package dtc

import (
	"fmt"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

// The bounds of all these are held by the gate, which knows what the caller may give.
type delegateIn struct {
	Name       string        `json:"name"`
	Audience   string        `json:"audience,omitempty"`
	Scopes     []string      `json:"scopes,omitempty"`
	Actions    []string      `json:"actions,omitempty"`
	Tools      []string      `json:"tools,omitempty" jsonschema:"description=Names\\, orders.*"`
	Resources  []string      `json:"resources,omitempty" jsonschema:"description=order:71996\\, order:*"`
	Networks   []string      `json:"networks,omitempty" jsonschema:"description=CIDRs"`
	Ceiling    string        `json:"ceiling,omitempty"`
	Rate       *delegateRate `json:"rate,omitempty"`
	TTLSeconds *int64        `json:"ttl_seconds,omitempty"`
	Depth      int           `json:"depth,omitempty"`
	Tried
}

type delegateRate struct {
	PerMinute int64 `json:"per_minute"`
	Burst     int64 `json:"burst,omitempty"`
}

// A delegateOut is the new sub-token. Token is its secret in the answer to the call that made it, and nowhere else.
type delegateOut struct {
	ID        string       `json:"id"`
	Token     string       `json:"token"`
	Scopes    []auth.Scope `json:"scopes"`
	Ceiling   string       `json:"ceiling"`
	Depth     int          `json:"depth"`
	ExpiresAt time.Time    `json:"expires_at"`
}

var delegate = tools.Define(tools.Spec{
	Name: "dtc_delegate", Path: "self.delegate", Title: "Give a sub-token",
	Description: "Makes a token for another agent with your rights or fewer; what you leave out stays as yours. It ends with yours, " +
		"after ttl_seconds (an hour) or when revoked, and is shown once. depth: how deep it may delegate in turn.",
	Risk: tools.Risk{Undo: 1}, Resource: "sub_token:+", Delegates: true,
	Undo:    "DELETE " + tools.BasePath + "/subtokens/{id} ends it and all that was given on from it",
	Example: `{"name":"order reader","scopes":["orders:read"],"tools":["orders.*"],"ceiling":"low","ttl_seconds":900,"audience":"the night shift"}`,
	Routes:  []tools.Route{{Method: "POST", Path: "/subtokens", Status: 201, Bare: true}},
}, tools.Func[delegateIn, delegateOut]{Preview: previewDelegate, Write: giveSubToken})

// asked is what a call asks for, for the gate to judge.
func (in delegateIn) asked() auth.Delegation {
	d := auth.Delegation{
		Name: in.Name, Audience: in.Audience, Scopes: in.Scopes, Actions: in.Actions, Tools: in.Tools, Resources: in.Resources, Networks: in.Networks,
		Ceiling: in.Ceiling, Depth: in.Depth,
	}
	if in.TTLSeconds != nil {
		d.TTL = auth.Seconds(*in.TTLSeconds)
	}
	if in.Rate != nil {
		d.Rate = &auth.Rate{PerMinute: in.Rate.PerMinute, Burst: in.Rate.Burst}
	}
	return d
}

// previewDelegate says what is given to whom until when.
func previewDelegate(c *tools.Call, in delegateIn) (tools.Preview, error) {
	t, err := c.Delegates.Narrow(c, in.asked())
	if err != nil {
		return tools.Preview{}, err
	}
	whom := "“" + t.Name + "”"
	if t.Audience != "" {
		whom += " (" + t.Audience + ")"
	}
	p := tools.Preview{
		Summary: fmt.Sprintf("Give %s a token for %s up to %s until %s", whom, oneOrMany(t.Scopes), t.Ceiling, t.ExpiresAt.Format(time.RFC3339)),
		Changes: []tools.Change{{Object: "new sub-token", Field: "scopes", From: "none", To: joined(t.Scopes)}},
	}
	for _, only := range []struct {
		field string
		list  []string
	}{{"actions", t.Actions}, {"only tools", t.Tools}, {"only resources", t.Resources}} {
		if len(only.list) > 0 {
			p.Changes = append(p.Changes, tools.Change{Object: "new sub-token", Field: only.field, From: "none", To: strings.Join(only.list, ", ")})
		}
	}
	if t.Depth > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("It may be given on, %d deep.", t.Depth))
	}
	return p, nil
}

func oneOrMany(scopes []auth.Scope) string {
	if len(scopes) == 1 {
		return string(scopes[0])
	}
	return count(int64(len(scopes)), "scope")
}

func joined(scopes []auth.Scope) string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

func giveSubToken(c *tools.Call, in delegateIn) (delegateOut, error) {
	t, secret, err := c.Delegates.Mint(c, in.asked())
	if err != nil {
		return delegateOut{}, err
	}
	return delegateOut{ID: t.ID, Token: c.Once(secret), Scopes: t.Scopes, Ceiling: t.Ceiling.String(), Depth: t.Depth, ExpiresAt: t.ExpiresAt}, nil
}
