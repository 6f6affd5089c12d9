package gate

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// checkStanding reads the caller again on the snapshot that answers the call. A read that waits does so each time it looks,
// so that it ends when its caller does.
func (g *Gate) checkStanding(ctx context.Context, c *call) error { return g.stand(ctx, c, auth.Renew) }

// checkHeld reads the caller again and keeps it as it is until the call's transaction ends: a revocation that is
// acknowledged has waited for the writes that run, and none commits after it.
func (g *Gate) checkHeld(ctx context.Context, c *call) error { return g.stand(ctx, c, hold) }

func (g *Gate) stand(ctx context.Context, c *call, read func(*store.Tx, auth.Principal) (auth.Principal, error)) error {
	c.askAhead()
	now, err := read(c.Tx, c.Principal)
	if errors.Is(err, auth.ErrUnknownCredential) {
		return unauthorized()
	}
	if err != nil {
		return err
	}
	if !now.Same(c.Principal) {
		c.madeBy(now)
		if err := g.judge(ctx, c, grantChecks); err != nil {
			return err
		}
	}
	return c.learn()
}

// hold is auth.Hold with the refusal that a caller is told.
func hold(tx *store.Tx, p auth.Principal) (auth.Principal, error) {
	now, err := auth.Hold(tx, p)
	if errors.Is(err, auth.ErrUnknownCredential) {
		return p, unauthorized()
	}
	return now, err
}

// renewed is auth.Renew with the refusal that a caller is told.
func renewed(tx *store.Tx, p auth.Principal) (auth.Principal, error) {
	now, err := auth.Renew(tx, p)
	if errors.Is(err, auth.ErrUnknownCredential) {
		return p, unauthorized()
	}
	return now, err
}

func unauthorized() *tools.Refusal {
	return tools.Refuse(tools.Unauthorized,
		"Send a valid key as Authorization: Bearer sq_agt_… or X-Agent-Key: sq_agt_…; an admin mints one with `dtcgate key mint`.",
		"The credential is missing or not valid.")
}

// checkTools asks whether a link of the caller's chain names only some tools.
func (g *Gate) checkTools(_ context.Context, c *call) error {
	if c.Tool.NamedFor(c.Principal) {
		return nil
	}
	return tools.Refuse(tools.ForbiddenTool, "Work with the tools that dtc_whoami lists, or ask whoever gave you the token for one that names it.",
		"This credential is limited to some tools, and %s is not among them.", c.Tool.Name)
}

// checkNetwork asks whether the caller may still be where it is. That it might as it came is known.
func (g *Gate) checkNetwork(_ context.Context, c *call) error {
	if addr, _ := netip.ParseAddr(c.req.Source); !c.Principal.MayComeFrom(addr) {
		return foreignNetwork()
	}
	return nil
}

func foreignNetwork() *tools.Refusal {
	return tools.Refuse(tools.ForbiddenNetwork, "Call from where it was made for, or ask whoever gave it to you to add this network.",
		"This credential may not be used from this network.")
}

// checkRate takes the call from the rates of the caller's chain. A call that is refused later has been made all the same.
func (g *Gate) checkRate(ctx context.Context, c *call) error { return g.charge(ctx, c.Principal) }

func (g *Gate) charge(ctx context.Context, p auth.Principal) error {
	if !p.Limited() {
		return nil
	}
	err := g.db.InTx(ctx, func(tx *store.Tx) error { return auth.Spend(tx, p) })
	spent := (*auth.TooOften)(nil)
	if !errors.As(err, &spent) {
		return err
	}
	seconds := int64((spent.Wait + time.Second - 1) / time.Second)
	r := tools.Refuse(tools.RateLimited, "Wait that long, then go on more slowly.",
		"The rate limit of this credential, or of one it comes from, is reached. The next call is let through in %d s.", seconds)
	r.RetryAfter = seconds
	return r
}

// By is who administers, and from where.
type By struct {
	Principal auth.Principal
	Transport string // rest, cli
	Source    string
	Wrong     *tools.Refusal // what the transport found wrong with the request: it is judged and recorded all the same
}

// An Op is a kind of change to who may do what.
type Op struct {
	Event  string     // on the record, such as key.minted
	Scope  auth.Scope // that it takes
	Recent bool       // a person in a session must have shown lately who they are
}

// Administer makes a change to who may do what: fn, if by may, and its record, in one transaction. Changes of one merchant
// are made one after the other, so that two people who change each other never wait in a circle. fn gets its maker as he
// is now; the record is what it gives, and of op where it leaves that out. A refusal is recorded. Every error is a *tools.Refusal.
func Administer[T any](ctx context.Context, g *Gate, by By, op Op, fn func(*store.Tx, auth.Principal) (T, audit.Entry, error)) (T, error) {
	var made T
	id := store.NewID("call", g.db.Now())
	err := g.safely(id, func() error {
		return g.db.InTx(ctx, func(tx *store.Tx) error {
			p, err := administrator(tx, by, op)
			if err != nil {
				return err
			}
			var e audit.Entry
			if made, e, err = fn(tx, p); err != nil {
				return err
			}
			store.Reach(store.Administered)
			e.Merchant, e.Event, e.CallID, e.Transport, e.Source = p.Merchant, cmp.Or(e.Event, op.Event), cmp.Or(e.CallID, id), by.Transport, by.Source
			e.Actor, e.Chain, e.Status, e.PolicyVersion = p.Chain()[0], p.Chain(), cmp.Or(e.Status, string(tools.Done)), p.PolicyVersion
			_, err = audit.Append(tx, e)
			return err
		})
	})
	if err != nil {
		var none T
		return none, g.refusePerson(ctx, by.Principal, op.Event+".refused", Ballot{Channel: by.Transport, Source: by.Source}, err)
	}
	store.Reach(store.RightsStand)
	return made, nil
}

// administrator gives who makes a change as he is now, if he may.
func administrator(tx *store.Tx, by By, op Op) (auth.Principal, error) {
	if err := auth.BeginChange(tx, by.Principal.Merchant); err != nil {
		return by.Principal, err
	}
	return permitted(tx, by, op)
}

// permitted gives who wants something done as he is now, if he may have it done.
func permitted(tx *store.Tx, by By, op Op) (auth.Principal, error) {
	p, err := renewed(tx, by.Principal)
	if err == nil {
		err = entitled(p, op)
	}
	switch {
	case err != nil:
		return p, err
	case by.Wrong != nil:
		return p, by.Wrong
	case op.Recent:
		return p, confirmed(tx, p)
	}
	return p, nil
}

func entitled(p auth.Principal, op Op) error {
	if p.Has(op.Scope) {
		return nil
	}
	return lacks([]auth.Scope{op.Scope}, "This credential does not hold the scope %s, which %s takes.", op.Event)
}

// confirmed asks whether a person in a session has shown lately who they are.
func confirmed(tx *store.Tx, p auth.Principal) error {
	if p.Session != "" && tx.Now.Sub(p.StepUpAt) > auth.StepUpTime {
		return tools.Refuse(tools.StepUpRequired, "Confirm who you are on /me, then try again.", "This takes a confirmation of who you are that is not older than %s.", auth.StepUpTime)
	}
	return nil
}
