package gate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A Deputising asks that one person stands in for another. Absent is empty for whoever asks.
type Deputising struct {
	Absent, Deputy string // names or ids
	From, Until    time.Time
}

// Deputise lets somebody stand in for by, or, for whoever administers who may do what, for somebody else. Every error is a *tools.Refusal.
func (g *Gate) Deputise(ctx context.Context, by By, ask Deputising) (approvals.Delegation, error) {
	op := Op{Event: "approval.delegated", Recent: true}
	if ask.Absent != "" {
		op.Scope = auth.KeysAdmin
	}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (approvals.Delegation, audit.Entry, error) {
		d, err := ask.delegation(tx, p)
		if err == nil {
			d, err = approvals.Delegate(tx, d)
		}
		return d, audit.Entry{
			Resource: "delegation:" + d.ID, Reason: "person:" + d.DeputyID + " for person:" + d.AbsentID + " until " + d.Until.Format(time.RFC3339),
		}, wrongDelegation(err)
	})
}

// delegation names both people as they stand in the database now.
func (ask Deputising) delegation(tx *store.Tx, p auth.Principal) (d approvals.Delegation, err error) {
	absent := p
	switch {
	case ask.Absent != "":
		absent, err = auth.FindPerson(tx, p.Merchant, ask.Absent)
	case p.Kind == auth.KindOperator:
		err = tools.Wrong("absent", "is missing", "the name or id of the person who is away", nil)
	case p.Kind != auth.KindPerson:
		err = tools.Refuse(tools.ForbiddenApprover, "Leave it to people, who vote with a person's token or on their pages.", "Nobody stands in for an agent.")
	}
	if err != nil {
		return d, noPerson(err)
	}
	if err := mayLend(tx, p, absent); err != nil {
		return d, err
	}
	deputy, err := auth.FindPerson(tx, p.Merchant, ask.Deputy)
	if err != nil {
		return d, noPerson(err)
	}
	return approvals.Delegation{
		Merchant: p.Merchant, AbsentID: absent.ID, Absent: absent.Name, DeputyID: deputy.ID, Deputy: deputy.Name,
		From: ask.From, Until: ask.Until, MadeBy: p.Chain()[0],
	}, nil
}

// mayLend refuses people who would lend out roles of somebody else that hold more than they hold themselves: they could not give them either.
func mayLend(tx *store.Tx, p, absent auth.Principal) error {
	if absent.ID == p.ID {
		return nil
	}
	roles, err := auth.RolesOf(tx, absent.ID)
	if err != nil {
		return err
	}
	return mayAppoint(tx, p, roles)
}

func wrongDelegation(err error) error {
	switch {
	case errors.Is(err, approvals.ErrSamePerson):
		return tools.Wrong("deputy", "is the absent person", "somebody else", nil)
	case errors.Is(err, approvals.ErrNoSpan):
		return tools.Wrong("until", "is no end", "a time after from and after now, 90 days after from at most, such as 2026-12-24T18:00:00Z", nil)
	case errors.Is(err, approvals.ErrTooManyStandIn):
		return tools.Refuse(tools.LimitExceeded, "End some first.", "There cannot be more: %s.", err)
	}
	return err
}

// EndDeputy ends a delegation before its time: the absent person, the deputy, or whoever administers who may do what. Every error is a *tools.Refusal.
func (g *Gate) EndDeputy(ctx context.Context, by By, id string) (approvals.Delegation, error) {
	return Administer(ctx, g, by, Op{Event: "approval.delegation_ended"}, func(tx *store.Tx, p auth.Principal) (approvals.Delegation, audit.Entry, error) {
		d, err := approvals.FindDelegation(tx, p.Merchant, id)
		if err == nil && p.ID != d.AbsentID && p.ID != d.DeputyID {
			err = entitled(p, Op{Event: "ending it", Scope: auth.KeysAdmin})
		}
		if err == nil {
			err = approvals.EndDelegation(tx, p.Merchant, d.ID)
		}
		return d, audit.Entry{Resource: "delegation:" + d.ID}, err
	})
}

// Deputies gives the delegations that are in force or to come, for people. Every error is a *tools.Refusal.
func (g *Gate) Deputies(ctx context.Context, p auth.Principal) ([]approvals.Delegation, error) {
	return look(ctx, g, p, "", func(tx *store.Tx) ([]approvals.Delegation, error) { return approvals.Delegations(tx, p.Merchant) })
}

// MaxReportDays bounds how far back a report looks.
const MaxReportDays = 90

// ApprovalReport tells people how the requests of the last days went, rule by rule. Every error is a *tools.Refusal.
func (g *Gate) ApprovalReport(ctx context.Context, p auth.Principal, days int) ([]approvals.RuleReport, error) {
	return look(ctx, g, p, "", func(tx *store.Tx) ([]approvals.RuleReport, error) {
		if days < 1 || days > MaxReportDays {
			return nil, tools.Wrong("days", "is out of range", fmt.Sprintf("1 to %d", MaxReportDays), 7)
		}
		return approvals.Report(tx, p.Merchant, tx.Now.AddDate(0, 0, -days))
	})
}
