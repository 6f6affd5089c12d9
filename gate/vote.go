package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

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
	Override bool   // to decide alone, where the request's rule lets somebody
	For      string // the id of a person who is away and stood in for
	Reason   string
	Seen     string // the binding hash that was seen, whole or as fingerprint
	// Acknowledged says that the person has read what of the agent's reason does not fit the record.
	Acknowledged bool
	OpenSeconds  int64  // for how long it was looked at; 0: not known
	Channel      string // rest, cli, web, webhook
	Source       string
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
	store.Reach(store.Voted)
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
	}
	return b.sayable()
}

// sayable asks whether what somebody says to a request can stand on record.
func (b Ballot) sayable() error {
	switch {
	case !utf8.ValidString(b.Reason), strings.ContainsRune(b.Reason, 0):
		return tools.Wrong("reason", "is no text", "text in UTF-8, without NUL", nil)
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
	v, err := b.vote(tx, p)
	if err == nil {
		err = g.mayVoteNow(tx, p, r, v)
	}
	if err != nil {
		return Decided{}, err
	}
	now, cause := approvals.Cast(tx, r, v)
	switch {
	case cause == nil:
		err = g.denied(tx, r, v)
	case now.Heard(v):
		err = recordRepeat(tx, p, r, b)
	default:
		err = explain(now, v, tx.Now, cause)
	}
	if err != nil {
		return Decided{}, err
	}
	return g.afterwards(tx, p, r)
}

// afterwards gives a request after something happened to it. What its call has reserved is given back if it will not run.
func (g *Gate) afterwards(tx *store.Tx, p auth.Principal, r approvals.Request) (Decided, error) {
	d, err := decided(tx, p, r.ID)
	if err != nil || d.Job.Status != tools.JobCancelled {
		return d, err
	}
	j, err := approvals.FindJob(tx, p.Merchant, r.JobID)
	if err != nil {
		return d, err
	}
	return d, giveBack(tx, j)
}

func (b Ballot) vote(tx *store.Tx, p auth.Principal) (approvals.Vote, error) {
	v := approvals.Vote{
		PersonID: p.ID, Person: p.Name, For: b.For, Decision: b.Decision, Override: b.Override, Reason: b.Reason, Seen: b.Seen,
		Acknowledged: b.Acknowledged, OpenSeconds: b.OpenSeconds, Channel: b.Channel,
	}
	if b.For == "" {
		return v, nil
	}
	absent, err := auth.FindPerson(tx, p.Merchant, b.For)
	if errors.Is(err, auth.ErrUnknownCredential) || errors.Is(err, store.ErrNotFound) {
		return v, notDeputy()
	}
	v.For, v.ForName = absent.ID, absent.Name
	return v, err
}

// mayVoteNow asks for what a vote takes beside the rules of the request: who consents to what cannot be undone, or decides alone, has shown
// lately who they are.
func (g *Gate) mayVoteNow(tx *store.Tx, p auth.Principal, r approvals.Request, v approvals.Vote) error {
	if v.Decision == approvals.Approve && (v.Override || g.undoOf(r).Never != "") {
		return confirmed(tx, p)
	}
	return nil
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

// explain turns what a vote met into a refusal that says what to do.
func explain(r approvals.Request, v approvals.Vote, now time.Time, err error) error {
	switch {
	case errors.Is(err, approvals.ErrExpired):
		return tools.Refuse(tools.ApprovalExpired, "The agent may ask again.", "The time to decide is over.")
	case errors.Is(err, approvals.ErrUnseen):
		return tools.Wrong("seen_sha256", "is missing", "the binding_sha256 or the fingerprint of the request as you have read it", r.Fingerprint)
	case errors.Is(err, approvals.ErrOtherHash):
		return tools.Refuse(tools.Conflict, "Look at the request again and decide about what stands there now.",
			"The hash that was seen is not the one that the request is bound to (%s).", r.Fingerprint)
	case errors.Is(err, approvals.ErrAltered):
		return altered()
	case errors.Is(err, approvals.ErrDecided):
		return tools.Refuse(tools.Conflict, "Nothing is left to decide; look at the job.", "It is decided already: %s.", r.State)
	case errors.Is(err, approvals.ErrVoted):
		return tools.Refuse(tools.Conflict, "Nothing is left for this person to decide. It needs the approval of "+r.Missing+".",
			"This person, or the one stood in for, has a vote already.")
	case errors.Is(err, approvals.ErrNoReason):
		return tools.Wrong("reason", "is missing", "why, for the agent and for the record", "The campaign text names the wrong discount")
	case errors.Is(err, approvals.ErrUnread):
		return tools.Wrong("acknowledged", "is missing", "true, once you have read what of the agent's reason does not fit the record (claims)", true)
	}
	return forbidden(r, v, now, err)
}

// forbidden turns what keeps a person from voting into a refusal.
func forbidden(r approvals.Request, v approvals.Vote, now time.Time, err error) error {
	switch open := now.Sub(r.CreatedAt); {
	case errors.Is(err, approvals.ErrBarred):
		return tools.Refuse(tools.ForbiddenApprover, "Somebody else has to decide: it needs the approval of "+r.Needs+".",
			"It was asked for this person, who therefore has no say in it.")
	case errors.Is(err, approvals.ErrNoDeputy):
		return notDeputy()
	case errors.Is(err, approvals.ErrNoDecider):
		return tools.Refuse(tools.ForbiddenApprover, "Ask an admin for a role that holds approvals:resolve, such as manager.",
			"None of this person's roles may decide about approvals.")
	case errors.Is(err, approvals.ErrNoRule):
		return tools.Refuse(tools.ForbiddenApprover, "Vote without override. It needs the approval of "+r.Needs+".", "The rule %s lets nobody override it.", r.Rule.Name)
	case errors.Is(err, approvals.ErrNoRole) && v.Override:
		return tools.Refuse(tools.ForbiddenApprover, "Vote without override, or ask an admin for a role that holds approvals:override.",
			"None of this person's roles may override an approval rule.")
	case errors.Is(err, approvals.ErrNoRole):
		return tools.Refuse(tools.ForbiddenApprover, "Leave it to somebody who has one of these roles, or ask an admin for one.",
			"The rule %s lets people with these roles vote: %s. This person has none of them.", r.Rule.Name, strings.Join(r.Rule.Voters(open), ", "))
	}
	return err
}

func notDeputy() error {
	return tools.Refuse(tools.ForbiddenApprover, "Vote in your own name, or have an admin say from when to when you stand in.", "This person does not stand in for that one now.")
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
