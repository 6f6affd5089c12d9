package gate

import (
	"context"
	"errors"
	"fmt"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// movesShown bounds the history that one request is shown.
const movesShown = 200

// MaxFeedbackNote bounds what somebody says to their feedback, in bytes.
const MaxFeedbackNote = 500

// readTrust lets people look at the trust in agents.
var readTrust = Op{Event: "trust.read", Scope: auth.KeysAdmin}

// Trusted lists where the agents stand that something has moved. All others are at the start.
func (g *Gate) Trusted(ctx context.Context, by By, l Listing) (Listed[trust.Standing], error) {
	return examine(ctx, g, by, readTrust, func(tx *store.Tx, p auth.Principal) (Listed[trust.Standing], string, error) {
		rules, _, err := g.trustRules(tx, p.Merchant)
		if err != nil {
			return Listed[trust.Standing]{}, "", err
		}
		read := func(tx *store.Tx, merchant string, page auth.Page) ([]trust.Standing, error) {
			return trust.List(tx, rules, merchant, page)
		}
		all, err := list(tx, p, "trust", l, read)
		return all, "", err
	})
}

// Trust gives where an agent stands.
func (g *Gate) Trust(ctx context.Context, by By, agent string) (trust.Standing, error) {
	return examine(ctx, g, by, readTrust, func(tx *store.Tx, p auth.Principal) (trust.Standing, string, error) {
		if err := isAgent(tx, p.Merchant, agent); err != nil {
			return trust.Standing{}, "", err
		}
		rules, _, err := g.trustRules(tx, p.Merchant)
		if err != nil {
			return trust.Standing{}, "", err
		}
		s, err := trust.StandingOf(tx, rules, p.Merchant, agent)
		return s, agentNamed(agent), err
	})
}

// TrustHistory gives what moved the trust in an agent, newest first.
func (g *Gate) TrustHistory(ctx context.Context, by By, agent string) ([]trust.Moved, error) {
	return examine(ctx, g, by, readTrust, func(tx *store.Tx, p auth.Principal) ([]trust.Moved, string, error) {
		if err := isAgent(tx, p.Merchant, agent); err != nil {
			return nil, "", err
		}
		all, err := trust.History(tx, p.Merchant, agent, movesShown)
		return all, agentNamed(agent), err
	})
}

// Feedback is what a person thinks of an agent.
type Feedback struct {
	Score trust.Score // by which its trust moves
	Note  string      // why
}

// GiveFeedback moves the trust in an agent by what a person thinks of it, within the bounds of the policy. To raise it lets the agent do more, so
// it takes what minting a key takes.
func (g *Gate) GiveFeedback(ctx context.Context, by By, agent string, f Feedback) (trust.Standing, error) {
	op := Op{Event: "trust.feedback", Scope: auth.KeysAdmin, Recent: f.Score > 0}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (s trust.Standing, e audit.Entry, err error) {
		if err := errors.Join(f.check(), isAgent(tx, p.Merchant, agent)); err != nil {
			return s, e, err
		}
		rules, version, err := g.trustRules(tx, p.Merchant)
		if err != nil {
			return s, e, err
		}
		c, err := trust.Move(tx, rules, p.Merchant, agent, trust.Signal{Kind: trust.Feedback, By: p.Chain()[0], Note: f.Note, Weight: &f.Score})
		if err != nil {
			return s, e, unfitFeedback(rules, err)
		}
		moved := audit.Entry{Merchant: p.Merchant, Resource: agentNamed(agent), PolicyVersion: version}
		if err := recordMove(tx, rules, moved, trust.Feedback, c); err != nil {
			return s, e, err
		}
		s, err = trust.StandingOf(tx, rules, p.Merchant, agent)
		e = audit.Entry{Resource: agentNamed(agent), Reason: became([]part{{"trust", c.Before.String(), c.After.String()}}), Personal: map[string]string{"note": f.Note}}
		return s, e, err
	})
}

func (f Feedback) check() error {
	switch {
	case f.Score == 0:
		return tools.Wrong("score", "moves nothing", "points by which the trust moves, such as -10 or 2.5", -10)
	case f.Note == "":
		return tools.Wrong("note", "is missing", "why, for whoever reads the history", "It sent the same refund twice.")
	case len(f.Note) > MaxFeedbackNote:
		return tools.Wrong("note", "is too long", fmt.Sprintf("at most %d bytes", MaxFeedbackNote), nil)
	case secret.In(f.Note):
		return pastedSecret()
	}
	return nil
}

// unfitFeedback says how much feedback may weigh.
func unfitFeedback(r trust.Rules, err error) error {
	switch {
	case !errors.Is(err, trust.ErrFeedback):
		return err
	case !r.Used():
		return tools.Refuse(tools.Conflict, "Publish a policy with the section trust.", "The policy in force keeps no trust in agents.")
	}
	return tools.Wrong("score", "is more than the policy allows", fmt.Sprintf("%s to %s", r.Feedback.Lowest, r.Feedback.Highest), r.Feedback.Lowest)
}

// isAgent refuses an id that is no agent's of the merchant.
func isAgent(tx *store.Tx, merchant, id string) error {
	found := false
	_, ok := store.IDTime(id) // no text that PostgreSQL would refuse
	if ok {
		var err error
		if found, err = auth.IsAgent(tx, merchant, id); err != nil {
			return err
		}
	}
	if !found {
		return tools.Refuse(tools.NotFound, "Use the id of a key (key_…) or of an issuer's agent (jwt_…). A sub-token shares the trust in the key above it.", "There is no agent of this id.")
	}
	return nil
}
