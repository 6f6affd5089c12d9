package server

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/tools"
)

// The cookies. A browser takes one whose name begins with __Host- only from this very host, over a secure connection and for all
// paths (RFC 6265bis, 4.1.3.2), so that no neighbouring host can plant one.
const (
	sessionCookie  = "__Host-dtcgate"
	ceremonyCookie = "__Host-dtcgate-ceremony"
)

// setCookie hands the browser a secret for as long as it is closed, or for a time in seconds. Scripts cannot read it. It is Lax and not Strict,
// because people follow links to what waits for them, and come back from an identity provider; a request that changes anything
// is a POST, which Lax leaves bare when another site sends it.
func setCookie(w http.ResponseWriter, name, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: seconds, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func dropCookie(w http.ResponseWriter, name string) { setCookie(w, name, "", -1) }

// cookie gives the value of a cookie, "" for none. Two of one name are one that opens nothing.
func cookie(r *http.Request, name string) string {
	switch all := r.CookiesNamed(name); len(all) {
	case 0:
		return ""
	case 1:
		return all[0].Value
	}
	return "several"
}

// browser is where a request of a person's comes from.
func (s *Server) browser(r *http.Request) gate.Browser {
	return gate.Browser{
		Source: visitOf(r.Context()).source, Agent: r.UserAgent(), Origin: s.origin(r),
		Session: cookie(r, sessionCookie), Ceremony: cookie(r, ceremonyCookie),
	}
}

// origin is that of our pages in the browser that sent r: the public address, or without one that of a browser on this machine. It is "" where
// nobody can tell; then there are no passkeys and no identity provider.
func (s *Server) origin(r *http.Request) string {
	if s.public != "" {
		return s.public
	}
	if ownHost(hostName(r.Host)) {
		return "http://" + r.Host
	}
	return ""
}

// signedIn lets requests through that come from a browser in which a person is signed in, with the person in the visit.
func (s *Server) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if cookie(r, sessionCookie) == "" {
			s.askToSignIn(w, r, errNotSignedIn)
			return
		}
		p, err := s.person(r)
		if err != nil {
			s.askToSignIn(w, r, err)
			return
		}
		visitOf(r.Context()).principal = p
		if err := readable(r); err != nil {
			s.showRefusal(w, r, err)
			return
		}
		next(w, r)
	}
}

var errNotSignedIn = tools.Refuse(tools.Unauthorized, "Sign in at /sign-in.", "You are not signed in.")

// knownOrSignedIn is known for routes that people use from pages too. A cookie counts here and on people's own pages, and nowhere else: what agents
// call can therefore not be called by a page in somebody's browser.
func (s *Server) knownOrSignedIn(next http.HandlerFunc) http.HandlerFunc {
	next = s.reading(next)
	known := s.known(next)
	return func(w http.ResponseWriter, r *http.Request) {
		if cookie(r, sessionCookie) == "" {
			known(w, r)
			return
		}
		p, err := s.person(r)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		visitOf(r.Context()).principal = p
		next(w, r)
	}
}

// reading lets requests through whose address is text.
func (s *Server) reading(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := readable(r); err != nil {
			s.refuse(w, r, err)
			return
		}
		next(w, r)
	}
}

// readable refuses an address that holds what is no text: a database may not store it, nor look for it. What agents call is held to the same
// where its arguments are read.
func readable(r *http.Request) error {
	query, err := url.QueryUnescape(r.URL.RawQuery)
	if err != nil || !isText(r.URL.Path) || !isText(query) {
		return tools.Refuse(codeMalformed, "Leave out what is no text in UTF-8.", "The address cannot be read.")
	}
	return nil
}

// isText reports whether some bytes are text: UTF-8, without NUL.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// person gives who is signed in where r comes from. A request that brings a token as well has to be that person's with both.
func (s *Server) person(r *http.Request) (auth.Principal, error) {
	p, err := s.gate.Session(r.Context(), s.browser(r))
	if err != nil {
		return p, err
	}
	if secret := credential(r.Header); secret != "" {
		other, err := s.gate.Authenticate(r.Context(), secret, visitOf(r.Context()).source)
		if err != nil {
			return p, err
		}
		if other.ID != p.ID {
			return p, tools.Refuse(tools.Unauthorized, "Send the cookie or the token, not both.", "The cookie and the token are not one person's.")
		}
	}
	return p, nil
}
