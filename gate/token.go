package gate

import (
	"context"
	"errors"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// callerOf finds whom a credential belongs to: one of ours, or where issuers are configured a token of theirs.
func (g *Gate) callerOf(ctx context.Context, secret, source string) (p auth.Principal, err error) {
	if g.issuers != nil && auth.IsJWT(secret) {
		return g.agentOf(ctx, secret, source)
	}
	err = g.db.Read(ctx, func(tx *store.Tx) (err error) {
		p, err = g.known.Authenticate(tx, secret)
		return err
	})
	return p, err
}

// agentOf finds the agent that a token speaks for. Only a token that says something new is written down, so that most cost no
// write.
func (g *Gate) agentOf(ctx context.Context, jwt, source string) (p auth.Principal, err error) {
	t, err := g.issuers.Verify(ctx, jwt, g.db.Now())
	if err != nil {
		return p, err
	}
	err = g.db.Read(ctx, func(tx *store.Tx) (err error) {
		p, err = auth.AuthenticateJWT(tx, t)
		return err
	})
	if !errors.Is(err, auth.ErrNewToken) {
		return p, err
	}
	err = g.db.InTx(ctx, func(tx *store.Tx) error {
		var first bool
		if p, first, err = auth.AdmitJWT(tx, t); err != nil || !first {
			return err
		}
		_, err := audit.Append(tx, audit.Entry{
			Merchant: p.Merchant, Event: "jwt.first_seen", Source: source, Actor: p.Chain()[0], Chain: p.Chain(), Status: string(tools.Done),
			Resource: "jwt:" + p.ID, Reason: t.Issuer, PolicyVersion: p.PolicyVersion,
			Personal: map[string]string{"subject": t.Subject}, // it may name a person
		})
		return err
	})
	return p, err
}
