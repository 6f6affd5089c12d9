package gate

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// Withdraw takes back p's own yes to a request that is not decided yet. Every error is a *tools.Refusal.
func (g *Gate) Withdraw(ctx context.Context, p auth.Principal, b Ballot) (Decided, error) {
	return g.decide(ctx, p, b, func(tx *store.Tx, p auth.Principal, r approvals.Request) error {
		v := approvals.Vote{PersonID: p.ID, Person: p.Name, Decision: approvals.Approve, Reason: b.Reason, Channel: b.Channel}
		now, err := approvals.Withdraw(tx, r, v)
		if errors.Is(err, approvals.ErrNoVote) {
			return tools.Refuse(tools.Conflict, "Nothing is left to withdraw.", "You have given no yes that counts.")
		}
		if err != nil {
			return explain(now, v, tx.Now, err)
		}
		return nil
	})
}

// CallOff ends a request that waits, or whose call has not begun, for whoever it was asked for and for admins. Every error is a *tools.Refusal.
func (g *Gate) CallOff(ctx context.Context, p auth.Principal, b Ballot) (Decided, error) {
	return g.decide(ctx, p, b, func(tx *store.Tx, p auth.Principal, r approvals.Request) error {
		if err := mayCancel(p, r); err != nil {
			return err
		}
		why := p.Name + " called it off."
		if reason := strings.TrimSpace(b.Reason); reason != "" {
			why = p.Name + " called it off: " + reason
		}
		now, err := approvals.Cancel(tx, r, p.Chain()[0], why)
		if err != nil {
			return explain(now, approvals.Vote{}, tx.Now, err)
		}
		return nil
	})
}

// mayCancel asks whether p may end what somebody else asked for: it was asked for p, or p administers who may ask.
func mayCancel(p auth.Principal, r approvals.Request) error {
	if p.Kind == auth.KindPerson && (slices.Contains(r.Binding.Chain, "person:"+p.ID) || p.Has(auth.KeysAdmin)) {
		return nil
	}
	return tools.Refuse(tools.ForbiddenApprover, "Deny it, or leave it to whoever answers for the agent, or to an admin.", "It was not asked for this person.")
}

// decide is what a person does to a request and its record, in one transaction.
func (g *Gate) decide(ctx context.Context, p auth.Principal, b Ballot, act func(*store.Tx, auth.Principal, approvals.Request) error) (d Decided, err error) {
	err = g.db.InTx(ctx, func(tx *store.Tx) error {
		p, err := hold(tx, p)
		if err == nil {
			err = cmp.Or(mayRead(p), b.sayable())
		}
		if err != nil {
			return err
		}
		r, err := approvals.Find(tx, p.Merchant, b.ID)
		if err == nil {
			err = act(tx, p, r)
		}
		if err == nil {
			d, err = g.afterwards(tx, p, r)
		}
		return err
	})
	if err != nil {
		return Decided{}, g.refusePerson(ctx, p, "approval.refused", b, err)
	}
	return d, nil
}
