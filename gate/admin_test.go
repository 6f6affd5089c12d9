package gate

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// An office is a house with people who administer it.
type office struct {
	*house
	operator, admin, guard By // guard holds keys:admin and no scope of agents
}

func newOffice(t *testing.T, h *house) *office {
	t.Helper()
	o := &office{house: h, operator: By{Principal: auth.OperatorPrincipal(h.merchant), Transport: "cli"}}
	o.admin, o.guard = o.hire("ada", "admin"), o.hire("gus", "security")
	return o
}

func (o *office) hire(name string, roles ...string) By {
	o.t.Helper()
	var p auth.Principal
	a, err := o.AddPerson(o.t.Context(), o.operator, name, roles...)
	if err == nil {
		p, err = o.Authenticate(o.t.Context(), a.Token, "127.0.0.1")
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return By{Principal: p, Transport: "rest", Source: "127.0.0.1"}
}

func terms(name string, scopes ...string) KeyTerms {
	profile := "admin"
	return KeyTerms{Name: &name, Profile: &profile, Scopes: scopes}
}

func (o *office) refused(what string, code tools.Code, err error) *tools.Refusal {
	o.t.Helper()
	var r *tools.Refusal
	if !errors.As(err, &r) || r.Code != code {
		o.t.Fatalf("%s: %v, want %s", what, err, code)
	}
	return r
}

func (o *office) must(what string, err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatalf("%s: %v", what, err)
	}
}

func each(t *testing.T, tell func(t *testing.T, o *office)) {
	storetest.Each(t, func(t *testing.T, db *store.DB) { tell(t, newOffice(t, newHouse(t, db))) })
}

// Whoever administers keys would otherwise hold every right of agents, by making a key or taking over somebody's.
func TestNobodyGivesWhatTheyDoNotHold(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		ctx := t.Context()
		k, err := o.MintKey(ctx, o.admin, terms("bot", "orders:*"), "")
		o.must("minting what one holds", err)
		if k.Owner != o.admin.Principal.ID {
			t.Errorf("the owner is %q", k.Owner)
		}
		_, err = o.MintKey(ctx, o.guard, terms("x", "orders:read"), "ada")
		if r := o.refused("minting more", tools.ForbiddenScope, err); r.Errors.Missing[0] != "orders:read" {
			t.Errorf("%+v", r)
		}
		_, err = o.RotateKey(ctx, o.guard, k.ID, time.Hour)
		o.refused("taking a key over", tools.ForbiddenScope, err)
		high := "high"
		low := "low"
		changed, err := o.ChangeKey(ctx, o.guard, k.ID, 1, KeyTerms{Scopes: []string{"orders:read"}, Ceiling: &low})
		o.must("narrowing", err)
		_, err = o.ChangeKey(ctx, o.guard, k.ID, changed.Version, KeyTerms{Ceiling: &high})
		o.refused("widening", tools.ForbiddenScope, err)
		_, err = o.ChangeKey(ctx, o.admin, k.ID, changed.Version, KeyTerms{Ceiling: &high})
		o.must("widening by who holds it", err)
		_, err = o.ChangeKey(ctx, o.admin, k.ID, changed.Version, KeyTerms{Ceiling: &low})
		if r := o.refused("a stale change", tools.StaleExpectation, err); fmt.Sprint(r.Errors.Now) != "map[version:3]" {
			t.Errorf("%+v", r.Errors)
		}

		_, err = o.AddPerson(ctx, o.guard, "eve", "admin")
		o.refused("appointing more", tools.ForbiddenScope, err)
		_, err = o.GiveRoles(ctx, o.guard, "gus", []string{"security", "admin"})
		o.refused("promoting oneself", tools.ForbiddenScope, err)
		_, err = o.Invite(ctx, o.guard, "ada", "https://gate.example.com", 0)
		o.refused("signing in as somebody who may more", tools.ForbiddenScope, err)
		_, err = o.Invite(ctx, o.guard, "gus", "https://gate.example.com", 48*time.Hour)
		o.refused("a link for days", tools.InvalidArguments, err)
		_, err = o.NewToken(ctx, o.guard, "ada")
		o.refused("taking a person's token", tools.ForbiddenScope, err)
		in, err := o.Invite(ctx, o.admin, "gus", "https://gate.example.com", 0)
		if o.must("inviting", err); !strings.HasPrefix(in.Link, "https://gate.example.com/sign-in/link#sq_lnk_") {
			t.Errorf("the link is %s", in.Link)
		}
		_, err = o.PutRole(ctx, o.guard, "security", []string{"keys:admin", "orders:refund"})
		o.refused("widening one's own role", tools.ForbiddenScope, err)
		_, err = o.PutRole(ctx, o.admin, "override", []string{"approvals:override"})
		o.refused("a role with what nobody holds", tools.ForbiddenScope, err)
		_, err = o.PutRole(ctx, o.operator, "override", []string{"approvals:override"})
		o.must("the operator", err)
		_, err = o.RevokeKey(ctx, o.guard, k.ID)
		o.must("revoking", err)
	})
}

// No agent and nobody without keys:admin gets to see or change anything of it, and what they tried is on record.
func TestOnlyWhoHoldsKeysAdminAdministers(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		ctx := t.Context()
		for who, by := range map[string]By{"a manager": {Principal: o.person}, "an agent": {Principal: o.free}} {
			_, minting := o.MintKey(ctx, by, terms("x"), "")
			_, changing := o.ChangeKey(ctx, by, o.bot.ID, 1, terms("x"))
			_, rotating := o.RotateKey(ctx, by, o.bot.ID, 0)
			_, revoking := o.RevokeKey(ctx, by, o.bot.ID)
			_, showing := o.Key(ctx, by, o.bot.ID)
			_, listing := o.Keys(ctx, by, Listing{})
			_, adding := o.AddPerson(ctx, by, "eve", "admin")
			_, giving := o.GiveRoles(ctx, by, "owner", []string{"admin"})
			_, ending := o.RevokePerson(ctx, by, "ada")
			_, people := o.People(ctx, by, Listing{})
			_, roles := o.Roles(ctx, by)
			_, putting := o.PutRole(ctx, by, "manager", []string{"keys:admin"})
			for event, err := range map[string]error{
				"key.minted": minting, "key.changed": changing, "key.rotated": rotating, "key.revoked": revoking, "key.read": errors.Join(showing, listing),
				"person.added": adding, "person.roles": giving, "person.revoked": ending, "person.read": people,
				"role.read": roles, "role.put": putting, "role.deleted": o.DeleteRole(ctx, by, "support"),
			} {
				o.refused(who+" "+event, tools.ForbiddenScope, err)
				found := o.entries(event + ".refused")
				if len(found) == 0 || found[0].Code != "FORBIDDEN_SCOPE" {
					t.Errorf("%s of %s is not on record: %+v", event, who, found)
				}
			}
		}
		if n := len(o.entries("key.minted")) + len(o.entries("role.put")) + len(o.entries("person.roles")); n != 0 {
			t.Errorf("%d changes are on record", n)
		}
	})
}

func TestTheLastWhoAdministersCannotBeStripped(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		ctx := t.Context()
		_, err := o.RevokePerson(ctx, o.admin, "gus")
		o.must("one of two", err)
		_, revoking := o.RevokePerson(ctx, o.admin, "ada")
		_, stripping := o.GiveRoles(ctx, o.admin, "ada", []string{"manager"})
		_, emptying := o.PutRole(ctx, o.admin, "admin", []string{"orders:read"})
		for what, err := range map[string]error{"revoking": revoking, "stripping": stripping, "emptying the role": emptying} {
			if r := o.refused(what, tools.Conflict, err); !strings.Contains(r.Next, "dtcgate person roles NAME --role admin") {
				t.Errorf("%s: %s", what, r.Next)
			}
		}
		_, err = o.Keys(ctx, o.admin, Listing{})
		o.must("the last one still administers", err)
		_, err = o.RevokePerson(ctx, o.operator, "ada")
		o.must("the operator", err)
		_, err = o.GiveRoles(ctx, o.operator, "owner", []string{"admin"})
		o.must("bringing it back", err)
	})
}

// What a change takes away is gone when the change is acknowledged: it waits for the calls that have it, and none begins or
// commits after.
func TestAChangeOfRightsWaitsForTheCallsThatHaveThem(t *testing.T) {
	for name, change := range map[string]func(o *office, key string) error{
		"a role loses a scope": func(o *office, _ string) error {
			_, err := o.PutRole(o.t.Context(), o.operator, "buyer", []string{"orders:read"})
			return err
		},
		"the owner loses a role": func(o *office, _ string) error {
			_, err := o.GiveRoles(o.t.Context(), o.operator, "mara", nil)
			return err
		},
		"the owner is revoked": func(o *office, _ string) error {
			_, err := o.RevokePerson(o.t.Context(), o.operator, "mara")
			return err
		},
		"the key loses a scope": func(o *office, key string) error {
			_, err := o.ChangeKey(o.t.Context(), o.operator, key, 1, KeyTerms{Scopes: []string{"orders:read"}})
			return err
		},
		"the key is rotated at once": func(o *office, key string) error {
			_, err := o.RotateKey(o.t.Context(), o.operator, key, 0)
			return err
		},
		"the key is revoked": func(o *office, key string) error {
			_, err := o.RevokeKey(o.t.Context(), o.operator, key)
			return err
		},
		"the policy takes the tool away": func(o *office, _ string) error {
			_, err := o.PublishPolicy(o.t.Context(), o.operator, openWithout("test_hook"), "No moves any more", nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			hooked(t, func(t *testing.T, h *house, k *hook) {
				o := newOffice(t, h)
				bot := o.ownedBot()
				at := newGap()
				k.preview = func(c *tools.Call, in moveIn) (tools.Preview, error) {
					at.stop(t.Context())
					return h.previewMove(c, in)
				}
				called, changed, effects := make(chan error, 1), make(chan error, 1), make(chan int, 1)
				go func() {
					_, err := o.call(bot, "test_hook", oneLamp)
					called <- err
				}()
				<-at.reached
				go func() {
					changed <- change(o, bot.ID)
					effects <- o.effects()
				}()
				o.waitForRights(changed)
				close(at.goOn)
				o.must("the call that had begun", <-called)
				o.must("the change", <-changed)
				if n := <-effects; n != 1 {
					t.Errorf("when the change was acknowledged the call that had begun had %d effects", n)
				}
				k.preview = h.previewMove
				if _, err := o.call(bot, "test_hook", oneLamp); err == nil || o.effects() != 1 {
					t.Errorf("a call on the rights of before: %v, %d effects", err, o.effects())
				}
			})
		})
	}
}

// ownedBot is an agent that lives from what its owner's role buyer holds.
func (o *office) ownedBot() auth.Principal {
	o.t.Helper()
	_, err := o.PutRole(o.t.Context(), o.operator, "buyer", []string{"orders:*"})
	o.must("a role", err)
	o.hire("mara", "buyer")
	m, err := o.MintKey(o.t.Context(), o.operator, terms("hers", "orders:read", "orders:refund"), "mara")
	o.must("her key", err)
	p, err := o.Authenticate(o.t.Context(), m.Secret, "127.0.0.1")
	o.must("its secret", err)
	return p
}

// waitForRights returns when a change waits for the rights that are used, or is over, which it should not be. SQLite has one
// writer: whoever comes later waits.
func (o *office) waitForRights(over chan error) {
	o.t.Helper()
	for waiting := 0; waiting == 0 && len(over) == 0 && o.db.Engine() != "sqlite"; {
		err := o.db.Read(o.t.Context(), func(tx *store.Tx) error {
			return tx.QueryRow(`SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&waiting)
		})
		o.must("looking for who waits", err)
	}
}

// Revoking says what dies with it: sub-tokens, and calls that wait. Neither runs.
func TestARevocationCountsWhatDiesWithIt(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		ctx := t.Context()
		root := o.rooted(true)
		child := o.give(root, auth.Delegation{Depth: 2})
		o.give(o.give(child, auth.Delegation{Depth: 1}), auth.Delegation{})
		o.give(o.rooted(true), auth.Delegation{})
		var first tools.Result
		for i, p := range []auth.Principal{o.bot, child, root} {
			out, err := o.call(p, "test_move", lamps(1+i))
			o.must("a call that is parked", err)
			first = o.result(out)
		}
		r, err := o.RevokeKey(ctx, o.admin, root.ID)
		o.must("revoking", err)
		if r != (RevokedKey{ID: root.ID, SubTokens: 3, Waiting: 2}) {
			t.Errorf("with it die %+v", r)
		}
		o.must("the vote", o.vote(first.JobID, "approve"))
		o.resume()
		if o.effects() != 0 || o.job(first.JobID).Status != tools.JobCancelled {
			t.Errorf("the job is %+v", o.job(first.JobID))
		}
		bot := o.ownedBot()
		p, err := o.RevokePerson(ctx, o.operator, "mara")
		o.must("revoking the owner", err)
		if p.Keys != 1 || p.Waiting != 0 {
			t.Errorf("with her die %+v", p)
		}
		if _, err := o.call(bot, "test_read", `{}`); err == nil {
			t.Error("her key still reads")
		}
	})
}

// The record tells what was changed, by whom, from what to what; names of people can be erased from it.
func TestEveryChangeOfRightsIsOnRecord(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		ctx := t.Context()
		k, err := o.MintKey(ctx, o.admin, terms("bot", "orders:read", "orders:write"), "")
		o.must("minting", err)
		_, err = o.ChangeKey(ctx, o.admin, k.ID, 1, KeyTerms{Scopes: []string{"orders:read"}})
		o.must("changing", err)
		_, err = o.RotateKey(ctx, o.admin, k.ID, time.Hour)
		o.must("rotating", err)
		_, err = o.RevokeKey(ctx, o.admin, k.ID)
		o.must("revoking", err)
		added, err := o.AddPerson(ctx, o.admin, "Zacharias", "support")
		o.must("adding", err)
		_, err = o.GiveRoles(ctx, o.admin, added.ID, []string{"finance"})
		o.must("giving roles", err)
		_, err = o.PutRole(ctx, o.admin, "buyer", []string{"orders:read"})
		o.must("putting a role", err)
		o.must("deleting it", o.DeleteRole(ctx, o.admin, "buyer"))
		_, err = o.RevokePerson(ctx, o.admin, added.ID)
		o.must("revoking", err)
		_, err = o.Keys(ctx, o.admin, Listing{})
		o.must("listing", err)
		for event, want := range map[string]string{
			"key.minted":  "scopes: orders:read,orders:write",
			"key.changed": "scopes: orders:read,orders:write → orders:read", "key.rotated": "the old one is good for 1h0m0s", "key.revoked": "0 sub-tokens",
			"person.added": "roles: support", "person.roles": "roles: support → finance", "person.revoked": "0 keys",
			"role.put": "scopes:  → orders:read", "role.deleted": "scopes: orders:read", "key.read": "",
		} {
			e := o.entries(event)[0]
			if e.Actor != "person:"+o.admin.Principal.ID || e.Transport != "rest" || e.Source != "127.0.0.1" || e.Resource == "" || !strings.Contains(e.Reason, want) {
				t.Errorf("%s: %+v", event, e)
			}
		}
		if n := o.count(`SELECT COUNT(*) FROM audit_entries WHERE body LIKE '%Zacharias%' OR body LIKE $1`, "%"+added.Token+"%"); n != 0 {
			t.Errorf("the person's name or token stands in %d entries", n)
		}
	})
}

// A page begins where its reader's page before it ended, and a cursor is of no use to anybody else.
func TestListsOfAdministrationHavePages(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		ctx := t.Context()
		page, err := o.Keys(ctx, o.admin, Listing{Limit: 1})
		o.must("a page", err)
		if len(page.Rows) != 1 || page.Rows[0].ID != o.bot.ID || page.Next == "" {
			t.Fatalf("%+v", page)
		}
		_, err = o.Keys(ctx, o.guard, Listing{Cursor: page.Next})
		o.refused("somebody else's cursor", tools.InvalidArguments, err)
		_, err = o.Keys(ctx, o.admin, Listing{Cursor: page.Next, State: "active"})
		o.refused("a cursor of another list", tools.InvalidArguments, err)
		_, err = o.People(ctx, o.admin, Listing{Cursor: page.Next})
		o.refused("a cursor of another kind", tools.InvalidArguments, err)
		for _, l := range []Listing{{Limit: maxRows + 1}, {Limit: -1}, {State: "gone"}} {
			_, err = o.Keys(ctx, o.admin, l)
			o.refused("a page that is none", tools.InvalidArguments, err)
		}
		page, err = o.Keys(ctx, o.admin, Listing{Cursor: page.Next})
		o.must("the next", err)
		if len(page.Rows) != 1 || page.Rows[0].ID != o.free.ID || page.Next != "" {
			t.Errorf("%+v", page)
		}
	})
}

// Text that holds one of our secrets is kept nowhere: the call is refused, and its record has cut it out.
func TestAPastedSecretIsRefusedAndNotRecorded(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		m, err := o.MintKey(t.Context(), o.operator, terms("bot"), "")
		o.must("minting", err)
		_, err = o.call(o.free, "test_move", fmt.Sprintf(`{"thing":"lamp","amount":1,"reason":"my key is %s, keep it"}`, m.Secret))
		o.refused("a call", tools.InvalidArguments, err)
		_, err = o.Call(t.Context(), o.free, Request{Tool: m.Secret, IdempotencyKey: m.Secret, Transport: "rest"})
		o.refused("a tool of that name", tools.UnknownTool, err)
		parked := o.parked("test_move", oneLamp)
		_, err = o.Vote(t.Context(), o.person, Ballot{ID: parked.JobID, Decision: "deny", Reason: m.Secret, Channel: "rest"})
		o.refused("a vote", tools.InvalidArguments, err)
		if o.effects() != 0 {
			t.Error("it ran")
		}
		entries := o.entries("call")
		first := entries[len(entries)-1]
		o.tx(func(tx *store.Tx) error {
			values, err := audit.Personal(tx, first.ID)
			if text := values["arguments"]; !strings.Contains(text, "my key is "+m.Hint+", keep it") {
				t.Errorf("recorded is %q", text)
			}
			return err
		})
	})
}

// A session that was left open gives nothing to anybody; what it takes away it may.
func TestGivingTakesAConfirmationThatIsRecent(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		ctx, now := t.Context(), time.Now()
		o.db.Now = func() time.Time { return now }
		k, err := o.MintKey(ctx, o.admin, terms("bot", "orders:read", "orders:write"), "")
		o.must("a token of a person counts as it is", err)
		by := o.signIn(o.admin)
		now = now.Add(auth.StepUpTime + time.Second)
		_, minting := o.MintKey(ctx, by, terms("x"), "")
		_, rotating := o.RotateKey(ctx, by, k.ID, time.Hour)
		_, widening := o.ChangeKey(ctx, by, k.ID, 1, KeyTerms{Scopes: []string{"orders:*"}})
		_, adding := o.AddPerson(ctx, by, "eve", "support")
		_, promoting := o.GiveRoles(ctx, by, "gus", []string{"security", "support"})
		_, putting := o.PutRole(ctx, by, "buyer", []string{"orders:read"})
		for what, err := range map[string]error{
			"minting": minting, "rotating": rotating, "widening": widening, "adding": adding, "promoting": promoting, "putting": putting,
		} {
			o.refused(what, tools.StepUpRequired, err)
		}
		_, err = o.ChangeKey(ctx, by, k.ID, 1, KeyTerms{Scopes: []string{"orders:read"}})
		o.must("narrowing", err)
		_, err = o.RevokeKey(ctx, by, k.ID)
		o.must("revoking", err)
		_, err = o.MintKey(ctx, o.signIn(o.admin), terms("x"), "")
		o.must("minting after a confirmation", err)
		ended, err := o.RevokeSessionsOf(ctx, o.guard, "ada", "")
		if o.must("ending her sessions", err); ended.Ended != 2 {
			t.Errorf("%d sessions were ended", ended.Ended)
		}
		_, err = o.Keys(ctx, by, Listing{})
		o.refused("a session that was ended", tools.Unauthorized, err)
	})
}

// signIn signs a person in by a link.
func (o *office) signIn(by By) By {
	o.t.Helper()
	var link string
	o.tx(func(tx *store.Tx) (err error) {
		link, _, err = auth.MintLink(tx, o.merchant, by.Principal.ID, time.Minute)
		return err
	})
	in, err := o.SignInByLink(o.t.Context(), Browser{Source: "127.0.0.1"}, link)
	o.must("signing in", err)
	by.Principal, err = o.Session(o.t.Context(), Browser{Source: "127.0.0.1", Session: in.Secret})
	o.must("the session", err)
	return by
}
