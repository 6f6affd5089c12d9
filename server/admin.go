package server

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// adminBase is where the routes begin on which people administer who may do what. Agents get in nowhere: no key holds the
// scopes that it takes.
const adminBase = adminPath + "/v1"

// handleAdmin makes the routes on which people administer keys, people, roles and the policy.
func (s *Server) handleAdmin() {
	for _, route := range []struct {
		method, path string
		answer       http.HandlerFunc
	}{
		{"GET", "/keys", s.listKeys},
		{"POST", "/keys", s.mintKey},
		{"GET", "/keys/{id}", s.showKey},
		{"PATCH", "/keys/{id}", s.changeKey},
		{"DELETE", "/keys/{id}", s.revokeKey},
		{"POST", "/keys/{id}/rotate", s.rotateKey},

		{"GET", "/subtokens", s.listAllSubTokens},
		{"DELETE", "/subtokens/{id}", s.revokeSubToken},

		{"GET", "/people", s.listPeople},
		{"POST", "/people", s.addPerson},
		{"PATCH", "/people/{id}", s.changePerson},
		{"DELETE", "/people/{id}", s.revokePerson},
		{"POST", "/people/{id}/link", s.invitePerson},
		{"POST", "/people/{id}/token", s.renewToken},
		{"GET", "/people/{id}/sessions", s.listSessions},
		{"DELETE", "/people/{id}/sessions", s.revokeSessions},
		{"DELETE", "/people/{id}/sessions/{session}", s.revokeSessions},
		{"GET", "/people/{id}/links", s.listPersonLinks},
		{"DELETE", "/people/{id}/links/{link}", s.unlinkPerson},

		{"GET", "/roles", s.listRoles},
		{"PUT", "/roles/{name}", s.putRole},
		{"DELETE", "/roles/{name}", s.deleteRole},

		{"GET", "/policy", s.showPolicy},
		{"GET", "/policy/versions", s.listPolicies},
		{"GET", "/policy/versions/{n}", s.showPolicyVersion},
		{"GET", "/policy/schema", s.showPolicySchema},
		{"POST", "/policy/check", s.checkPolicy},
		{"POST", "/policy/publish", s.publishPolicy},
		{"POST", "/policy/explain", s.explainPolicy},
		{"POST", "/policy/replay", s.startReplay},
		{"GET", "/policy/replay/{id}", s.showReplay},
		{"GET", "/policy/shadow", s.showShadow},
		{"PUT", "/policy/shadow", s.castShadow},
		{"DELETE", "/policy/shadow", s.liftShadow},

		{"GET", "/trust", s.listTrust},
		{"GET", "/trust/{id}", s.showTrust},
		{"GET", "/trust/{id}/history", s.showTrustHistory},
		{"POST", "/trust/{id}/feedback", s.giveFeedback},

		{"GET", "/freezes", s.listFreezes},
		{"POST", "/freezes", s.beginFreeze},
		{"POST", "/freezes/{id}/lift", s.liftFreeze},

		{"GET", "/webhooks", s.listWebhooks},
		{"POST", "/webhooks", s.addWebhook},
		{"POST", "/webhooks/{id}/rotate", s.rotateWebhook},
		{"POST", "/webhooks/{id}/test", s.testWebhook},
		{"DELETE", "/webhooks/{id}", s.removeWebhook},
	} {
		s.handle(route.method+" "+adminBase+route.path, s.knownOrSignedIn(route.answer))
	}
}

// administering is who administers with a request. What is wrong with it is the gate's to refuse, after it has asked who wants it.
func administering(r *http.Request, wrong *tools.Refusal) gate.By {
	by := byVisitor(r)
	by.Wrong = wrong
	return by
}

// admit reads the body of a change. When it is no body at all the request is answered, and ok is false.
func admit[T any](s *Server, w http.ResponseWriter, r *http.Request, schema *schemas.Schema) (in T, who gate.By, ok bool) {
	in, err := readBody[T](w, r, schema, "Send one JSON object with each field once.")
	wrong := wrongArguments(err)
	if err != nil && wrong == nil {
		s.refuse(w, r, err)
		return in, who, false
	}
	return in, administering(r, wrong), true
}

// listing reads which page of a list is asked for. The query holds nothing else.
func listing(r *http.Request) (gate.Listing, *tools.Refusal) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return gate.Listing{}, tools.Wrong("", "cannot be read", "a query such as ?limit=50&state=active", nil)
	}
	l := gate.Listing{State: query.Get("state"), Cursor: query.Get("cursor")}
	for name, values := range query {
		switch {
		case name != "limit" && name != "cursor" && name != "state":
			return l, tools.Wrong(shown(name), "is not known", "only these: limit, cursor, state", nil)
		case len(values) != 1:
			return l, tools.Wrong(name, "is there twice", "one value", nil)
		}
	}
	if !query.Has("limit") {
		return l, nil
	}
	if l.Limit, err = strconv.Atoi(query.Get("limit")); err != nil || l.Limit < 1 {
		return l, tools.Wrong("limit", "is no number of rows", "a whole number from 1", 50)
	}
	return l, nil
}

// A keyPage is a page of keys, without their secrets.
type keyPage struct {
	Keys []gate.UsedKey `json:"keys"`
	Next string         `json:"next_cursor,omitempty"`
}

func (s *Server) listKeys(w http.ResponseWriter, r *http.Request) {
	l, wrong := listing(r)
	page, err := s.gate.Keys(r.Context(), administering(r, wrong), l)
	s.tell(w, r, keyPage{page.Rows, page.Next}, err)
}

// A newKey is the body that mints a key.
type newKey struct {
	gate.KeyTerms
	Owner string `json:"owner_id,omitempty" jsonschema:"maxLength=80,description=The person who answers for it; you if left out"`
}

var newKeys = schemas.Of[newKey]()

func (s *Server) mintKey(w http.ResponseWriter, r *http.Request) {
	if in, who, ok := admit[newKey](s, w, r, newKeys); ok {
		m, err := s.gate.MintKey(r.Context(), who, in.KeyTerms, in.Owner)
		s.tellAs(w, r, http.StatusCreated, m, err)
	}
}

func (s *Server) showKey(w http.ResponseWriter, r *http.Request) {
	k, err := s.gate.Key(r.Context(), administering(r, nil), r.PathValue("id"))
	tag(w, k.Version, err)
	s.tell(w, r, k, err)
}

// tag says the version of a key as its entity tag (RFC 9110 8.8.3).
func tag(w http.ResponseWriter, version int64, err error) {
	if err == nil {
		w.Header().Set("ETag", strconv.Quote(strconv.FormatInt(version, 10)))
	}
}

// A keyChange is the body that changes a key.
type keyChange struct {
	gate.KeyTerms
	Version int64 `json:"version,omitempty" jsonschema:"minimum=1,description=Of the key as you have seen it; or say it as If-Match"`
}

var keyChanges = schemas.Of[keyChange]()

func (s *Server) changeKey(w http.ResponseWriter, r *http.Request) {
	in, who, ok := admit[keyChange](s, w, r, keyChanges)
	if !ok {
		return
	}
	version, wrong := seen(r, in.Version)
	if who.Wrong == nil {
		who.Wrong = wrong
	}
	k, err := s.gate.ChangeKey(r.Context(), who, r.PathValue("id"), version, in.KeyTerms)
	tag(w, k.Version, err)
	s.tell(w, r, k, err)
}

// seen gives the version that a change is about, which stands in the body or in If-Match (RFC 9110 13.1.1), and not
// differently in both.
func seen(r *http.Request, inBody int64) (int64, *tools.Refusal) {
	tags := r.Header.Values("If-Match")
	if len(tags) == 0 && inBody > 0 {
		return inBody, nil
	}
	tag, err := strconv.ParseInt(strings.Trim(strings.Join(tags, " "), `"`), 10, 64)
	if err != nil || tag < 1 || inBody > 0 && inBody != tag {
		return 0, tools.Wrong("version", "is not said, or not once", "the version of the key as you have seen it, here or as If-Match", 1)
	}
	return tag, nil
}

func (s *Server) revokeKey(w http.ResponseWriter, r *http.Request) {
	revoked, err := s.gate.RevokeKey(r.Context(), administering(r, nil), r.PathValue("id"))
	s.tell(w, r, revoked, err)
}

// A rotation is the body that rotates a key.
type rotation struct {
	Overlap *int64 `json:"overlap_seconds,omitempty" jsonschema:"minimum=0,maximum=2592000,description=For how long the old secret goes on; 86400 if left out; 0 ends it at once"`
}

var rotations = schemas.Of[rotation]()

func (r rotation) overlap() time.Duration {
	if r.Overlap == nil {
		return auth.DefaultOverlap
	}
	return time.Duration(*r.Overlap) * time.Second
}

func (s *Server) rotateKey(w http.ResponseWriter, r *http.Request) {
	if in, who, ok := admit[rotation](s, w, r, rotations); ok {
		m, err := s.gate.RotateKey(r.Context(), who, r.PathValue("id"), in.overlap())
		s.tell(w, r, m, err)
	}
}

func (s *Server) listAllSubTokens(w http.ResponseWriter, r *http.Request) {
	l, wrong := listing(r)
	page, err := s.gate.AllSubTokens(r.Context(), administering(r, wrong), l)
	s.tell(w, r, subTokenPage{page.Rows, page.Next}, err)
}
