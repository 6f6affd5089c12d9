package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
)

// greet prints how to connect. With --dev it first makes what there is to connect to, as far as it is not there yet.
func (c *serve) greet(ctx context.Context, a *app, db *store.DB, address string) error {
	g := greeting{base: "http://" + address, cmd: a.command}
	if !c.Dev {
		writeReach(a.out, c.networks)
		return g.production(ctx, a.out, db)
	}
	if err := g.prepare(ctx, db); err != nil {
		return fmt.Errorf("making the demo: %w", err)
	}
	g.write(a.out)
	return a.out.err
}

// A greeting is what a start has to say.
type greeting struct {
	base   string
	cmd    func(string) string // a dtcgate command as the user would type it
	loaded *shop.Summary       // of a shop that was made now
	stale  shop.Source         // of a shop that an earlier version loaded, and that lacks what this one reads
	key    *gate.MintedKey     // made now
	person *gate.AddedPerson   // made now
}

// The names of what a first start makes.
const (
	devKey     = "demo-agent"
	devProfile = "assistant"
	devPerson  = "owner"
)

// devActions are what the demo's key may ask for: enough to try each kind, and not all that there is.
var devActions = []string{"helpdesk:*", "payments:refund"}

// prepare makes the demo merchant's shop, key and person, each only where there is none: a start that was cut short is
// completed by the next, and an import keeps its data. A demo that an earlier version generated is made anew.
func (g *greeting) prepare(ctx context.Context, db *store.DB) error {
	m, err := ensureDemo(ctx, db)
	if err != nil {
		return err
	}
	if err := g.load(ctx, db, m); err != nil {
		return err
	}
	return g.mint(ctx, db, m)
}

func (g *greeting) load(ctx context.Context, db *store.DB, m auth.Merchant) error {
	var source shop.Source
	var whole bool
	err := db.Read(ctx, func(tx *store.Tx) (err error) {
		source, whole, err = shop.Loaded(tx, m.ID)
		return err
	})
	if err != nil || whole {
		return err
	}
	if g.stale = source; source != "" && source != shop.Generated {
		return nil
	}
	s, err := shop.LoadDemo(ctx, db, m.ID, demoSeed, db.Now())
	g.loaded = &s
	return err
}

// mint makes the person first, who answers for the key.
func (g *greeting) mint(ctx context.Context, db *store.DB, m auth.Merchant) error {
	var people []auth.Member
	var keys []auth.Key
	err := db.Read(ctx, func(tx *store.Tx) (err error) {
		if people, err = auth.ListMembers(tx, m.ID, auth.Page{Limit: 1}); err == nil {
			keys, err = auth.ListKeys(tx, m.ID, auth.Page{Limit: 1})
		}
		return err
	})
	if err != nil {
		return err
	}
	through, by := gate.New(gate.Config{DB: db, Tools: registry}), gate.By{Principal: auth.OperatorPrincipal(m.ID), Transport: "cli"}
	if len(people) == 0 {
		p, err := through.AddPerson(ctx, by, devPerson, devRoles...)
		if err != nil {
			return err
		}
		g.person = &p
	}
	if len(keys) > 0 {
		return nil
	}
	owner, err := devOwner(ctx, db, m)
	if err != nil {
		return err
	}
	name, profile, approval := devKey, devProfile, true
	k, err := through.MintKey(ctx, by, gate.KeyTerms{Name: &name, Profile: &profile, Scopes: scopeNames(allScopes()), Actions: devActions, RequiresApproval: &approval}, owner)
	g.key = &k
	return err
}

// devRoles are all that the default policy asks for, so that the one person there is can decide about what takes one.
var devRoles = []string{"admin", "manager", "finance", "marketing", "security", "compliance"}

// devOwner is who answers for the demo's key: the person of the demo, if it is still there and holds what the key is to do.
func devOwner(ctx context.Context, db *store.DB, m auth.Merchant) (owner string, err error) {
	err = db.Read(ctx, func(tx *store.Tx) error {
		p, err := auth.FindPerson(tx, m.ID, devPerson)
		if err == nil && len(p.Lacks(allScopes())) == 0 {
			owner = p.ID
		}
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	return owner, err
}

// allScopes are the scopes that the tools need.
func allScopes() []auth.Scope {
	var scopes []auth.Scope
	for _, t := range registry.All() {
		if t.Scope != "" {
			scopes = append(scopes, t.Scope)
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}

func (g *greeting) write(w io.Writer) {
	fmt.Fprintf(w, "DEVELOPMENT ONLY, NOT SAFE FOR PRODUCTION: --dev prints secrets and serves made-up data on this machine.\n\n")
	if g.loaded != nil {
		fmt.Fprintf(w, "Made the merchant \"demo\": %d products, %d customers, %d orders.\n", g.loaded.Products, g.loaded.Customers, g.loaded.Orders)
	}
	switch g.stale {
	case "":
	case shop.Generated:
		fmt.Fprintf(w, "An earlier version had made it; what was changed in it is gone.\n")
	default:
		fmt.Fprintf(w, "An earlier version imported the merchant \"demo\": searches and sums find nothing of it. Import it once more:\n  %s\n", g.cmd("demo import PATH"))
	}
	fmt.Fprintf(w, "MCP address:  %s/mcp\n", g.base)
	if g.key == nil {
		fmt.Fprintf(w, "The data, keys and people of earlier starts were kept; no key was minted. Another one:\n  %s\n\n",
			g.cmd("key mint --name another --requires-approval --scopes "+scopeList(allScopes())))
	} else {
		g.writeKey(w)
	}
	g.writePerson(w)
}

func (g *greeting) writeKey(w io.Writer) {
	key := g.key.Secret
	fmt.Fprintf(w, "Agent key:    %s\n              (shown this once; calls that spend, contact customers or cannot be undone wait for a person)\n\n", key)
	fmt.Fprintf(w, "Claude Code:\n  claude mcp add --transport http dtcgate %s/mcp --header \"Authorization: Bearer %s\"\n\n", g.base, key)
	fmt.Fprintf(w, "Cursor (.cursor/mcp.json):\n  {\"mcpServers\": {\"dtcgate\": {\"url\": \"%s/mcp\", \"headers\": {\"Authorization\": \"Bearer %s\"}}}}\n\n", g.base, key)
	fmt.Fprintf(w, "curl:\n  curl %s/api/v1/agent/v1/whoami -H \"X-Agent-Key: %s\"\n\n", g.base, key)
}

func (g *greeting) writePerson(w io.Writer) {
	fmt.Fprintf(w, "A person decides about what waits:\n  %s\n  %s\n", g.cmd("approvals list"), g.cmd("approvals approve ID --as "+devPerson))
	fmt.Fprintf(w, "signs in to a browser by the link of\n  %s\n", g.cmd("person invite "+devPerson+" --public-url "+onThisMachine(g.base)))
	if g.person == nil {
		fmt.Fprintf(w, "Another person, with a token for REST:\n  %s\n\n", g.cmd("person add NAME"))
		return
	}
	fmt.Fprintf(w, "or over REST, with the token of %s (shown this once): the first shows what ID asks for and its FINGERPRINT, which the second names as what was seen\n", devPerson)
	const ask = "  curl %s/api/v1/agent/v1/approvals/%s -H \"Authorization: Bearer %s\""
	fmt.Fprintf(w, ask+"\n", g.base, "ID", g.person.Token)
	fmt.Fprintf(w, ask+" \\\n    -H \"Content-Type: application/json\" -d '{\"decision\":\"approve\",\"seen_sha256\":\"FINGERPRINT\"}'\n\n", g.base, "ID/resolve", g.person.Token)
}

// production says where the server is and, on an empty database, what comes next.
func (g *greeting) production(ctx context.Context, w io.Writer, db *store.DB) error {
	fmt.Fprintf(w, "MCP at %s/mcp, REST at %s/api/v1/agent/v1\n", g.base, g.base)
	err := db.Read(ctx, func(tx *store.Tx) error {
		_, err := auth.OnlyMerchant(tx)
		return err
	})
	if !errors.Is(err, auth.ErrNoMerchant) {
		return nil // one, or several
	}
	fmt.Fprintf(w, "There is no merchant yet. While this runs, make one and a key for it:\n  %s\n  %s\n",
		g.cmd("demo load"), g.cmd("key mint --name NAME --scopes "+scopeList(allScopes())))
	return nil
}

// command is a dtcgate command as the user would type it to reach the same database.
func (a *app) command(rest string) string {
	words := []string{a.self}
	if a.Data != defaultData {
		words = append(words, "--data", a.Data)
	}
	if a.DB != "" && a.embedded() {
		words = append(words, "--db", a.DB)
	} else if a.DB != "" {
		words = append(words, "--db", "postgres://…") // the address may hold a password
	}
	return strings.Join(append(words, rest), " ")
}
