package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A Ballot is what somebody says to a parked call, as a transport hands it over.
type Ballot struct {
	ID       string // of the approval or of its job
	Decision approvals.Decision
	Override bool // to decide alone, where the request's rule lets somebody
	Reason   string
	Seen     string // the binding hash that was seen, whole or as fingerprint; '' when the channel states none
	Channel  string // rest, cli, webhook
	Source   string
	// OnBehalfOf is whose ballot a service carries, by the id that it knows them by; '' when it is the caller's own.
	OnBehalfOf string
	Wrong      *tools.Refusal // what the transport found wrong with it, so that it says nothing
}

// maxReason bounds what a person may say to a request, in bytes.
const maxReason = 2000

// A Decided is a request after a vote, with the job it decided about.
type Decided struct {
	approvals.Request
	Job tools.Job `json:"job"`
}

// Vote counts p's ballot: the call runs when the approvals satisfy the request's rule, and one denial ends it. Only people vote; an
// agent's key never does, whatever its scopes. The vote and its record are one transaction. A ballot that repeats p's own vote is
// answered like the first. Every error is a *tools.Refusal.
func (g *Gate) Vote(ctx context.Context, p auth.Principal, b Ballot) (Decided, error) {
	var d Decided
	err := mayVote(p, b)
	if err == nil {
		err = g.db.InTx(ctx, func(tx *store.Tx) (err error) {
			d, err = g.cast(tx, p, b)
			return err
		})
	}
	if err != nil {
		return Decided{}, g.refusePerson(ctx, p, refusedAs(err), b, err)
	}
	g.notify()
	return d, nil
}

func mayDecide(p auth.Principal) error {
	if p.Kind != auth.KindPerson {
		return tools.Refuse(tools.ForbiddenApprover, "A person decides, with a person's token (sq_usr_…) or on the command line. Poll the job meanwhile.",
			"An agent's key cannot decide about approvals.")
	}
	if !p.Has(auth.ApprovalsResolve) {
		return tools.Refuse(tools.ForbiddenApprover, "Ask an admin for a role that holds approvals:resolve, such as manager.",
			"None of this person's roles may decide about approvals.")
	}
	return nil
}

// mayRead lets people look at what waits.
func mayRead(p auth.Principal) error {
	if p.Kind == auth.KindPerson && !p.Has(auth.ApprovalsRead) {
		return lacks([]auth.Scope{auth.ApprovalsRead}, "None of this person's roles holds the scope %s, which %s takes.", "looking at approvals")
	}
	if p.Kind == auth.KindPerson {
		return nil
	}
	return mayDecide(p)
}

func mayVote(p auth.Principal, b Ballot) error {
	if err := mayDecide(p); err != nil && b.OnBehalfOf == "" { // otherwise it is asked of the person, once it is known who that is
		return err
	}
	switch {
	case b.Wrong != nil:
		return b.Wrong
	case b.Decision != approvals.Approve && b.Decision != approvals.Deny:
		return tools.Wrong("decision", "is not a decision", "one of: approve, deny", "deny")
	case secret.In(b.Reason):
		return pastedSecret()
	case len(b.Reason) > maxReason:
		return tools.Wrong("reason", "is too long", fmt.Sprintf("at most %d bytes", maxReason), nil)
	}
	return nil
}

func (g *Gate) cast(tx *store.Tx, p auth.Principal, b Ballot) (Decided, error) {
	p, err := hold(tx, p)
	if err == nil {
		p, err = g.carried(tx, p, b)
	}
	if err == nil {
		err = mayDecide(p)
	}
	if err != nil {
		return Decided{}, err
	}
	r, err := approvals.Find(tx, p.Merchant, b.ID)
	if err != nil {
		return Decided{}, err
	}
	v := b.vote(p, r)
	if err := mayVoteOn(tx, p, r, v); err != nil {
		return Decided{}, err
	}
	if cause := approvals.Cast(tx, r, v); cause != nil {
		now, err := approvals.Find(tx, p.Merchant, r.ID)
		if err != nil {
			return Decided{}, cause
		}
		if !now.Heard(v) {
			return Decided{}, explain(now, cause)
		}
		if err := recordRepeat(tx, p, r, b); err != nil {
			return Decided{}, err
		}
	} else if err := g.denied(tx, r, v); err != nil {
		return Decided{}, err
	}
	d, err := decided(tx, p, r.ID)
	if err != nil || d.State != approvals.Rejected {
		return d, err
	}
	j, err := approvals.FindJob(tx, p.Merchant, r.JobID)
	if err != nil {
		return d, err
	}
	return d, giveBack(tx, j)
}

func (b Ballot) vote(p auth.Principal, r approvals.Request) approvals.Vote {
	v := approvals.Vote{
		PersonID: p.ID, Person: p.Name, Decision: b.Decision, Override: b.Override, Reason: b.Reason, Seen: b.Seen, Channel: b.Channel,
	}
	if v.Seen == r.Fingerprint {
		v.Seen = r.BindingHash
	}
	return v
}

// mayVoteOn asks whether somebody who may decide may do so about r.
func mayVoteOn(tx *store.Tx, p auth.Principal, r approvals.Request, v approvals.Vote) error {
	switch {
	case r.Bars(r.Rule, v):
		return tools.Refuse(tools.ForbiddenApprover, "Somebody else has to decide: it needs the approval of "+r.Needs+".",
			"It was asked for this person, who therefore has no say in it.")
	case v.Override:
		return mayOverride(tx, p, r, v)
	}
	roles, err := auth.RolesOf(tx, p.ID)
	if open := tx.Now.Sub(r.CreatedAt); err == nil && !r.Rule.Admits(roles, open) {
		return tools.Refuse(tools.ForbiddenApprover, "Leave it to somebody who has one of these roles, or ask an admin for one.",
			"The rule %s lets people with these roles vote: %s. This person has none of them.", r.Rule.Name, strings.Join(r.Rule.Voters(open), ", "))
	}
	return err
}

// mayOverride asks whether a person may decide alone about what takes others.
func mayOverride(tx *store.Tx, p auth.Principal, r approvals.Request, v approvals.Vote) error {
	switch {
	case !r.Rule.Override:
		return tools.Refuse(tools.ForbiddenApprover, "Vote without override. It needs the approval of "+r.Needs+".", "The rule %s lets nobody override it.", r.Rule.Name)
	case !p.Has(auth.ApprovalsOverride):
		return tools.Refuse(tools.ForbiddenApprover, "Vote without override, or ask an admin for a role that holds approvals:override.",
			"None of this person's roles may override an approval rule.")
	case strings.TrimSpace(v.Reason) == "":
		return tools.Wrong("reason", "is missing", "why this is decided without those whom the rule asks for", "The sale ends tonight and nobody else can be reached")
	}
	return confirmed(tx, p)
}

func recordRepeat(tx *store.Tx, p auth.Principal, r approvals.Request, b Ballot) error {
	_, err := audit.Append(tx, audit.Entry{
		Merchant: p.Merchant, Event: "approval.vote", Transport: b.Channel, Source: b.Source, Actor: p.Chain()[0], Chain: p.Chain(),
		Status: "replayed", JobID: r.JobID, ApprovalID: r.ID, Binding: r.BindingHash, PolicyVersion: p.PolicyVersion,
	})
	return err
}

func decided(tx *store.Tx, p auth.Principal, id string) (Decided, error) {
	r, err := approvals.Find(tx, p.Merchant, id)
	if err != nil {
		return Decided{}, err
	}
	j, err := approvals.FindJob(tx, p.Merchant, r.JobID)
	return Decided{Request: r, Job: j.Job}, err
}

// explain turns what a vote met into a refusal.
func explain(r approvals.Request, err error) error {
	switch {
	case errors.Is(err, approvals.ErrExpired):
		return tools.Refuse(tools.ApprovalExpired, "The agent may ask again.", "The time to decide is over.")
	case errors.Is(err, approvals.ErrOtherHash):
		return tools.Refuse(tools.Conflict, "Look at the request again and decide about what stands there now.",
			"The hash that was seen is not the one that the request is bound to (%s).", r.Fingerprint)
	case errors.Is(err, approvals.ErrAltered):
		return altered()
	case errors.Is(err, approvals.ErrDecided), errors.Is(err, approvals.ErrVoted):
		return tools.Refuse(tools.Conflict, "Nothing is left to decide; look at the job.", "It is decided already: %s.", r.State)
	}
	return err
}

// refusePerson records what somebody who is no agent was refused, and gives the refusal.
func (g *Gate) refusePerson(ctx context.Context, p auth.Principal, event string, b Ballot, cause error) *tools.Refusal {
	r := *asRefusal(cause)
	r.CallID, r.PolicyVersion = store.NewID("call", g.db.Now()), p.PolicyVersion
	g.logInternal(r.CallID, r.Code, cause)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	err := g.db.InTx(ctx, func(tx *store.Tx) error {
		_, err := audit.Append(tx, audit.Entry{
			Merchant: p.Merchant, Event: event, CallID: r.CallID, Transport: b.Channel, Source: b.Source,
			Actor: p.Chain()[0], Chain: p.Chain(), Status: "refused", Code: string(r.Code), Reason: r.Message, PolicyVersion: p.PolicyVersion,
			Personal: b.named(),
		})
		return err
	})
	if err != nil {
		g.logInternal(r.CallID, tools.Internal, err)
		return asRefusal(store.ErrUnavailable)
	}
	return &r
}

// Requests lists for a person what waits for a decision, oldest first, or everything, newest first.
func (g *Gate) Requests(ctx context.Context, p auth.Principal, all bool) ([]approvals.Request, error) {
	return look(ctx, g, p, "", func(tx *store.Tx) ([]approvals.Request, error) { return approvals.List(tx, p.Merchant, all, listMax) })
}

// Request gives one request with its votes and its job, for a person.
func (g *Gate) Request(ctx context.Context, p auth.Principal, id string) (Decided, error) {
	return look(ctx, g, p, id, func(tx *store.Tx) (Decided, error) { return decided(tx, p, id) })
}

// listMax bounds a list of requests.
const listMax = 200

// look reads something for a person who may decide, and records that it was read. Every error is a *tools.Refusal.
func look[T any](ctx context.Context, g *Gate, p auth.Principal, id string, read func(*store.Tx) (T, error)) (found T, err error) {
	err = g.db.Read(ctx, func(tx *store.Tx) (err error) {
		if p, err = renewed(tx, p); err == nil {
			err = mayRead(p)
		}
		if err == nil {
			found, err = read(tx)
		}
		return err
	})
	if err == nil {
		err = g.db.InTx(ctx, func(tx *store.Tx) error {
			_, err := audit.Append(tx, audit.Entry{
				Merchant: p.Merchant, Event: "approval.read", Actor: p.Chain()[0], Chain: p.Chain(), Status: string(tools.Done),
				ApprovalID: id, PolicyVersion: p.PolicyVersion,
			})
			return err
		})
	}
	if err != nil {
		var none T
		return none, g.refusePerson(ctx, p, "approval.refused", Ballot{ID: id}, err)
	}
	return found, nil
}
