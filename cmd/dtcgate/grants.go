package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
)

type grantCmds struct {
	List   grantList   `cmd:"" help:"List standing grants, newest first."`
	Show   grantShow   `cmd:"" help:"Show one in full."`
	Revoke grantRevoke `cmd:"" help:"End one for good. Calls like that wait for people again."`
}

// grantAsk is the command line of a wish for a standing grant.
type grantAsk struct {
	forMerchant
	asJSON
	From          string   `required:"" placeholder:"APPROVAL" help:"The request, or its job, whose call the others are to be like."`
	As            string   `required:"" placeholder:"PERSON" help:"Who asks: a person's name or id. Others decide."`
	Count         int64    `required:"" help:"How many calls at most."`
	Until         string   `required:"" placeholder:"TIME" help:"When it ends: 2026-11-29T10:00:00Z, or 168h from now. At most 30 days away."`
	Note          string   `required:"" placeholder:"TEXT" help:"Why, for those who decide."`
	Each          string   `placeholder:"1000GBP" help:"Money of one call at most, in minor units; what that call moves if left out."`
	Total         string   `placeholder:"5000GBP" help:"Money of all calls together at most; count times each if left out."`
	EachCustomer  int64    `name:"each-customers" help:"Customers of one call at most."`
	TotalCustomer int64    `name:"total-customers" help:"Customers of all calls together at most."`
	Bound         []string `sep:"none" placeholder:"ARGUMENT=VALUES" help:"any, 1..5, ..1000GBP, [\"a\",\"b\"], or one value. Of arguments that it does not name every call has the value of that one."`
}

func (c *grantAsk) Run(ctx context.Context, a *app) error {
	return a.with(ctx, func(db *store.DB) error {
		wish, err := c.wish(db.Now())
		if err != nil {
			return err
		}
		by, err := c.asking(ctx, db)
		if err != nil {
			return err
		}
		g := gate.New(gate.Config{DB: db, Tools: registry, Log: zerolog.New(a.err)})
		asked, err := g.AskForGrant(ctx, by, wish)
		if err != nil {
			return err
		}
		return c.print(a, asked, func(w io.Writer) {
			fmt.Fprintf(w, "%s\n%s\n", visible(asked.Preview.Summary), visibleLines(asked.Template.Lines()))
			fmt.Fprintf(w, "It needs the approval of %s, by %s: dtcgate approvals show %s\n", asked.Approval.Needs, when(asked.Approval.ExpiresAt), asked.Approval.ApprovalID)
		})
	})
}

// visibleLines is visible for text of several lines.
func visibleLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = "  " + visible(line)
	}
	return strings.Join(lines, "\n")
}

func (c *grantAsk) asking(ctx context.Context, db *store.DB) (by gate.By, err error) {
	by.Transport = "cli"
	err = db.Read(ctx, func(tx *store.Tx) error {
		m, err := c.find(tx)
		if err != nil {
			return err
		}
		by.Principal, err = findPerson(tx, m, c.As)
		return err
	})
	return by, err
}

// findPerson finds who is at work by name or id.
func findPerson(tx *store.Tx, m auth.Merchant, who string) (auth.Principal, error) {
	p, err := auth.FindPerson(tx, m.ID, who)
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("there is no active person %q: add one with `dtcgate person add`", who)
	}
	return p, err
}

func (c *grantAsk) wish(now time.Time) (w gate.GrantWish, err error) {
	w = gate.GrantWish{From: c.From, Count: c.Count, Note: c.Note, Bounds: map[string]approvals.Bound{}}
	if w.Until, err = parseWhen("--until", c.Until, now); err != nil {
		return w, err
	}
	if w.Each, err = parseAmounts("--each", c.Each, c.EachCustomer); err != nil {
		return w, err
	}
	if w.Total, err = parseAmounts("--total", c.Total, c.TotalCustomer); err != nil {
		return w, err
	}
	for _, bound := range c.Bound {
		name, values, ok := strings.Cut(bound, "=")
		if !ok || values == "" {
			return w, fmt.Errorf("--bound takes ARGUMENT=VALUES, and not %q", bound)
		}
		w.Bounds[name] = parseBound(values)
	}
	return w, nil
}

func parseWhen(option, text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		err = fmt.Errorf("%s takes a time such as 2026-11-29T10:00:00Z or a while such as 168h, and not %q", option, text)
	}
	return at, err
}

func parseAmounts(option, money string, customers int64) (*approvals.Amounts, error) {
	if money == "" && customers == 0 {
		return nil, nil
	}
	a := &approvals.Amounts{Customers: customers}
	if money != "" {
		if a.Money = parseMinor(money); a.Money == nil {
			return nil, fmt.Errorf("%s takes minor units with a currency, such as 1000GBP, and not %q", option, money)
		}
	}
	return a, nil
}

// parseMinor reads 1000GBP; nil for anything else.
func parseMinor(text string) *shop.Money {
	if len(text) < 4 {
		return nil
	}
	at := len(text) - 3
	n, err := strconv.ParseInt(text[:at], 10, 64)
	if err != nil || strings.ToUpper(text[at:]) != text[at:] {
		return nil
	}
	return &shop.Money{AmountMinor: n, Currency: text[at:]}
}

// parseBound reads the values that an argument may have. What is no other form is one value: as JSON where it is some, else as text.
func parseBound(text string) approvals.Bound {
	var many []json.RawMessage
	if text == "any" {
		return approvals.Bound{Any: true}
	}
	if low, high, ok := strings.Cut(text, ".."); ok {
		if m := parseMinor(high); m != nil && low == "" {
			return approvals.Bound{Money: m}
		}
		from, err := strconv.ParseInt(low, 10, 64)
		to, wrong := strconv.ParseInt(high, 10, 64)
		if errors.Join(err, wrong) == nil {
			return approvals.Bound{From: &from, To: &to}
		}
	}
	if json.Unmarshal([]byte(text), &many) == nil && len(many) > 0 {
		return approvals.Bound{OneOf: many}
	}
	if !json.Valid([]byte(text)) {
		quoted, _ := json.Marshal(text) // of a string it has no error
		text = string(quoted)
	}
	return approvals.Bound{OneOf: []json.RawMessage{json.RawMessage(text)}}
}

type grantList struct {
	forMerchant
	asJSON
	All bool `help:"List what is used up, over or revoked, too."`
}

func (c *grantList) Run(ctx context.Context, a *app) error {
	grants := []approvals.Grant{}
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) error {
		found, err := approvals.Grants(tx, m.ID, c.All, listMax)
		grants = append(grants, found...)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, grants, func(w io.Writer) {
		if len(grants) == 0 {
			fmt.Fprintln(w, "There are no standing grants.")
			return
		}
		rows := [][]string{}
		for _, g := range grants {
			t := g.Template
			rows = append(rows, []string{g.ID, string(g.State), t.Agent, t.Tool, fmt.Sprintf("%d of %d", g.Uses, t.Count), g.Used.String() + " of " + t.Total.String(), when(t.Until)})
		}
		table(w, []string{"ID", "STATE", "AGENT", "TOOL", "CALLS", "USED", "UNTIL"}, rows)
	})
}

type grantShow struct {
	forMerchant
	asJSON
	ID string `arg:"" help:"The grant's id."`
}

func (c *grantShow) Run(ctx context.Context, a *app) error {
	var g approvals.Grant
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		g, err = approvals.FindGrant(tx, m.ID, c.ID)
		return noSuchGrant(c.ID, err)
	})
	if err != nil {
		return err
	}
	return c.print(a, g, func(w io.Writer) { writeGrant(w, g) })
}

func noSuchGrant(id string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no standing grant %q: `dtcgate approvals grants list --all` shows them", id)
	}
	return err
}

func writeGrant(w io.Writer, g approvals.Grant) {
	t := g.Template
	fmt.Fprintf(w, "%s is %s: %s may call %s until %s\n", g.ID, g.State, t.Agent, t.Tool, when(t.Until))
	fmt.Fprintf(w, "%d of %d calls, %s of %s, up to %s a call\n", g.Uses, t.Count, g.Used, t.Total, t.Each)
	fmt.Fprintf(w, "%s\n", visibleLines(t.Lines()))
	fmt.Fprintf(w, "Sealed %s, agreed to in %s, asked for by %s\n", g.Fingerprint, g.Approval, g.MadeBy)
	if g.RevokedBy != "" {
		fmt.Fprintf(w, "Revoked %s by %s\n", when(g.RevokedAt), g.RevokedBy)
	}
}

type grantRevoke struct {
	forMerchant
	asJSON
	ID     string `arg:"" help:"The grant's id."`
	Reason string `help:"Why, for the record."`
}

func (c *grantRevoke) Run(ctx context.Context, a *app) error {
	var g approvals.Grant
	err := a.administer(ctx, c.forMerchant, func(gate *gate.Gate, by gate.By) (err error) {
		g, err = gate.RevokeGrant(ctx, by, c.ID, c.Reason)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, g, func(w io.Writer) { writeGrant(w, g) })
}
