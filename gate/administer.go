package gate

import (
	"context"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// STAND-IN until the framework is merged.

type By struct {
	Principal auth.Principal
	Transport string
	Source    string
}

type Op struct {
	Event  string
	Scope  auth.Scope
	Recent bool
}

func recent(tx *store.Tx, p auth.Principal) error {
	if p.Session != "" && tx.Now.Sub(p.StepUpAt) >= auth.StepUpTime {
		return tools.Refuse("STEP_UP_REQUIRED", "Confirm that it is you, and try again.", "This needs a fresh confirmation of who you are.")
	}
	return nil
}

func Administer[T any](ctx context.Context, g *Gate, by By, op Op, fn func(*store.Tx, auth.Principal) (T, audit.Entry, error)) (out T, err error) {
	err = g.db.InTx(ctx, func(tx *store.Tx) error {
		p, _, err := auth.LiveSession(tx, by.Principal.Session)
		if err != nil {
			return tools.Refuse(tools.Unauthorized, "Sign in again.", "You are not signed in.")
		}
		if op.Recent {
			if err := recent(tx, p); err != nil {
				return err
			}
		}
		var e audit.Entry
		if out, e, err = fn(tx, p); err != nil {
			return err
		}
		e.Merchant, e.Event, e.Transport, e.Source, e.Actor, e.Chain, e.Status = p.Merchant, op.Event, by.Transport, by.Source, p.Chain()[0], p.Chain(), "done"
		_, err = audit.Append(tx, e)
		return err
	})
	if err != nil {
		return out, g.numbered(asRefusal(err), err)
	}
	return out, nil
}
