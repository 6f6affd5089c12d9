package gate

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// accountMax bounds the sessions that a person is shown.
const accountMax = 30

// An Account is what a person may see and change of themselves.
type Account struct {
	Roles    []string
	Sessions []auth.Session // live ones, newest first
	Passkeys []auth.Passkey
	Links    []auth.PersonLink // services that carry what they decide
	Services []auth.Key        // that they may link

	Deputies   []approvals.Delegation // in force or to come, in which p is one of the two
	Colleagues []auth.Person          // who could stand in for p
}

// Account gives what p may see of themselves. Every error is a *tools.Refusal.
func (g *Gate) Account(ctx context.Context, p auth.Principal) (Account, error) {
	var a Account
	err := g.db.Read(ctx, func(tx *store.Tx) error {
		p, err := renewed(tx, p)
		if err != nil {
			return err
		}
		sessions, err := auth.ListSessions(tx, p.Merchant, p.ID, "", accountMax)
		if err != nil {
			return err
		}
		for _, s := range sessions {
			if s.State(tx.Now) == "live" {
				a.Sessions = append(a.Sessions, s)
			}
		}
		if a.Passkeys, err = auth.ListPasskeys(tx, p.Merchant, p.ID); err != nil {
			return err
		}
		if a.Links, err = auth.PersonLinks(tx, p.Merchant, p.ID); err != nil {
			return err
		}
		if a.Services, err = auth.Carriers(tx, p.Merchant, accountMax); err != nil {
			return err
		}
		if a.Deputies, a.Colleagues, err = deputiesOf(tx, p); err != nil {
			return err
		}
		a.Roles, err = auth.RolesOf(tx, p.ID)
		return err
	})
	if err != nil {
		return Account{}, g.numbered(asRefusal(err), err)
	}
	return a, nil
}

// SignOut ends the session that p is in.
func (g *Gate) SignOut(ctx context.Context, p auth.Principal, b Browser) error {
	return g.own(ctx, p, b, Op{Event: "person.signed_out"}, func(tx *store.Tx, p auth.Principal) (audit.Entry, error) {
		return audit.Entry{Resource: "session:" + p.Session}, auth.RevokeSession(tx, p.Merchant, p.ID, p.Session)
	})
}

// EndSession ends one of p's sessions.
func (g *Gate) EndSession(ctx context.Context, p auth.Principal, b Browser, id string) error {
	return g.own(ctx, p, b, Op{Event: "session.revoked"}, func(tx *store.Tx, p auth.Principal) (audit.Entry, error) {
		return audit.Entry{Resource: "session:" + id}, auth.RevokeSession(tx, p.Merchant, p.ID, id)
	})
}

// EndOtherSessions ends all of p's sessions but the one p is in.
func (g *Gate) EndOtherSessions(ctx context.Context, p auth.Principal, b Browser) error {
	return g.own(ctx, p, b, Op{Event: "session.revoked"}, func(tx *store.Tx, p auth.Principal) (audit.Entry, error) {
		n, err := auth.RevokeSessions(tx, p.Merchant, p.ID, p.Session)
		return audit.Entry{Resource: "person:" + p.ID, Count: n, Reason: "all but session:" + p.Session}, err
	})
}

// BeginPasskey gives what p's browser needs to make a passkey, and the ceremony to bring back. A passkey opens the account for good, so p has to
// have shown lately who they are.
func (g *Gate) BeginPasskey(ctx context.Context, p auth.Principal, b Browser) (options json.RawMessage, sealed string, err error) {
	err = g.db.Read(ctx, func(tx *store.Tx) error {
		p, err := renewed(tx, p)
		if err == nil {
			err = confirmed(tx, p)
		}
		if err != nil {
			return err
		}
		made, c, err := auth.BeginPasskey(tx, b.Origin, p)
		if err != nil {
			return refusePasskey(err)
		}
		options = made
		sealed, err = auth.SealCeremony(tx, c)
		return err
	})
	if err != nil {
		return nil, "", g.numbered(asRefusal(err), err)
	}
	return options, sealed, nil
}

// AddPasskey keeps the passkey that p's browser made.
func (g *Gate) AddPasskey(ctx context.Context, p auth.Principal, b Browser, name string, response []byte) error {
	return g.own(ctx, p, b, Op{Event: "passkey.added", Recent: true}, func(tx *store.Tx, p auth.Principal) (audit.Entry, error) {
		c, err := auth.OpenCeremony(tx, b.Ceremony, auth.ToRegister)
		if err != nil {
			return audit.Entry{}, refusePasskey(err)
		}
		k, err := auth.AddPasskey(tx, c, p, name, response)
		return audit.Entry{Resource: "passkey:" + k.ID, Personal: map[string]string{"name": k.Name}}, refusePasskey(err)
	})
}

// RemovePasskey forgets one of p's passkeys.
func (g *Gate) RemovePasskey(ctx context.Context, p auth.Principal, b Browser, id string) error {
	return g.own(ctx, p, b, Op{Event: "passkey.removed"}, func(tx *store.Tx, p auth.Principal) (audit.Entry, error) {
		return audit.Entry{Resource: "passkey:" + id}, auth.RemovePasskey(tx, p.Merchant, p.ID, id)
	})
}

// own is a change that p makes of their own account.
func (g *Gate) own(ctx context.Context, p auth.Principal, b Browser, op Op, change func(*store.Tx, auth.Principal) (audit.Entry, error)) error {
	by := By{Principal: p, Transport: webTransport, Source: b.Source}
	_, err := Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (struct{}, audit.Entry, error) {
		e, err := change(tx, p)
		return struct{}{}, e, err
	})
	return err
}

// refusePasskey says what is wrong with a passkey that was not taken.
func refusePasskey(err error) error {
	if errors.Is(err, auth.ErrPasskey) || errors.Is(err, auth.ErrUnknownCredential) {
		return tools.Refuse(tools.InvalidArguments, "Begin again on the page of your account.", "The passkey was not accepted.")
	}
	return err
}

// colleaguesMax bounds the people among whom a person picks a deputy.
const colleaguesMax = 200

// deputiesOf gives the delegations in which p is one of the two, and the people who could stand in for p.
func deputiesOf(tx *store.Tx, p auth.Principal) (own []approvals.Delegation, others []auth.Person, err error) {
	all, err := approvals.Delegations(tx, p.Merchant)
	if err != nil {
		return nil, nil, err
	}
	own = slices.DeleteFunc(all, func(d approvals.Delegation) bool { return d.AbsentID != p.ID && d.DeputyID != p.ID })
	if !p.Has(auth.ApprovalsResolve) {
		return own, nil, nil
	}
	others, err = auth.Colleagues(tx, p.Merchant, p.ID, colleaguesMax)
	return own, others, err
}
