package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/rehearsal"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// publishTool stands where a parked call names its tool. No agent can call it: it is in no registry.
const publishTool = "policy_publish"

// maxProposals is how many documents of one author may wait for people: each is kept whole, with its diff.
const maxProposals = 5

// A proposal is what people are asked to publish, as the job keeps it and its hash is bound.
type proposal struct {
	Source string `json:"source"`
	Note   string `json:"note"`
}

// propose asks people about a draft. It becomes a version when they agree, if then the same one is in force as now.
func (g *Gate) propose(tx *store.Tx, by By, p auth.Principal, d Draft, need policy.Need, made *Published) (audit.Entry, error) {
	waiting, err := approvals.Waiting(tx, p.Merchant, author(p))
	if err == nil && waiting >= maxProposals {
		err = tools.Refuse(tools.LimitExceeded, "Have people decide about those first.", "%d documents of the same author wait for people.", waiting)
	}
	if err != nil {
		return audit.Entry{}, err
	}
	j, r, err := g.question(tx, by, p, d, need)
	if err == nil {
		r, err = approvals.Park(tx, j, r)
	}
	made.Status, made.JobID, made.Approval, made.Preview = tools.PendingApproval, j.JobID, r.Told(), &r.Preview
	return audit.Entry{
		Event: "policy.proposed", CallID: j.CallID, JobID: j.JobID, ApprovalID: r.ID, Binding: r.BindingHash, Status: string(tools.PendingApproval),
		Resource: j.Resource, PolicyRule: r.Rule.Name, Reason: fmt.Sprintf("sha256 %s: %s", d.Hash, d.note),
	}, err
}

// question is what people are asked about a draft, and the job that waits for the answer.
func (g *Gate) question(tx *store.Tx, by By, p auth.Principal, d Draft, need policy.Need) (j approvals.Job, r approvals.Request, err error) {
	raw, err := json.Marshal(proposal{d.source, d.note})
	if err != nil {
		return j, r, fmt.Errorf("writing the proposal: %w", err)
	}
	args, err := schemas.Canonical(raw)
	if err != nil {
		return j, r, fmt.Errorf("writing the proposal: %w", err)
	}
	preview := d.preview()
	effect, err := approvals.EffectHash(preview, nil)
	rule := need.Rule("publishing.need")
	j = approvals.Job{
		Job:      tools.Job{JobID: store.NewID("job", tx.Now), Tool: publishTool, Summary: preview.Summary},
		Merchant: p.Merchant, CallID: store.NewID("call", tx.Now), PrincipalID: author(p), Chain: p.Chain(), Transport: by.Transport,
		Args: args, ArgsHash: schemas.Fingerprint(args), Resource: policy.Version{Number: d.Base + 1}.Resource(), Policy: d.Base, Rule: rule.Name,
	}
	return j, approvals.Request{
		Rule: rule, Preview: preview, AgentReason: d.note, AskedBy: askedBy(p),
		Binding: approvals.Binding{
			V: 1, Merchant: j.Merchant, Tool: j.Tool, ArgsHash: j.ArgsHash, Chain: j.Chain, PolicyVersion: d.Base, PolicyRule: j.Rule,
			Resource: j.Resource, ResourceVersion: d.live.Hash, EffectHash: effect,
		},
	}, err
}

// rehearsed tries a draft on the record where people are asked about it. It comes before the rights are taken: nobody waits for it but its author.
func (g *Gate) rehearsed(ctx context.Context, merchant string, d *Draft) error {
	takes, err := d.live.Publishing()
	if err != nil || !takes.Asks() {
		return nil //nolint:nilerr // that the version in force cannot be read is judged where it is published
	}
	d.rehearsal, err = g.rehearsal(ctx, merchant, d.ready, min(takes.Rehearses(), MaxRehearsed))
	return err
}

// shownAgents is how many agents people are shown of a rehearsal, those with most differences first.
const shownAgents = 20

// toTheMinute is how people are shown times.
const toTheMinute = "2006-01-02 15:04 MST"

// preview is what people see of a draft that they are asked about: what it would have done, whom it touches, and every line that it changes.
func (d Draft) preview() tools.Preview {
	r := d.rehearsal
	p := tools.Preview{
		Summary: fmt.Sprintf("Put version %d of the policy in force in place of version %d. Since %s: %s", d.Base+1, d.Base, r.Since.Format(toTheMinute), r.Summary),
		Content: d.Diff,
	}
	if !r.Complete {
		p.Warnings = append(p.Warnings, "There was no time to rehearse all calls: the rehearsal ends at "+r.Through.Format(toTheMinute))
	}
	for _, row := range r.Agents[:min(len(r.Agents), shownAgents)] {
		p.Changes = append(p.Changes, tools.Change{Object: row.Name, Field: string(row.Kind), From: "none", To: amounts(row)})
	}
	for _, s := range d.Profiles {
		p.Warnings = append(p.Warnings, s.String())
	}
	for _, w := range d.Warnings {
		p.Warnings = append(p.Warnings, w.Error())
	}
	return p
}

// amounts says how much a row of a rehearsal is about.
func amounts(row rehearsal.Row) string {
	parts := []string{shop.Thousands(row.Calls) + " calls"}
	if row.Customers > 0 {
		parts = append(parts, shop.Thousands(row.Customers)+" customers")
	}
	for _, currency := range slices.Sorted(maps.Keys(row.Money)) {
		parts = append(parts, shop.Money{AmountMinor: row.Money[currency], Currency: currency}.String())
	}
	return strings.Join(parts, ", ")
}

// author is whose job a proposal is.
func author(p auth.Principal) string {
	if p.Kind == auth.KindOperator {
		return auth.Operator
	}
	return p.ID
}

// publishApproved puts in force what people have agreed to. It is a change of rights, and takes these before the row of the job: everybody
// who votes or cancels has them in that order. What does not hold any more ends the job.
func (g *Gate) publishApproved(ctx context.Context, j approvals.Job) error {
	var d Draft
	var v policy.Version
	err := g.safely(j.CallID, func() (err error) {
		if d, err = g.redraft(ctx, j); err != nil {
			return err
		}
		return g.work(ctx, func(tx *store.Tx) (err error) {
			if err := auth.BeginChange(tx, j.Merchant); err != nil {
				return err
			}
			v, err = d.carryOut(tx, j)
			return err
		})
	})
	switch {
	case outOfReach(err):
		return errors.Join(err, g.work(ctx, func(tx *store.Tx) error { return approvals.Postpone(tx, j) }))
	case err != nil:
		c := g.stored(j, asker(j))
		c.Args, c.rule = nil, j.Rule // the record knows the document by its hash
		return g.end(ctx, j, c, err)
	case v.Number > 0:
		g.took(j.Merchant, d, v)
	}
	return nil
}

// redraft reads a proposal again, as it is stored and as its document is judged now.
func (g *Gate) redraft(ctx context.Context, j approvals.Job) (d Draft, err error) {
	var is proposal
	if err := json.Unmarshal(j.Args, &is); err != nil || schemas.Fingerprint(j.Args) != j.ArgsHash {
		return d, errors.Join(altered(), err)
	}
	err = g.db.Read(ctx, func(tx *store.Tx) error {
		d, err = g.DraftPolicy(tx, j.Merchant, is.Source)
		return err
	})
	d.note = is.Note
	if err == nil && len(d.Problems) > 0 {
		err = tools.Refuse(tools.ApprovalInvalidated, "Publish a document that is valid by now.", "The document is not valid any more: it has %d problems.", len(d.Problems))
	}
	return d, err
}

// carryOut publishes a draft in the transaction that uses up its approval. A version without a number says that somebody else was quicker.
func (d Draft) carryOut(tx *store.Tx, seen approvals.Job) (v policy.Version, err error) {
	j, ok, err := approvals.Take(tx, seen.JobID)
	if err != nil || !ok {
		return v, err
	}
	r, err := approvals.Find(tx, j.Merchant, j.ApprovalID)
	if err != nil {
		return v, err
	}
	if r.Overdue(tx.Now) {
		_, _, err = approvals.Lapse(tx, r) // a proposal has reserved nothing
		return v, err
	}
	if err := d.stillAgreed(tx, j, r); err != nil {
		return v, err
	}
	if v, err = d.enforce(tx, j.Merchant, j.Chain[0]); err != nil {
		return v, err
	}
	result, err := json.Marshal(v)
	if err != nil {
		return v, fmt.Errorf("writing the result: %w", err)
	}
	e := v.Entry()
	e.Merchant, e.CallID, e.JobID, e.ApprovalID, e.Binding = j.Merchant, j.CallID, j.JobID, r.ID, r.BindingHash
	e.Transport, e.Actor, e.Chain, e.PolicyVersion, e.PolicyRule = j.Transport, j.Chain[0], j.Chain, d.Base, j.Rule
	_, err = audit.Append(tx, e)
	return v, errors.Join(err, approvals.Consume(tx, j, r), approvals.Succeed(tx, j, tools.JobQueued, result))
}

// stillAgreed holds a proposal to what people agreed to, and everybody in it to what they may do now.
func (d Draft) stillAgreed(tx *store.Tx, j approvals.Job, r approvals.Request) error {
	p := auth.OperatorPrincipal(j.Merchant)
	var err error
	if j.PrincipalID != auth.Operator {
		p, err = auth.HoldLive(tx, j.Merchant, j.PrincipalID)
	}
	switch {
	case errors.Is(err, auth.ErrUnknownCredential), err == nil && !p.Has(auth.PolicyAdmin):
		return tools.Refuse(tools.ApprovalInvalidated, "Somebody who holds policy:admin publishes it.", "Who asked for it may not publish any more.")
	case err != nil:
		return err
	case !r.Intact(), r.Binding.ArgsHash != j.ArgsHash:
		return altered()
	case d.Base != r.Binding.PolicyVersion, d.live.Hash != r.Binding.ResourceVersion:
		return tools.Refuse(tools.ApprovalInvalidated, "Make the document from the version in force and publish it again.",
			"Another version of the policy came into force since it was asked.")
	}
	return agreed(tx, r)
}
