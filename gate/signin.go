package gate

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A Browser is where a person sits, as the server saw the request.
type Browser struct {
	Source   string // network address
	Agent    string // its name for itself
	Origin   string // of our page in it: https://gate.example.com
	Session  string // the secret in its cookie, if it has one
	Ceremony string // the sealed ceremony in its cookie, if it has one
}

// A SignedIn is a session that has begun, with what the browser needs to know.
type SignedIn struct {
	auth.Session
	Secret string // for the cookie, this once
	Next   string // where the person wanted to go
}

// webTransport names people's pages in the record.
const webTransport = "web"

// Session finds the person who is signed in in a browser, and notes that they are about. A secret that opens nothing is refused without a
// reason, and the reason is recorded. Every error is a *tools.Refusal.
func (g *Gate) Session(ctx context.Context, b Browser) (auth.Principal, error) {
	var p auth.Principal
	var s auth.Session
	err := g.db.Read(ctx, func(tx *store.Tx) (err error) {
		p, s, err = auth.AuthenticateSession(tx, b.Session)
		return err
	})
	if err == nil && s.Stale(g.db.Now()) {
		err = g.db.InTx(ctx, func(tx *store.Tx) error { return auth.SessionSeen(tx, s.ID) })
	}
	if err != nil {
		return auth.Principal{}, g.refuseSignIn(ctx, b, err)
	}
	return p, nil
}

// SignInByLink uses a one-time link up and signs its person in. Every error is a *tools.Refusal.
func (g *Gate) SignInByLink(ctx context.Context, b Browser, secret string) (SignedIn, error) {
	return g.signIn(ctx, b, func(tx *store.Tx) (auth.Proof, error) { return auth.ProveByLink(tx, secret) })
}

// BeginPasskeySignIn gives what the browser needs to ask for a passkey, and the ceremony to bring back. Somebody who is signed in has to show
// that they still are who they were. Every error is a *tools.Refusal.
func (g *Gate) BeginPasskeySignIn(ctx context.Context, b Browser, next string) (options json.RawMessage, sealed string, err error) {
	who, err := g.whose(ctx, b)
	var c auth.Ceremony
	if err == nil {
		options, c, err = auth.BeginSignIn(g.db.Now(), b.Origin, who)
	}
	if err == nil {
		c.Next = next
		sealed, err = g.seal(ctx, c)
	}
	if err != nil {
		return nil, "", g.refuseSignIn(ctx, b, err)
	}
	return options, sealed, nil
}

// SignInByPasskey signs in the person whose passkey answered. Every error is a *tools.Refusal.
func (g *Gate) SignInByPasskey(ctx context.Context, b Browser, response []byte) (SignedIn, error) {
	c, err := g.ceremony(ctx, b, auth.ToSignIn)
	if err != nil {
		return SignedIn{}, g.refuseSignIn(ctx, b, err)
	}
	in, err := g.signIn(ctx, b, func(tx *store.Tx) (auth.Proof, error) { return auth.ProveByPasskey(tx, c, response) })
	in.Next = c.Next
	return in, err
}

// Provider names the identity provider at which people sign in: its host, or "" when there is none.
func (g *Gate) Provider() string {
	if g.oidc == nil {
		return ""
	}
	return g.oidc.Host()
}

// BeginOIDC gives the address at the identity provider where a person signs in, and the ceremony to bring back. Every error is a *tools.Refusal.
func (g *Gate) BeginOIDC(ctx context.Context, b Browser, next string) (address, sealed string, err error) {
	if g.oidc == nil {
		return "", "", g.refuseSignIn(ctx, b, errNoProvider)
	}
	who, err := g.whose(ctx, b)
	var c auth.Ceremony
	if err == nil {
		address, c, err = g.oidc.Begin(ctx, b.Origin, who)
	}
	if err == nil {
		c.Next = next
		sealed, err = g.seal(ctx, c)
	}
	if err != nil {
		return "", "", g.refuseSignIn(ctx, b, err)
	}
	return address, sealed, nil
}

// FinishOIDC signs in the person whom the identity provider sent back. It is asked outside any transaction. Every error is a *tools.Refusal.
func (g *Gate) FinishOIDC(ctx context.Context, b Browser, answer url.Values) (SignedIn, error) {
	if g.oidc == nil {
		return SignedIn{}, g.refuseSignIn(ctx, b, errNoProvider)
	}
	c, err := g.ceremony(ctx, b, auth.ToSignOIDC)
	if err != nil {
		return SignedIn{}, g.refuseSignIn(ctx, b, err)
	}
	id, err := g.oidc.Finish(ctx, c, answer)
	if err != nil {
		return SignedIn{}, g.refuseSignIn(ctx, b, err)
	}
	in, err := g.signIn(ctx, b, func(tx *store.Tx) (auth.Proof, error) { return g.oidc.Prove(tx, c, id) })
	in.Next = c.Next
	return in, err
}

// whose gives the id of the person who is signed in in a browser, "" for nobody: a session that has ended keeps nobody from signing in.
func (g *Gate) whose(ctx context.Context, b Browser) (who string, err error) {
	err = g.db.Read(ctx, func(tx *store.Tx) error {
		p, _, err := auth.AuthenticateSession(tx, b.Session)
		who = p.ID
		if errors.Is(err, auth.ErrUnknownCredential) {
			return nil
		}
		return err
	})
	return who, err
}

func (g *Gate) seal(ctx context.Context, c auth.Ceremony) (sealed string, err error) {
	err = g.db.Read(ctx, func(tx *store.Tx) error {
		sealed, err = auth.SealCeremony(tx, c)
		return err
	})
	return sealed, err
}

func (g *Gate) ceremony(ctx context.Context, b Browser, purpose auth.Purpose) (c auth.Ceremony, err error) {
	err = g.db.Read(ctx, func(tx *store.Tx) error {
		c, err = auth.OpenCeremony(tx, b.Ceremony, purpose)
		return err
	})
	return c, err
}

// signIn starts the session of whoever can prove who they are, in place of the one that the browser held. All of it, and its record, is one
// transaction. Whoever can prove nothing is found out by reading before it: anybody may try, and is not to keep those waiting who write.
func (g *Gate) signIn(ctx context.Context, b Browser, prove func(*store.Tx) (auth.Proof, error)) (SignedIn, error) {
	var in SignedIn
	err := g.db.Read(ctx, func(tx *store.Tx) error {
		_, err := prove(tx)
		return err
	})
	if err != nil {
		return SignedIn{}, g.refuseSignIn(ctx, b, err)
	}
	err = g.db.InTx(ctx, func(tx *store.Tx) error {
		proof, err := prove(tx)
		if err != nil {
			return err
		}
		if in.Session, in.Secret, err = auth.StartSession(tx, proof, b.Agent, b.Session); err != nil {
			return err
		}
		e := audit.Entry{
			Merchant: in.Merchant, Event: "person.signed_in", Transport: webTransport, Source: b.Source,
			Actor: proof.Person.Chain()[0], Chain: proof.Person.Chain(), Status: string(tools.Done),
			Resource: "session:" + in.ID, Reason: "by " + string(proof.How), PolicyVersion: proof.Person.PolicyVersion,
		}
		if in.Replaces != "" {
			e.Reason += ", in place of session:" + in.Replaces
		}
		_, err = audit.Append(tx, e)
		return err
	})
	if err != nil {
		return SignedIn{}, g.refuseSignIn(ctx, b, err)
	}
	return in, nil
}

// errNoProvider is the answer to signing in at an identity provider where there is none.
var errNoProvider = tools.Refuse(tools.NotFound, "Sign in with a link or a passkey.", "No identity provider is configured here.")

// refuseSignIn counts and records a sign-in that proved nobody, and gives the refusal. It is the same whatever was wrong.
func (g *Gate) refuseSignIn(ctx context.Context, b Browser, cause error) error {
	refused := (*auth.Refused)(nil)
	if errors.As(cause, &refused) {
		s := stranger{event: authRefused, source: b.Source, why: refused.Why, who: refused.Who, merchant: refused.Merchant, code: tools.Unauthorized}
		if _, cause = g.turnAway(ctx, s); cause == nil {
			return g.numbered(tools.Refuse(tools.Unauthorized, "Sign in again. For a new link, ask an admin to run `dtcgate person invite`.",
				"You are not signed in: that was not valid, or no longer."), nil)
		}
	}
	if errors.Is(cause, auth.ErrProvider) {
		return g.numbered(tools.Refuse(tools.Unavailable, "Try again later, or sign in with a link or a passkey.",
			"The identity provider cannot be reached, or did not answer as it should."), cause)
	}
	return g.numbered(asRefusal(cause), cause)
}

// numbered gives a refusal an id under which the log has what the caller is not told.
func (g *Gate) numbered(r *tools.Refusal, cause error) error {
	told := *r
	told.CallID = store.NewID("call", g.db.Now())
	if cause != nil {
		g.logInternal(told.CallID, told.Code, cause)
	}
	return &told
}
