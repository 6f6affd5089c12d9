package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// connectionsPath is where admins see and end what people have connected.
const connectionsPath = adminPath + "/v1/connections"

// handleConnect makes the routes on which people connect outside systems: they are sent to a provider, and come back.
func (s *Server) handleConnect() {
	if s.vault == nil {
		return
	}
	s.handle("GET /connect", s.knownOrSignedIn(s.listOffers))
	s.handle("GET /connect/{provider}", s.knownOrSignedIn(s.beginConnection))
	s.handle("GET /connect/{provider}/callback", s.knownOrSignedIn(s.finishConnection))
	s.handle("GET "+connectionsPath, s.knownOrSignedIn(s.listConnections))
	s.handle("DELETE "+connectionsPath+"/{id}", s.knownOrSignedIn(s.endConnection))
}

// beginConnection sends the browser of a person who is signed in to a provider. Only a page of ours, or the person, may begin:
// a link on another site would have people grant what they did not ask for.
func (s *Server) beginConnection(w http.ResponseWriter, r *http.Request) {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && site != "same-origin" {
		s.refuse(w, r, tools.Refuse(codeOrigin, "Open the address yourself, or from a page of this server.", "Connecting cannot be begun by another site."))
		return
	}
	if r.Method != http.MethodGet {
		s.refuse(w, r, noMethod(r))
		return
	}
	address, err := s.vault.Begin(r.Context(), by(r), r.PathValue("provider"))
	if err != nil {
		s.refuse(w, r, s.connectRefusal(r, err))
		return
	}
	h := w.Header()
	h.Set("Location", address)
	h.Set("Referrer-Policy", "no-referrer")
	s.write(w, http.StatusSeeOther, "", nil)
}

// finishConnection takes what the browser brings back from the provider.
func (s *Server) finishConnection(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Referrer-Policy", "no-referrer") // the address holds a code
	if r.Method != http.MethodGet {
		s.refuse(w, r, noMethod(r))
		return
	}
	answer, err := answerOf(r.URL.RawQuery)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	c, err := s.vault.Finish(r.Context(), by(r), r.PathValue("provider"), answer)
	if err != nil {
		s.refuse(w, r, s.connectRefusal(r, err))
		return
	}
	s.tell(w, r, map[string]vault.Connection{"connection": c}, nil)
}

// answerOf reads a provider's answer. A parameter that is there twice is two answers (RFC 6749, section 3.1).
func answerOf(query string) (a vault.Answer, err error) {
	q, err := url.ParseQuery(query)
	for name, into := range map[string]*string{"state": &a.State, "code": &a.Code, "iss": &a.Issuer, "error": &a.Error} {
		if len(q[name]) > 1 || err != nil {
			return vault.Answer{}, tools.Refuse(tools.InvalidArguments, "Begin again at /connect.", "The provider's answer cannot be read.")
		}
		*into = q.Get(name)
	}
	return a, nil
}

// listOffers tells people what they may connect.
func (s *Server) listOffers(w http.ResponseWriter, r *http.Request) {
	offers, err := s.vault.Offers(r.Context(), visitOf(r.Context()).principal)
	if err != nil {
		err = s.connectRefusal(r, err)
	}
	s.tell(w, r, map[string][]vault.Offer{"providers": offers}, err)
}

func (s *Server) listConnections(w http.ResponseWriter, r *http.Request) {
	all, err := s.vault.Connections(r.Context(), visitOf(r.Context()).principal)
	if err != nil {
		err = s.connectRefusal(r, err)
	}
	s.tell(w, r, map[string][]vault.Connection{"connections": all}, err)
}

func (s *Server) endConnection(w http.ResponseWriter, r *http.Request) {
	b := by(r)
	c, err := gate.Administer(r.Context(), s.gate, gate.By{Principal: b.Principal, Transport: b.Transport, Source: b.Source}, gate.Op{Event: "connection.revoked", Scope: auth.KeysAdmin, Recent: true},
		func(tx *store.Tx, p auth.Principal) (vault.Connection, audit.Entry, error) {
			c, err := vault.End(tx, p.Merchant, r.PathValue("id"))
			if errors.Is(err, vault.ErrNotConnected) {
				err = noConnection()
			}
			return c, audit.Entry{Resource: "connection:" + c.ID, Reason: "provider " + c.Provider}, err
		})
	if err == nil {
		s.vault.Tell(r.Context(), b, c)
	}
	s.tell(w, r, map[string]string{"id": c.ID, "state": string(vault.Revoked)}, err)
}

func noConnection() error {
	return tools.Refuse(tools.NotFound, "Look at GET "+connectionsPath+".", "There is no such connection, or it has ended.")
}

func by(r *http.Request) vault.By {
	v := visitOf(r.Context())
	return vault.By{Principal: v.principal, Transport: "rest", Source: v.source}
}

// rejections say to a person why an answer of a provider was not taken.
var rejections = map[string]string{
	vault.RejectState:  "This answer was used before, took longer than ten minutes, or belongs to another browser.",
	vault.RejectIssuer: "This answer does not come from the provider that it was asked of.",
	vault.RejectDenied: "The provider reports that access was not granted.",
	vault.RejectAnswer: "The provider's answer holds no code.",
}

// connectRefusal is what a person is told of an error of the vault. What is none of the person's business is logged.
func (s *Server) connectRefusal(r *http.Request, err error) error {
	const again = "Begin again at /connect."
	rejected := (*vault.Rejected)(nil)
	switch {
	case errors.As(err, &rejected):
		text := rejections[rejected.Why]
		if text == "" {
			text = "The provider gave no token for its own answer."
		}
		return tools.Refuse(tools.InvalidArguments, again, "%s", text)
	case errors.Is(err, vault.ErrUnknownProvider):
		return tools.Refuse(tools.NotFound, "Ask the operator which providers are configured.", "There is no such provider.")
	case errors.Is(err, vault.ErrNoSession):
		return tools.Refuse(tools.ForbiddenScope, "Sign in with a browser, then open this address in it.", "Only a person who is signed in connects outside systems.")
	case errors.Is(err, vault.ErrStepUp):
		return tools.Refuse(tools.StepUpRequired, "Confirm who you are on /me, then try again.", "This takes a confirmation of who you are that is not older than %s.", auth.StepUpTime)
	case errors.Is(err, auth.ErrUnknownCredential):
		return tools.Refuse(tools.Unauthorized, "Sign in again.", "You are no longer signed in.")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return tools.Refuse(tools.Unavailable, again, "The database cannot be reached just now.")
	}
	refusal := asRefusal(err)
	refusal.CallID = store.NewID("call", s.db.Now())
	s.log.Error().Err(err).Str("call_id", refusal.CallID).Str("path", loggable(r.URL.Path)).Msg("connecting an outside system")
	return &refusal
}
