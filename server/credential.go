package server

import (
	"context"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

// known lets requests through whose credential opens something, with their principal in the visit.
func (s *Server) known(next http.HandlerFunc) http.HandlerFunc {
	return s.knownBy(s.gate.Authenticate, next)
}

// calling is known for requests of which nothing comes but a call, which the gate judges by the principal as it is then, or what confirmed
// goes before.
func (s *Server) calling(next http.HandlerFunc) http.HandlerFunc {
	return s.knownBy(s.hot.recognize, next)
}

func (s *Server) knownBy(authenticate func(ctx context.Context, secret, source string) (auth.Principal, error), next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, secret := visitOf(r.Context()), credential(r.Header)
		p, err := authenticate(r.Context(), secret, v.source)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		v.principal = p
		next(w, r)
	}
}

// confirmed reports whether the principal of a request is as it is now, and refuses the request when it is none any more.
func (s *Server) confirmed(w http.ResponseWriter, r *http.Request) bool {
	v := visitOf(r.Context())
	if !v.principal.Recalled() {
		return true
	}
	p, err := s.gate.Confirm(r.Context(), v.principal, v.source)
	if err != nil {
		s.refuse(w, r, err)
		return false
	}
	v.principal = p
	return true
}

// lost reports whether a refusal says that the credential opens nothing any more, which the gate found out with the call.
func lost(v *visit, refusal tools.Refusal) bool {
	return v.principal.Recalled() && (refusal.Code == tools.Unauthorized || refusal.Code == tools.ForbiddenNetwork)
}

// challengeTo is the challenge that goes out with a refusal, if one does. Who sent nothing that opens anything is told what to
// ask for, and who holds a token that gives too little what this call needs.
func (s *Server) challengeTo(r *http.Request, refusal tools.Refusal) string {
	v := visitOf(r.Context())
	switch {
	case refusal.Code == tools.Unauthorized && credential(r.Header) == "":
		return s.challenge(r, "", s.firstScopes())
	case refusal.Code == tools.Unauthorized:
		return s.challenge(r, "invalid_token", s.firstScopes())
	case stepsUp(v, refusal):
		return s.challenge(r, "insufficient_scope", s.neededScopes(v, refusal))
	}
	return ""
}

// credential gives the secret that a request carries, "" for none. Secrets that differ are one that opens nothing, so
// that what stands in the way between does not decide which of them counts; so is a scheme that is not Bearer. The query
// is never looked at: it ends up in logs.
func credential(h http.Header) string {
	bearers, keys := h["Authorization"], h["X-Agent-Key"]
	if len(bearers) == 1 && keys == nil {
		return bearer(bearers[0])
	}
	var all []string
	for _, value := range bearers {
		all = append(all, bearer(value))
	}
	all = append(all, keys...)
	for _, other := range all {
		if subtle.ConstantTimeCompare([]byte(other), []byte(all[0])) != 1 {
			return strings.Join(all, " ")
		}
	}
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

func bearer(value string) string {
	scheme, token, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = "not a bearer: " + value
	}
	return strings.TrimSpace(token)
}
