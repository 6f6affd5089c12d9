package server

import (
	"encoding/json"
	"net/http"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// signIn is what the page of that name offers.
type signIn struct {
	Next     string
	Passkeys bool
	Provider string // the host of the identity provider; "" for none
}

func (s *Server) showSignIn(w http.ResponseWriter, r *http.Request) {
	origin := s.origin(r)
	main := signIn{Next: ownPath(r.URL.Query().Get("next")), Passkeys: auth.TakesPasskeys(origin)}
	if origin != "" {
		main.Provider = s.gate.Provider()
	}
	s.show(w, r, http.StatusOK, "sign-in", page{Title: "Sign in", Main: main})
}

// showLink shows the page that a one-time link opens. It uses nothing up, however often it is fetched: the secret stands behind the # of the link, which
// browsers keep to themselves, and only the button sends it.
func (s *Server) showLink(w http.ResponseWriter, r *http.Request) {
	s.show(w, r, http.StatusOK, "link", page{Title: "Sign in", Main: signIn{Next: ownPath(r.URL.Query().Get("next"))}})
}

func (s *Server) useLink(w http.ResponseWriter, r *http.Request) {
	fields, err := form(w, r, "code", "next")
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	in, err := s.gate.SignInByLink(r.Context(), s.browser(r), fields[0])
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	s.welcome(w, in)
	http.Redirect(w, r, ownPath(fields[1]), http.StatusSeeOther)
}

// welcome hands a browser its session.
func (s *Server) welcome(w http.ResponseWriter, in gate.SignedIn) {
	setCookie(w, sessionCookie, in.Secret, int(auth.SessionTime.Seconds()))
}

// askForPasskey gives what navigator.credentials.get asks an authenticator for.
func (s *Server) askForPasskey(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Next string `json:"next"`
	}
	if err := script(w, r, &q); err != nil {
		s.refuse(w, r, err)
		return
	}
	if !auth.TakesPasskeys(s.origin(r)) {
		s.refuse(w, r, errNoPasskeys)
		return
	}
	options, sealed, err := s.gate.BeginPasskeySignIn(r.Context(), s.browser(r), ownPath(q.Next))
	s.beginCeremony(w, r, options, sealed, err)
}

var errNoPasskeys = tools.Refuse(tools.NotFound, "Open the page under the server's public name, or on this machine as http://localhost.",
	"There are no passkeys under this address.")

func (s *Server) beginCeremony(w http.ResponseWriter, r *http.Request, options json.RawMessage, sealed string, err error) {
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	setCookie(w, ceremonyCookie, sealed, int(auth.CeremonyTime.Seconds()))
	s.tell(w, r, options, nil)
}

func (s *Server) usePasskey(w http.ResponseWriter, r *http.Request) {
	response, err := body(w, r)
	if err == nil {
		err = strict(response)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	in, err := s.gate.SignInByPasskey(r.Context(), s.browser(r), response)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	dropCookie(w, ceremonyCookie)
	s.welcome(w, in)
	s.tell(w, r, map[string]string{"next": ownPath(in.Next)}, nil)
}

// goToProvider sends a person to the identity provider. It changes nothing here, so a link will do, and a form could not: contentPolicy keeps forms
// from being sent on elsewhere.
func (s *Server) goToProvider(w http.ResponseWriter, r *http.Request) {
	b := s.browser(r)
	if b.Origin == "" {
		s.showRefusal(w, r, tools.Refuse(tools.NotFound, "Ask the operator to set --public-url.", "The identity provider could not send you back to this address."))
		return
	}
	address, sealed, err := s.gate.BeginOIDC(r.Context(), b, ownPath(r.URL.Query().Get("next")))
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	setCookie(w, ceremonyCookie, sealed, int(auth.CeremonyTime.Seconds()))
	http.Redirect(w, r, address, http.StatusSeeOther)
}

func (s *Server) comeFromProvider(w http.ResponseWriter, r *http.Request) {
	in, err := s.gate.FinishOIDC(r.Context(), s.browser(r), r.URL.Query())
	dropCookie(w, ceremonyCookie)
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	s.welcome(w, in)
	http.Redirect(w, r, ownPath(in.Next), http.StatusSeeOther)
}

// script reads what our script sends.
func script(w http.ResponseWriter, r *http.Request, into any) error {
	raw, err := body(w, r)
	if err != nil {
		return err
	}
	if err := strict(raw); err != nil {
		return err
	}
	if json.Unmarshal(raw, into) != nil {
		return errScript
	}
	return nil
}

var errScript = tools.Refuse(codeMalformed, "Load the page again.", "The request cannot be read.")

func strict(raw []byte) error {
	if schemas.Strict(raw) != nil {
		return errScript
	}
	return nil
}
