package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
)

type keyCmds struct {
	Mint   keyMint   `cmd:"" help:"Make a key and print it, this once."`
	List   keyList   `cmd:"" help:"List the keys, without their secrets."`
	Show   keyShow   `cmd:"" help:"Show one key with all that it may do."`
	Change keyChange `cmd:"" help:"Change what a key may do, from the next call on."`
	Rotate keyRotate `cmd:"" help:"Give a key a new secret and print it, this once."`
	Revoke keyRevoke `cmd:"" help:"End a key, from the next call on, and all that hangs under it."`
}

// keyLimits are the terms of a key beside its name and scopes. A list is emptied by the word none.
type keyLimits struct {
	Profile   *string  `placeholder:"NAME" help:"What the policy calls this kind of agent: a key without a profile may call nothing."`
	Action    []string `aliases:"actions" placeholder:"A,B" help:"The actions that the key may ask for with dtc_request_action, such as helpdesk:*,payments:refund."`
	Tools     []string `placeholder:"A,B" help:"Only these tools, such as dtc_get_*; all if left out."`
	Resources []string `placeholder:"A,B" help:"Only these objects, such as order:*; all if left out."`
	Network   []string `aliases:"networks" placeholder:"CIDR,…" help:"Only from these networks, such as 10.0.0.0/8; from anywhere if left out."`
	Rate      *int64   `placeholder:"60" help:"Calls a minute; 0 is no limit."`
	Burst     *int64   `placeholder:"10" help:"Calls that may come at once; as many as a minute's if left out."`
	Depth     *int     `placeholder:"3" help:"How many sub-tokens may hang under it, one below the other."`
}

func (l keyLimits) terms() gate.KeyTerms {
	return gate.KeyTerms{
		Profile: l.Profile, Actions: orNone(l.Action), Tools: orNone(l.Tools), Resources: orNone(l.Resources), Networks: orNone(l.Network),
		PerMinute: l.Rate, Burst: l.Burst, Depth: l.Depth,
	}
}

func orNone(list []string) []string {
	if len(list) == 1 && list[0] == "none" {
		return []string{}
	}
	return list
}

type keyMint struct {
	forMerchant
	asJSON
	Name   string   `required:"" help:"What the record and people will call the agent."`
	Owner  string   `placeholder:"PERSON" help:"Who answers for the key, by name or id: it may do no more than this person at any time."`
	Scopes []string `required:"" placeholder:"A,B" help:"The rights of the key, such as orders:read,marketing:write; orders:* and *:read are patterns."`
	keyLimits
	RequiresApproval bool          `help:"Let a person confirm every call that spends, contacts customers or cannot be undone."`
	Ceiling          string        `default:"high" help:"The riskiest call the key may make: low, medium, high, or L0 to L7."`
	Expires          time.Duration `placeholder:"720h" help:"For how long the key is good; for ever if left out."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *keyMint) Validate() error {
	return validTerms(c.Scopes, c.Action, c.Ceiling, c.Expires)
}

func validTerms(scopes, actions []string, ceiling string, expires time.Duration) error {
	if _, err := auth.ParseScopes(orNone(scopes), auth.KeyScopes); err != nil {
		return err
	}
	if _, err := auth.ParseActions(orNone(actions), knownActions()); err != nil {
		return err
	}
	if expires < 0 {
		return errors.New("--expires must be positive, such as 720h")
	}
	_, err := auth.ParseLevel(ceiling)
	return err
}

// knownActions are the ids of all actions.
func knownActions() []string {
	var ids []string
	for _, a := range registry.Actions() {
		ids = append(ids, a.ID())
	}
	return ids
}

func (c *keyMint) Run(ctx context.Context, a *app) error {
	terms := c.terms()
	terms.Name, terms.Scopes, terms.Ceiling, terms.RequiresApproval = &c.Name, c.Scopes, &c.Ceiling, &c.RequiresApproval
	terms.TTLSeconds = seconds(&c.Expires)
	var m gate.MintedKey
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		m, err = g.MintKey(ctx, by, terms, c.Owner)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, m, func(w io.Writer) {
		writeSecret(w, m)
		if m.Warning != "" {
			fmt.Fprintf(w, "\nNote: %s\n", m.Warning)
		}
	})
}

func seconds(d *time.Duration) *int64 {
	if d == nil {
		return nil
	}
	n := int64(*d / time.Second)
	return &n
}

func writeSecret(w io.Writer, m gate.MintedKey) {
	fmt.Fprintf(w, "%s\n\nThis is key %s (%s). It is not shown again.\n", m.Secret, m.ID, visible(m.Name))
	fmt.Fprintf(w, "Agents send it as `Authorization: Bearer …` or `X-Agent-Key: …`.\n")
}

func scopeList(scopes []auth.Scope) string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return strings.Join(names, ",")
}

type keyList struct {
	forMerchant
	asJSON
}

// pageRows is how many rows of a list are read at once.
const pageRows = 500

// everyPage reads a whole list, page by page.
func everyPage[T interface{ Place() auth.Place }](tx *store.Tx, merchant string, read func(*store.Tx, string, auth.Page) ([]T, error)) ([]T, error) {
	all, page := []T{}, auth.Page{Limit: pageRows}
	for {
		rows, err := read(tx, merchant, page)
		all = append(all, rows...)
		if err != nil || len(rows) < pageRows {
			return all, err
		}
		page.After = rows[len(rows)-1].Place()
	}
}

func (c *keyList) Run(ctx context.Context, a *app) error {
	var keys []gate.UsedKey
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		keys, err = everyPage(tx, m.ID, gate.ListUsedKeys)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, keys, func(w io.Writer) {
		rows := [][]string{}
		for _, k := range keys {
			rows = append(rows, []string{
				k.ID, k.Name, k.Hint, k.Owner, k.Ceiling.String(), yesNo(k.RequiresApproval), keyState(k.Key),
				when(k.Usage.LastUsedAt), fmt.Sprint(k.Usage.Uses), fmt.Sprint(k.Usage.Refusals), scopeList(k.Scopes), strings.Join(k.Actions, ","),
			})
		}
		table(w, []string{"ID", "NAME", "KEY", "OWNER", "CEILING", "APPROVAL", "STATE", "LAST USED", "USES", "REFUSED", "SCOPES", "ACTIONS"}, rows)
	})
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func keyState(k auth.Key) string {
	switch k.State(time.Now()) {
	case "revoked":
		return "revoked " + when(k.RevokedAt)
	case "expired":
		return "expired " + when(k.ExpiresAt)
	}
	if k.ExpiresAt.IsZero() {
		return "active"
	}
	return "until " + when(k.ExpiresAt)
}

type keyShow struct {
	forMerchant
	asJSON
	ID string `arg:"" help:"The key's id, key_…."`
}

func (c *keyShow) Run(ctx context.Context, a *app) error {
	var k gate.UsedKey
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		if k, err = gate.FindUsedKey(tx, m.ID, c.ID); errors.Is(err, store.ErrNotFound) {
			err = noSuchKey(c.ID)
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, k, func(w io.Writer) {
		writeKey(w, k.Key)
		fmt.Fprintf(w, "Used %d times, refused %d times, last %s.\n", k.Usage.Uses, k.Usage.Refusals, orAll(when(k.Usage.LastUsedAt), "never"))
	})
}

func noSuchKey(id string) error {
	return fmt.Errorf("there is no key %q: `dtcgate key list` shows them", id)
}

func findKey(tx *store.Tx, m auth.Merchant, id string) (auth.Key, error) {
	k, err := auth.FindKey(tx, m.ID, id)
	if errors.Is(err, store.ErrNotFound) {
		err = noSuchKey(id)
	}
	return k, err
}

func writeKey(w io.Writer, k auth.Key) {
	table(w, []string{k.ID, visible(k.Name)}, [][]string{
		{"owner", orAll(k.Owner, "nobody: the operator")},
		{"secret", k.Hint},
		{"state", keyState(k)},
		{"old secret until", when(k.OldUntil)},
		{"profile", orAll(k.Profile, "none: it may call nothing")},
		{"scopes", scopeList(k.Scopes)},
		{"actions", orAll(strings.Join(k.Actions, ","), "none")},
		{"tools", orAll(strings.Join(k.Tools, ","), "all")},
		{"resources", orAll(strings.Join(k.Resources, ","), "all")},
		{"networks", orAll(strings.Trim(fmt.Sprint(k.Networks), "[]"), "anywhere")},
		{"rate", rateText(k.Rate)},
		{"ceiling", k.Ceiling.String() + " " + k.Ceiling.Word()},
		{"requires approval", yesNo(k.RequiresApproval)},
		{"depth", fmt.Sprint(k.Depth)},
		{"version", fmt.Sprint(k.Version)},
		{"minted", when(k.CreatedAt)},
	})
}

func orAll(text, all string) string {
	if text == "" {
		return all
	}
	return text
}

func rateText(r auth.Rate) string {
	switch {
	case r.PerMinute == 0:
		return "no limit"
	case r.Burst == 0:
		return fmt.Sprintf("%d a minute", r.PerMinute)
	}
	return fmt.Sprintf("%d a minute, %d at once", r.PerMinute, r.Burst)
}

type keyChange struct {
	forMerchant
	asJSON
	ID     string   `arg:"" help:"The key's id, key_…."`
	Name   *string  `help:"What the record and people will call the agent."`
	Scopes []string `placeholder:"A,B" help:"The rights of the key, in place of those that it has; none takes them all."`
	keyLimits
	RequiresApproval *bool          `negatable:"" help:"Let a person confirm every call that spends, contacts customers or cannot be undone."`
	Ceiling          *string        `help:"The riskiest call the key may make: low, medium, high, or L0 to L7."`
	Expires          *time.Duration `placeholder:"720h" help:"For how long it is good from now; 0 is for ever."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *keyChange) Validate() error {
	if reflect.DeepEqual(c.terms(), gate.KeyTerms{}) {
		return errors.New("nothing is to change: name what, such as --scopes orders:read or --ceiling low")
	}
	ceiling, expires := "low", time.Duration(0)
	if c.Ceiling != nil {
		ceiling = *c.Ceiling
	}
	if c.Expires != nil {
		expires = *c.Expires
	}
	return validTerms(c.Scopes, c.Action, ceiling, expires)
}

func (c *keyChange) terms() gate.KeyTerms {
	terms := c.keyLimits.terms()
	terms.Name, terms.Scopes, terms.Ceiling, terms.RequiresApproval = c.Name, orNone(c.Scopes), c.Ceiling, c.RequiresApproval
	terms.TTLSeconds = seconds(c.Expires)
	return terms
}

func (c *keyChange) Run(ctx context.Context, a *app) error {
	var k auth.Key
	err := a.look(ctx, c.forMerchant, func(tx *store.Tx, m auth.Merchant) (err error) {
		k, err = findKey(tx, m, c.ID)
		return err
	})
	if err != nil {
		return err
	}
	err = a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		k, err = g.ChangeKey(ctx, by, c.ID, k.Version, c.terms())
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, k, func(w io.Writer) { writeKey(w, k) })
}

type keyRotate struct {
	forMerchant
	asJSON
	ID      string        `arg:"" help:"The key's id, key_…."`
	Overlap time.Duration `default:"24h" help:"For how long the old secret goes on opening the key; 0 ends it at once."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *keyRotate) Validate() error {
	if c.Overlap < 0 || c.Overlap > auth.MaxOverlap {
		return fmt.Errorf("--overlap must be 0 to %.0fh, not %s", auth.MaxOverlap.Hours(), c.Overlap)
	}
	return nil
}

func (c *keyRotate) Run(ctx context.Context, a *app) error {
	var m gate.MintedKey
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		m, err = g.RotateKey(ctx, by, c.ID, c.Overlap)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, m, func(w io.Writer) {
		writeSecret(w, m)
		if m.OldUntil.IsZero() {
			fmt.Fprintf(w, "The old one opens nothing any more.\n")
			return
		}
		fmt.Fprintf(w, "The old one is good until %s.\n", when(m.OldUntil))
	})
}

type keyRevoke struct {
	forMerchant
	asJSON
	ID string `arg:"" help:"The key's id, key_…."`
}

func (c *keyRevoke) Run(ctx context.Context, a *app) error {
	var r gate.RevokedKey
	err := a.administer(ctx, c.forMerchant, func(g *gate.Gate, by gate.By) (err error) {
		r, err = g.RevokeKey(ctx, by, c.ID)
		return err
	})
	if err != nil {
		return err
	}
	return c.print(a, r, func(w io.Writer) {
		fmt.Fprintf(w, "Revoked %s. It opens nothing any more. With it end %d sub-tokens, and %d parked calls that will not run.\n", r.ID, r.SubTokens, r.Waiting)
	})
}
