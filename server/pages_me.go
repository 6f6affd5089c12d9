package server

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/tools"
)

// me is what a person sees of their own account.
type me struct {
	gate.Account
	Scopes    []auth.Scope
	Session   string // the one that asks
	Confirmed bool   // has shown lately who they are
	Able      bool   // there can be passkeys under this address
	Provider  string
	Today     string // for the fields of days
}

func (s *Server) showMe(w http.ResponseWriter, r *http.Request) {
	p, origin := visitOf(r.Context()).principal, s.origin(r)
	account, err := s.gate.Account(r.Context(), p)
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	main := me{
		Account: account, Scopes: p.Scopes, Session: p.Session, Able: auth.TakesPasskeys(origin),
		Confirmed: s.db.Now().Sub(p.StepUpAt) <= auth.StepUpTime, Today: s.db.Now().UTC().Format(time.DateOnly),
	}
	if origin != "" {
		main.Provider = s.gate.Provider()
	}
	s.show(w, r, http.StatusOK, "me", page{Title: "Your account", At: "me", Main: main})
}

func (s *Server) signOut(w http.ResponseWriter, r *http.Request) {
	if err := s.gate.SignOut(r.Context(), visitOf(r.Context()).principal, s.browser(r)); err != nil {
		s.showRefusal(w, r, err)
		return
	}
	dropCookie(w, sessionCookie)
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}

func (s *Server) endSession(w http.ResponseWriter, r *http.Request) {
	s.backToMe(w, r, s.gate.EndSession(r.Context(), visitOf(r.Context()).principal, s.browser(r), r.PathValue("id")))
}

func (s *Server) endOtherSessions(w http.ResponseWriter, r *http.Request) {
	s.backToMe(w, r, s.gate.EndOtherSessions(r.Context(), visitOf(r.Context()).principal, s.browser(r)))
}

func (s *Server) removePasskey(w http.ResponseWriter, r *http.Request) {
	s.backToMe(w, r, s.gate.RemovePasskey(r.Context(), visitOf(r.Context()).principal, s.browser(r), r.PathValue("id")))
}

// backToMe shows the account as it is after a change.
func (s *Server) backToMe(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	http.Redirect(w, r, account, http.StatusSeeOther)
}

// beginPasskey gives what navigator.credentials.create asks an authenticator for.
func (s *Server) beginPasskey(w http.ResponseWriter, r *http.Request) {
	if !auth.TakesPasskeys(s.origin(r)) {
		s.refuse(w, r, errNoPasskeys)
		return
	}
	options, sealed, err := s.gate.BeginPasskey(r.Context(), visitOf(r.Context()).principal, s.browser(r))
	s.beginCeremony(w, r, options, sealed, err)
}

func (s *Server) addPasskey(w http.ResponseWriter, r *http.Request) {
	var made struct {
		Name       string          `json:"name"`
		Credential json.RawMessage `json:"credential"`
	}
	if err := script(w, r, &made); err != nil {
		s.refuse(w, r, err)
		return
	}
	if err := s.gate.AddPasskey(r.Context(), visitOf(r.Context()).principal, s.browser(r), made.Name, made.Credential); err != nil {
		s.refuse(w, r, err)
		return
	}
	dropCookie(w, ceremonyCookie)
	s.tell(w, r, map[string]string{"next": account}, nil)
}

// linkService takes a form: this page works without a script.
func (s *Server) linkService(w http.ResponseWriter, r *http.Request) {
	f, err := form(w, r, "key_id", "external_id")
	if err == nil {
		err = s.gate.LinkOwn(r.Context(), visitOf(r.Context()).principal, s.browser(r), f[0], f[1])
	}
	s.backToMe(w, r, err)
}

func (s *Server) unlinkService(w http.ResponseWriter, r *http.Request) {
	s.backToMe(w, r, s.gate.UnlinkOwn(r.Context(), visitOf(r.Context()).principal, s.browser(r), r.PathValue("id")))
}

// nameDeputy takes a form. Its days are whole ones, in UTC: from the beginning of the first to the end of the last.
func (s *Server) nameDeputy(w http.ResponseWriter, r *http.Request) {
	f, err := form(w, r, "deputy", "from", "until")
	if err != nil {
		s.backToMe(w, r, err)
		return
	}
	from, wrongFrom := time.Parse(time.DateOnly, f[1])
	until, wrongUntil := time.Parse(time.DateOnly, f[2])
	if wrongFrom != nil || wrongUntil != nil {
		s.backToMe(w, r, tools.Wrong("until", "is no day", "two days, such as 2026-12-24", nil))
		return
	}
	_, err = s.gate.Deputise(r.Context(), s.byBrowser(r), gate.Deputising{Deputy: f[0], From: from, Until: until.AddDate(0, 0, 1)})
	s.backToMe(w, r, err)
}

func (s *Server) removeDeputy(w http.ResponseWriter, r *http.Request) {
	_, err := s.gate.EndDeputy(r.Context(), s.byBrowser(r), r.PathValue("id"))
	s.backToMe(w, r, err)
}

// byBrowser is who makes a change on a page.
func (s *Server) byBrowser(r *http.Request) gate.By {
	v := visitOf(r.Context())
	return gate.By{Principal: v.principal, Transport: "web", Source: v.source}
}
