package gate

import (
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// A chat is a house with a service that carries what people decide in it.
type chat struct {
	*house
	service auth.Principal
}

func chatting(t *testing.T, fn func(c chat)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		lend := moveSpec("test_lend", "test.lend") // what it does can be made good
		lend.Risk.Undo = 1
		h.tools = tools.NewRegistry(
			tools.Define(lend, tools.Func[moveIn, moveOut]{Preview: h.previewMove, Write: h.move}),
			tools.Define(moveSpec("test_move", "test.move"), tools.Func[moveIn, moveOut]{Preview: h.previewMove, Write: h.move}),
		)
		fn(chat{h, h.mint(auth.Key{Name: "chat", Scopes: auth.CarrierScopes, Ceiling: auth.MaxLevel})})
	})
}

func (c chat) link(person auth.Principal, key, external string) (l auth.PersonLink) {
	c.t.Helper()
	by := By{Principal: auth.OperatorPrincipal(c.merchant), Transport: "cli"}
	l, err := c.LinkPerson(c.t.Context(), by, person.ID, key, external)
	if err != nil {
		c.t.Fatal(err)
	}
	return l
}

// carry has a key bring a ballot.
func (c chat) carry(key auth.Principal, external, id string, d approvals.Decision) (Decided, error) {
	return c.Vote(c.t.Context(), key, Ballot{ID: id, Decision: d, Channel: ChannelWebhook, OnBehalfOf: external, Seen: c.seen(id)})
}

// seen is the hash that a request is bound to.
func (c chat) seen(id string) string {
	c.t.Helper()
	var hash string
	c.tx(func(tx *store.Tx) error {
		r, err := approvals.Find(tx, c.merchant, id)
		hash = r.BindingHash
		return err
	})
	return hash
}

func TestAServiceCarriesTheVoteOfALinkedPerson(t *testing.T) {
	chatting(t, func(c chat) {
		c.link(c.person, c.service.ID, "U1")
		id := c.parked("test_lend", oneLamp).Approval.ApprovalID
		d, err := c.carry(c.service, "U1", id, approvals.Approve)
		if err != nil || d.State != approvals.Approved {
			c.t.Fatalf("%s, %v", d.State, err)
		}
		if v := d.Votes[0]; v.PersonID != c.person.ID || v.Channel != ChannelWebhook {
			c.t.Errorf("the vote is %+v", v)
		}
		carried := c.entries("channel.carried")
		if len(carried) != 1 || carried[0].Actor != "key:"+c.service.ID || carried[0].Chain[1] != "person:"+c.person.ID || carried[0].ApprovalID != id ||
			carried[0].Digests["external_id"] == "" {
			c.t.Errorf("on record: %+v", carried)
		}
		if vote := c.entries("approval.vote"); len(vote) != 1 || vote[0].Actor != "person:"+c.person.ID || vote[0].Transport != ChannelWebhook {
			c.t.Errorf("on record: %+v", vote)
		}
		c.resume()
		if c.effects() != 1 {
			c.t.Errorf("%d effects", c.effects())
		}
	})
}

func TestAServiceCarriesNothingForWhoHasNotLinkedIt(t *testing.T) {
	chatting(t, func(c chat) {
		other := c.mint(auth.Key{Name: "other chat", Scopes: auth.CarrierScopes, Ceiling: auth.MaxLevel})
		c.link(c.person, other.ID, "U1")
		id := c.parked("test_lend", oneLamp).Approval.ApprovalID
		for _, external := range []string{"U1", "U2", c.person.ID, c.person.Name} {
			_, err := c.carry(c.service, external, id, approvals.Approve)
			wantCode(c.t, err, tools.ForbiddenApprover)
		}
		if n := len(c.entries("channel.unknown_identity")); n != 4 {
			c.t.Errorf("%d are on record", n)
		}
		if n := c.count(`SELECT COUNT(*) FROM approval_votes`); n != 0 {
			c.t.Errorf("%d votes", n)
		}
	})
}

func TestALinkEndsWithThePersonTheKeyOrItself(t *testing.T) {
	for name, end := range map[string]func(c chat, l auth.PersonLink) error{
		"unlinked by an admin": func(c chat, l auth.PersonLink) error {
			return c.UnlinkPerson(c.t.Context(), By{Principal: auth.OperatorPrincipal(c.merchant), Transport: "cli"}, c.person.ID, l.ID)
		},
		"unlinked by the person": func(c chat, l auth.PersonLink) error {
			return c.UnlinkOwn(c.t.Context(), c.person, Browser{}, l.ID)
		},
		"the key is revoked": func(c chat, l auth.PersonLink) error {
			return c.db.InTx(c.t.Context(), func(tx *store.Tx) error { return auth.RevokeKey(tx, c.merchant, l.Key) })
		},
		"the person is revoked": func(c chat, _ auth.PersonLink) error {
			return c.db.InTx(c.t.Context(), func(tx *store.Tx) error { return auth.RevokePerson(tx, c.merchant, c.person.ID) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			chatting(t, func(c chat) {
				l := c.link(c.person, c.service.ID, "U1")
				id := c.parked("test_lend", oneLamp).Approval.ApprovalID
				if err := end(c, l); err != nil {
					c.t.Fatal(err)
				}
				if _, err := c.carry(c.service, "U1", id, approvals.Approve); err == nil {
					c.t.Error("it is carried all the same")
				}
			})
		})
	}
}

func TestACarriedVoteIsOneVoteOverAllChannels(t *testing.T) {
	chatting(t, func(c chat) {
		c.link(c.person, c.service.ID, "U1")
		c.link(c.person, c.service.ID, "U2")
		id := c.parked("test_lend", oneLamp).Approval.ApprovalID
		for _, external := range []string{"U1", "U1", "U2"} {
			if _, err := c.carry(c.service, external, id, approvals.Approve); err != nil {
				c.t.Fatal(err)
			}
		}
		if err := c.vote(id, approvals.Approve); err != nil {
			c.t.Fatal(err)
		}
		if n := c.count(`SELECT COUNT(*) FROM approval_votes`); n != 1 {
			c.t.Errorf("%d votes of one person", n)
		}
		_, err := c.carry(c.service, "U1", id, approvals.Deny)
		wantCode(c.t, err, tools.Conflict)
	})
}

func TestOnlyAServicesKeyCarries(t *testing.T) {
	chatting(t, func(c chat) {
		id := c.parked("test_lend", oneLamp).Approval.ApprovalID
		for _, p := range []auth.Principal{c.bot, c.free, c.person} {
			_, err := c.carry(p, "U1", id, approvals.Approve)
			wantCode(c.t, err, tools.ForbiddenApprover)
		}
		_, err := c.Vote(c.t.Context(), c.service, Ballot{ID: id, Decision: approvals.Approve, Channel: "rest"})
		wantCode(c.t, err, tools.ForbiddenApprover)
		by := By{Principal: auth.OperatorPrincipal(c.merchant), Transport: "cli"}
		_, err = c.LinkPerson(c.t.Context(), by, c.person.ID, c.bot.ID, "U1")
		wantCode(c.t, err, tools.InvalidArguments)
	})
}

// Whoever has the key of a service that is frozen could have other agents' writes approved with it.
func TestAFrozenServiceCarriesNoConsent(t *testing.T) {
	chatting(t, func(c chat) {
		c.link(c.person, c.service.ID, "U1")
		first, second := c.parked("test_lend", oneLamp).Approval.ApprovalID, c.parked("test_lend", `{"thing":"lamp","amount":2}`).Approval.ApprovalID
		f := c.freeze(c.service.ID)
		_, err := c.carry(c.service, "U1", first, approvals.Approve)
		wantCode(c.t, err, tools.Frozen)
		if c.count(`SELECT COUNT(*) FROM approval_votes`) != 0 {
			c.t.Error("it was carried")
		}
		_, err = c.carry(c.service, "U1", second, approvals.Deny)
		wantDone(c.t, "a denial, which stops more", err)
		c.lift(f)
		_, err = c.carry(c.service, "U1", first, approvals.Approve)
		wantDone(c.t, "a consent after the lift", err)
	})
}

// The key asked while it was an agent's, and is a carrier's by now.
func TestTheKeyThatAskedCarriesNoAnswer(t *testing.T) {
	chatting(t, func(c chat) {
		id := c.parked("test_lend", oneLamp).Approval.ApprovalID
		c.exec(`UPDATE agent_keys SET scopes = '["approvals:resolve"]', version = version + 1 WHERE id = $1`, c.bot.ID)
		c.link(c.person, c.bot.ID, "U1")
		var asker auth.Principal
		c.tx(func(tx *store.Tx) (err error) {
			asker, err = auth.Live(tx, c.bot.ID)
			return err
		})
		_, err := c.carry(asker, "U1", id, approvals.Approve)
		wantCode(c.t, err, tools.ForbiddenApprover)
		if c.count(`SELECT COUNT(*) FROM approval_votes`) != 0 {
			c.t.Error("it was carried")
		}
	})
}

func TestACarriedVoteIsHeldToThePersonsOwnRules(t *testing.T) {
	chatting(t, func(c chat) {
		c.tx(func(tx *store.Tx) error { _, _, err := auth.AddPerson(tx, c.merchant, "clerk"); return err })
		var clerk auth.Principal
		c.tx(func(tx *store.Tx) (err error) {
			clerk, err = auth.FindPerson(tx, c.merchant, "clerk")
			return err
		})
		c.link(clerk, c.service.ID, "U2")
		c.link(c.person, c.service.ID, "U1")
		id := c.parked("test_lend", oneLamp).Approval.ApprovalID
		_, err := c.carry(c.service, "U2", id, approvals.Approve)
		wantCode(c.t, err, tools.ForbiddenApprover)
		_, err = c.Vote(c.t.Context(), c.service, Ballot{ID: id, Decision: approvals.Approve, Override: true, Reason: "now", Channel: ChannelWebhook, OnBehalfOf: "U1"})
		wantCode(c.t, err, tools.ForbiddenApprover)
		if len(c.entries("channel.carried")) != 0 {
			c.t.Error("what was refused is on record as carried")
		}
	})
}

func TestLinkingTakesThePersonAndAFreeId(t *testing.T) {
	chatting(t, func(c chat) {
		c.link(c.person, c.service.ID, "U1")
		late := c.person
		late.Session, late.StepUpAt = "ses_x", c.db.Now().Add(-time.Hour)
		if err := c.LinkOwn(c.t.Context(), late, Browser{}, c.service.ID, "U9"); err == nil {
			c.t.Error("a session that was left open links")
		}
		err := c.LinkOwn(c.t.Context(), c.person, Browser{}, c.service.ID, "U1")
		wantCode(c.t, err, tools.Conflict)
		err = c.LinkOwn(c.t.Context(), c.person, Browser{}, c.service.ID, "U 1")
		wantCode(c.t, err, tools.InvalidArguments)
		_, err = c.LinkPerson(c.t.Context(), By{Principal: c.person, Transport: "rest"}, c.person.ID, c.service.ID, "U3")
		wantCode(c.t, err, tools.ForbiddenScope)
		if err := c.LinkOwn(c.t.Context(), c.person, Browser{}, c.service.ID, "U4"); err != nil {
			c.t.Error(err)
		}
	})
}

// A button elsewhere does not tell who has pressed it lately, so it is not enough for what cannot be undone.
func TestConsentToWhatCannotBeUndoneIsNotCarried(t *testing.T) {
	chatting(t, func(c chat) {
		c.link(c.person, c.service.ID, "U1")
		told := c.parked("test_lend", oneLamp).Approval.ApprovalID
		c.exec(`UPDATE approvals SET preview = '{"summary":"Move lamp","irreversible":"It is sent"}' WHERE id = $1`, told)
		for name, id := range map[string]string{"its preview says so": told, "its tool says so": c.parked("test_move", oneLamp).Approval.ApprovalID} {
			_, err := c.carry(c.service, "U1", id, approvals.Approve)
			if err == nil || asRefusal(err).Code != tools.StepUpRequired {
				c.t.Errorf("%s: %v", name, err)
			}
			if _, err := c.carry(c.service, "U1", id, approvals.Deny); name == "its tool says so" && err != nil {
				c.t.Errorf("a denial: %v", err)
			}
		}
	})
}
