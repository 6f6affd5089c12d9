package gate

import (
	"context"
	"errors"
	"slices"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// ChannelWebhook is the channel of votes that a service has carried here.
const ChannelWebhook = "webhook"

// errUnknownIdentity says that a service named somebody who has not linked it to themselves.
var errUnknownIdentity = errors.New("nobody has linked this identity")

// carried gives whose ballot it is: p's own, or, where p is the key of a service, the person's on whose behalf it came. That person has linked
// the key, and the id by which the service knows them, to themselves; from there on the vote is theirs, by the rules for everybody's. p is held
// by the transaction. That the ballot was carried is on record with the vote, or not at all.
func (g *Gate) carried(tx *store.Tx, p auth.Principal, b Ballot) (auth.Principal, error) {
	if b.OnBehalfOf == "" {
		return p, nil
	}
	if p.Kind != auth.KindKey || !p.Has(auth.ApprovalsResolve) {
		return p, tools.Refuse(tools.ForbiddenApprover, "A person decides for themselves. An admin makes a key for a service with `dtcgate key mint --scopes approvals:resolve`.",
			"Only a service's key that holds approvals:resolve, and nothing beside, carries what people decide.")
	}
	if b.Override {
		return p, tools.Refuse(tools.ForbiddenApprover, "Open the page of the request, or vote without override.", "An override is not carried: it takes the person themselves.")
	}
	if err := frozen(p); err != nil && b.Decision == approvals.Approve { // a no is a brake, which nothing holds back
		return p, err
	}
	link, err := auth.LinkedPerson(tx, p.Merchant, p.ID, b.OnBehalfOf)
	if errors.Is(err, store.ErrNotFound) {
		return p, unlinked()
	}
	if err != nil {
		return p, err
	}
	person, err := auth.HoldLive(tx, p.Merchant, link.Person)
	if errors.Is(err, auth.ErrUnknownCredential) {
		return p, unlinked()
	}
	if err != nil {
		return p, err
	}
	r, err := g.mayCarry(tx, p, b)
	if err != nil {
		return p, err
	}
	return person, recordCarried(tx, p, person, r, b)
}

func unlinked() error {
	return errors.Join(errUnknownIdentity, tools.Refuse(tools.ForbiddenApprover,
		"The person signs in and links this service on /me, or decides on the page of the request.", "Nobody has linked this service and this id to themselves."))
}

// mayCarry gives the request that a ballot is about. It refuses the key whose agent asked: whoever asks does not bring the answer either. And it
// refuses consent to what cannot be undone: that takes a person who has shown lately who they are, which a button elsewhere does not tell.
func (g *Gate) mayCarry(tx *store.Tx, p auth.Principal, b Ballot) (approvals.Request, error) {
	r, err := approvals.Find(tx, p.Merchant, b.ID)
	switch {
	case err != nil:
		return r, err
	case slices.Contains(r.Binding.Chain, "key:"+p.ID):
		return r, tools.Refuse(tools.ForbiddenApprover, "The person decides on the page of the request, or through another service.", "It was asked for with this key, which therefore carries no answer to it.")
	case b.Decision == approvals.Approve && g.undoOf(r).Never != "":
		return r, tools.Refuse(tools.StepUpRequired, "Open the page of the request and decide there. A denial may be carried.", "What cannot be undone is approved by the person themselves.")
	}
	return r, nil
}

// recordCarried puts on record which service brought a person's ballot, and by what name it knows them.
func recordCarried(tx *store.Tx, p, person auth.Principal, r approvals.Request, b Ballot) error {
	_, err := audit.Append(tx, audit.Entry{
		Merchant: p.Merchant, Event: "channel.carried", Transport: b.Channel, Source: b.Source, Status: string(tools.Done),
		Actor: p.Chain()[0], Chain: []string{p.Chain()[0], "person:" + person.ID}, PolicyVersion: p.PolicyVersion,
		ApprovalID: r.ID, JobID: r.JobID, Binding: r.BindingHash, Personal: map[string]string{"external_id": b.OnBehalfOf},
	})
	return err
}

// refusedAs is the event of a ballot that was refused.
func refusedAs(err error) string {
	if errors.Is(err, errUnknownIdentity) {
		return "channel.unknown_identity"
	}
	return "approval.refused"
}

// LinkOwn links a service's key, and its id of p, to p, who has lately shown who they are.
func (g *Gate) LinkOwn(ctx context.Context, p auth.Principal, b Browser, key, external string) error {
	return g.own(ctx, p, b, Op{Event: "person.linked", Recent: true}, func(tx *store.Tx, p auth.Principal) (audit.Entry, error) {
		l, err := auth.LinkPerson(tx, p.Merchant, p.ID, key, external, p.Chain()[0])
		return linked(l), taken(err)
	})
}

// UnlinkOwn ends one of p's links.
func (g *Gate) UnlinkOwn(ctx context.Context, p auth.Principal, b Browser, id string) error {
	return g.own(ctx, p, b, Op{Event: "person.unlinked"}, func(tx *store.Tx, p auth.Principal) (audit.Entry, error) {
		return audit.Entry{Resource: "person_link:" + id}, noLink(auth.UnlinkPerson(tx, p.Merchant, p.ID, id, p.Chain()[0]))
	})
}

// LinkPerson links a service to a person, by name or id, for the operator: a link is a vote that somebody else brings, so nobody but the person
// and the operator makes one.
func (g *Gate) LinkPerson(ctx context.Context, by By, nameOrID, key, external string) (auth.PersonLink, error) {
	op := Op{Event: "person.linked", Scope: auth.KeysAdmin}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (l auth.PersonLink, e audit.Entry, err error) {
		if p.Kind != auth.KindOperator {
			return l, e, tools.Refuse(tools.ForbiddenApprover, "The person links it on /me.", "A service is linked by the person themselves, or on the command line of the server.")
		}
		m, err := auth.FindMember(tx, p.Merchant, nameOrID)
		if err != nil {
			return l, e, noPerson(err)
		}
		l, err = auth.LinkPerson(tx, p.Merchant, m.ID, key, external, p.Chain()[0])
		return l, linked(l), taken(err)
	})
}

// UnlinkPerson ends a link of a person, by name or id.
func (g *Gate) UnlinkPerson(ctx context.Context, by By, nameOrID, id string) error {
	op := Op{Event: "person.unlinked", Scope: auth.KeysAdmin}
	_, err := Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (struct{}, audit.Entry, error) {
		m, err := auth.FindMember(tx, p.Merchant, nameOrID)
		if err != nil {
			return struct{}{}, audit.Entry{}, noPerson(err)
		}
		e := audit.Entry{Resource: "person_link:" + id, Reason: "person:" + m.ID}
		return struct{}{}, e, noLink(auth.UnlinkPerson(tx, p.Merchant, m.ID, id, p.Chain()[0]))
	})
	return err
}

// PersonLinks gives the services that are linked to a person, by name or id.
func (g *Gate) PersonLinks(ctx context.Context, by By, nameOrID string) ([]auth.PersonLink, error) {
	op := Op{Event: "person.links_read", Scope: auth.KeysAdmin}
	return examine(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) ([]auth.PersonLink, string, error) {
		m, err := auth.FindMember(tx, p.Merchant, nameOrID)
		if err != nil {
			return nil, "", noPerson(err)
		}
		links, err := auth.PersonLinks(tx, p.Merchant, m.ID)
		return links, "person:" + m.ID, err
	})
}

func linked(l auth.PersonLink) audit.Entry {
	return audit.Entry{
		Resource: "person_link:" + l.ID, Reason: "person:" + l.Person + " through key:" + l.Key, Personal: map[string]string{"external_id": l.External},
	}
}

// taken says whose an id is already without saying whose.
func taken(err error) error {
	if errors.Is(err, auth.ErrLinked) {
		return tools.Refuse(tools.Conflict, "If it is yours, ask an admin to end the other link.", "This id of the service is linked to a person already.")
	}
	return err
}

func noLink(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return tools.Refuse(tools.NotFound, "List the links of the person and use an id as it stands there.", "The person has no such link.")
	}
	return err
}

// named are the names in a ballot, for the record of its refusal: they may be anything.
func (b Ballot) named() map[string]string {
	names := map[string]string{"id": b.ID}
	if b.OnBehalfOf != "" {
		names["external_id"] = b.OnBehalfOf
	}
	return names
}
