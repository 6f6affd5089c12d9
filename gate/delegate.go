package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// delegates lets the delegate tool hand out sub-tokens without deciding what may be given.
type delegates struct{ *Gate }

var _ tools.Delegates = delegates{}

// Narrow gives the sub-token that a call asks for, without making it.
func (g delegates) Narrow(c *tools.Call, d auth.Delegation) (auth.SubToken, error) {
	if err := g.namesKnown(d); err != nil {
		return auth.SubToken{}, err
	}
	t, err := c.Principal.Narrow(d, c.Now)
	return t, notGiven(err)
}

// Mint makes the sub-token that a call asks for. The gate holds the caller's chain in the call's transaction.
func (g delegates) Mint(c *tools.Call, d auth.Delegation) (auth.SubToken, string, error) {
	t, secret, err := auth.MintSubToken(c.Tx, c.Principal, d)
	if err != nil {
		return t, "", notGiven(err)
	}
	e := mintedEntry(t)
	e.Merchant, e.Event, e.CallID, e.Actor, e.Chain, e.Tool = t.Merchant, eventMinted, c.ID, c.Principal.Chain()[0], c.Principal.Chain(), c.Tool.Name
	e.Status, e.PolicyVersion = string(tools.Done), c.PolicyVersion
	_, err = audit.Append(c.Tx, e)
	return t, secret, err
}

// The events of sub-tokens. What was refused is recorded as the first two with .refused behind them; a refused dtc_delegate as a
// refused call.
const (
	eventMinted  = "subtoken.minted"
	eventRevoked = "subtoken.revoked"
	eventListed  = "subtoken.listed"
)

// mintedEntry says what was given. The words of whoever gave it can be erased.
func mintedEntry(t auth.SubToken) audit.Entry {
	what := []string{fmt.Sprintf("below %s until %s, ceiling %s, depth %d", t.Parent, t.ExpiresAt.Format(time.RFC3339), t.Ceiling, t.Depth)}
	for _, part := range []struct {
		name string
		list []string
	}{{"scopes", scopeNames(t.Scopes)}, {"actions", t.Actions}, {"tools", t.Tools}, {"resources", t.Resources}} {
		if len(part.list) > 0 {
			what = append(what, part.name+" "+strings.Join(part.list, ","))
		}
	}
	return audit.Entry{
		Resource: "sub_token:" + t.ID, Reason: strings.Join(what, "; "), Personal: map[string]string{"name": t.Name, "audience": t.Audience},
	}
}

func scopeNames(scopes []auth.Scope) []string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return names
}

// namesKnown refuses tools and actions that there are none of: they would be found out only when a call is refused. Patterns that are none
// are left to auth.
func (g *Gate) namesKnown(d auth.Delegation) error {
	var wrong []schemas.Wrong
	for i, pattern := range d.Tools {
		only := auth.Principal{Links: []auth.Link{{Tools: []string{pattern}}}}
		if !slices.ContainsFunc(g.tools.All(), func(t *tools.Tool) bool { return only.MayCall(t.Name, t.Path) }) {
			wrong = append(wrong, schemas.Wrong{
				Field: fmt.Sprintf("tools[%d]", i), Problem: "names no tool", Expected: "names of tools, or patterns such as orders.*", Example: "dtc_get_order",
			})
		}
	}
	known := []string{}
	for _, a := range g.tools.Actions() {
		known = append(known, a.ID())
	}
	for i, grant := range d.Actions {
		if _, err := auth.ParseActions([]string{grant}, known); err != nil {
			wrong = append(wrong, schemas.Wrong{
				Field: fmt.Sprintf("actions[%d]", i), Problem: "names no action", Expected: "one of: " + strings.Join(known, ", ") + ", or provider:* or *",
			})
		}
	}
	if len(wrong) > 0 {
		return tools.WrongFields(wrong)
	}
	return nil
}

// widerCodes are the codes under which a sub-token is refused that would reach further than its giver, by what of it is too wide.
var widerCodes = map[string]tools.Code{
	"scopes": tools.ForbiddenScope, "actions": tools.ForbiddenTool, "tools": tools.ForbiddenTool, "resources": tools.ForbiddenResource,
	"networks": tools.ForbiddenNetwork, "ceiling": tools.RiskCeiling, "rate": tools.LimitExceeded, "ttl_seconds": tools.LimitExceeded, "depth": tools.LimitExceeded,
}

// notGiven is what a caller is told when a sub-token is not given. Any other error stays what it is.
func notGiven(err error) error {
	unfit := (*auth.Undelegable)(nil)
	switch {
	case errors.Is(err, auth.ErrNoDelegation):
		return tools.Refuse(tools.ForbiddenTool, "Do it with your own credential, or ask whoever gave it to you for one with a depth.",
			"This credential may not be delegated further.")
	case errors.Is(err, auth.ErrTooManySubTokens):
		return tools.Refuse(tools.LimitExceeded, "Revoke one with DELETE "+tools.BasePath+"/subtokens/{id}, or let some end.", "This credential cannot give more: %s.", err)
	case !errors.As(err, &unfit):
		return err
	case len(unfit.Malformed) > 0:
		return tools.WrongFields(unfit.Malformed)
	}
	field, _, _ := strings.Cut(unfit.Wider[0].Field, "[")
	r := tools.Refuse(widerCodes[field], "Ask for what stands under errors.fields as expected, or leave it out to give what you have. Nothing was done.",
		"A sub-token never reaches further than its giver: %s %s.", unfit.Wider[0].Field, unfit.Wider[0].Problem)
	r.Errors = &tools.Errors{Fields: unfit.Wider, Missing: scopeNames(unfit.Missing)}
	return r
}

// A Minted is a sub-token with its secret, which exists in this answer only.
type Minted struct {
	auth.SubToken
	Token string `json:"token"`
}

// MintSubToken gives out a sub-token below a key or another sub-token, for whoever administers keys. Every error is a *tools.Refusal.
func (g *Gate) MintSubToken(ctx context.Context, by By, parent string, d auth.Delegation) (Minted, error) {
	op := Op{Event: eventMinted, Scope: auth.KeysAdmin, Recent: true}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (Minted, audit.Entry, error) {
		if err := g.namesKnown(d); err != nil {
			return Minted{}, audit.Entry{}, err
		}
		giver, err := auth.HoldLive(tx, p.Merchant, parent)
		if errors.Is(err, auth.ErrUnknownCredential) {
			err = store.ErrNotFound
		}
		if err != nil {
			return Minted{}, audit.Entry{}, err
		}
		t, secret, err := auth.MintSubToken(tx, giver, d)
		if err == nil {
			err = mayGive(p, t.Scopes)
		}
		return Minted{t, secret}, mintedEntry(t), notGiven(err)
	})
}

// RevokeSubToken ends a sub-token and all below it: for an agent itself or one that stands below it, for whoever administers keys any of the
// merchant. When it returns no call of theirs is under way that will still have an effect. Every error is a *tools.Refusal.
func (g *Gate) RevokeSubToken(ctx context.Context, by By, id string) (auth.SubToken, error) {
	op := Op{Event: eventRevoked, Scope: auth.KeysAdmin, Recent: true}
	if by.Principal.Agent() {
		op.Scope = ""
		if t, err := g.mayRevoke(ctx, by, id); err != nil || !t.RevokedAt.IsZero() {
			g.seen(by.Principal, err)
			return t, err
		}
	}
	t, err := Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (auth.SubToken, audit.Entry, error) {
		t, err := auth.RevokeSubToken(tx, p, id)
		return t, audit.Entry{Resource: "sub_token:" + t.ID}, err
	})
	if by.Principal.Agent() {
		g.seen(by.Principal, err)
	}
	return t, err
}

// mayRevoke looks, before everybody else at the merchant is made to wait, whether there is something for an agent to revoke. One that
// may not, or names what has ended, takes no lock.
func (g *Gate) mayRevoke(ctx context.Context, by By, id string) (t auth.SubToken, err error) {
	err = g.db.Read(ctx, func(tx *store.Tx) error {
		p, err := renewed(tx, by.Principal)
		if err == nil {
			t, err = auth.FindSubToken(tx, p, id)
		}
		return err
	})
	if err != nil {
		return t, g.refusePerson(ctx, by.Principal, eventRevoked+".refused", Ballot{Channel: by.Transport, Source: by.Source}, err)
	}
	return t, nil
}

// maxPage bounds a page of sub-tokens.
const maxPage = 50

// SubTokens lists what stands below an agent, newest first, at most limit of it, from the one before which before stands; next is where the
// next page begins, "" when there is none. That it was read is on record before it leaves. Every error is a *tools.Refusal.
func (g *Gate) SubTokens(ctx context.Context, by By, before string, limit int) (page []auth.SubToken, next string, err error) {
	err = g.listing(ctx, by.Principal, before, &limit)
	if err == nil {
		err = g.db.Read(ctx, func(tx *store.Tx) error {
			p, err := renewed(tx, by.Principal)
			if err == nil {
				page, err = auth.ListSubTokens(tx, p.Merchant, p.ID, before, limit+1)
			}
			return err
		})
	}
	if err == nil {
		err = g.db.InTx(ctx, func(tx *store.Tx) error { return recordListed(tx, by) })
	}
	g.seen(by.Principal, err)
	if err != nil {
		return nil, "", g.refusePerson(ctx, by.Principal, eventListed+".refused", Ballot{Channel: by.Transport, Source: by.Source}, err)
	}
	if len(page) > limit {
		page, next = page[:limit], page[limit-1].ID
	}
	return page, next, nil
}

// listing judges who wants to see a list, and which part of it.
func (g *Gate) listing(ctx context.Context, p auth.Principal, before string, limit *int) error {
	if !p.Agent() {
		return tools.Refuse(tools.ForbiddenTool, "Look at those of all agents under /api/v1/admin/v1.", "Only an agent's credential has sub-tokens of its own.")
	}
	if *limit == 0 {
		*limit = 10
	}
	if *limit < 1 || *limit > maxPage {
		return tools.Wrong("limit", "is out of bounds", fmt.Sprintf("a whole number from 1 to %d", maxPage), 10)
	}
	if _, ok := store.IDTime(before); before != "" && !ok {
		return tools.Wrong("cursor", "is no place in this list", "next_cursor of the page before", nil)
	}
	return g.charge(ctx, p)
}

func recordListed(tx *store.Tx, by By) error {
	p := by.Principal
	_, err := audit.Append(tx, audit.Entry{
		Merchant: p.Merchant, Event: eventListed, Transport: by.Transport, Source: by.Source, Actor: p.Chain()[0], Chain: p.Chain(),
		Status: string(tools.Done), PolicyVersion: p.PolicyVersion,
	})
	return err
}

// askedBy names who asks, for those who decide: what agents call each other stands behind the name that people gave the key.
func askedBy(p auth.Principal) string {
	names := []string{}
	for _, l := range slices.Backward(p.Links) {
		if l.Kind != auth.KindPerson {
			names = append(names, l.Name)
		}
	}
	if len(names) == 0 {
		return p.Name
	}
	return strings.Join(names, " > ")
}
