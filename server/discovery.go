package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

// Whoever brings no key may ask where to get a token, but only where issuers of tokens are configured: clients that find such an
// answer ignore the key that they were given, and an answer without an issuer is none (RFC 9728 as MCP wants it). keyPath is
// the same MCP without a word of it, for clients that have a key on a server that has both.
const (
	mcpPath      = "/mcp"
	keyPath      = "/mcp/key"
	metadataPath = "/.well-known/oauth-protected-resource"
)

// A resource is the protected-resource metadata of RFC 9728 section 2.
type resource struct {
	Resource   string       `json:"resource"`
	Name       string       `json:"resource_name"`
	Issuers    []string     `json:"authorization_servers"`
	Scopes     []auth.Scope `json:"scopes_supported"`
	BearerFrom []string     `json:"bearer_methods_supported"`
}

// handleDiscovery makes the routes of the metadata: the one that belongs to /mcp, and the root, where clients look next.
func (s *Server) handleDiscovery() {
	if s.issuers == nil {
		return
	}
	s.handle("GET "+metadataPath, s.describeResource)
	s.handle("GET "+metadataPath+mcpPath, s.describeResource)
}

func (s *Server) describeResource(w http.ResponseWriter, r *http.Request) {
	s.tell(w, r, resource{
		Resource: s.public + mcpPath, Name: "dtcgate", Issuers: s.issuers.Authorities(), Scopes: s.issuers.Scopes(), BearerFrom: []string{"header"},
	}, nil)
}

// challenge says how to authenticate (RFC 6750 section 3, RFC 9728 section 5.1). Its values are ours: nothing of a request
// stands in it.
func (s *Server) challenge(r *http.Request, wrong string, scopes []auth.Scope) string {
	parts := []string{`Bearer realm="dtcgate"`}
	if wrong != "" {
		parts = append(parts, `error="`+wrong+`"`)
	}
	if s.issuers == nil || r.URL.Path == keyPath {
		return strings.Join(parts, ", ")
	}
	if len(scopes) > 0 {
		parts = append(parts, `scope="`+spaced(scopes)+`"`)
	}
	return strings.Join(append(parts, `resource_metadata="`+s.public+metadataPath+mcpPath+`"`), ", ")
}

func spaced(scopes []auth.Scope) string {
	words := make([]string, len(scopes))
	for i, s := range scopes {
		words[i] = string(s)
	}
	return strings.Join(words, " ")
}

// firstScopes are what a caller without a token is told to ask for: to read. What writing takes, the refusal of a write says.
func (s *Server) firstScopes() []auth.Scope {
	if s.issuers == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.issuers.Scopes()), func(scope auth.Scope) bool { return !strings.HasSuffix(string(scope), ":read") })
}

// neededScopes are all that a call needs which was refused for want of scopes: that of its tool, and what else this very
// call takes. Where any one of several will do, it is the first.
func (s *Server) neededScopes(v *visit, refusal tools.Refusal) []auth.Scope {
	var needed []auth.Scope
	if refusal.Errors != nil {
		for _, missing := range refusal.Errors.Missing {
			needed = append(needed, auth.Scope(missing))
		}
	}
	t, ok := s.tools.Find(v.calledTool())
	switch {
	case !ok:
		return needed
	case len(t.AnyScope) > 0 && slices.Equal(needed, t.AnyScope):
		return needed[:1]
	case t.Scope != "":
		needed = append(needed, t.Scope)
	}
	slices.Sort(needed)
	return slices.Compact(needed)
}

// stepsUp reports whether a refusal is one that its caller can get a better token for: MCP's authorization wants it as HTTP
// 403 with a challenge (insufficient_scope). A key cannot become more, so that its holder gets an answer for the model.
func stepsUp(v *visit, refusal tools.Refusal) bool {
	return refusal.Code == tools.ForbiddenScope && v.principal.Kind == auth.KindJWT
}

// A stepUp lets an MCP answer leave as the refusal that the visit holds, if it holds one by then. The go-sdk writes answers of
// tools with status 200 and on a goroutine of its own, so that this is where the status can still change. It has no Unwrap on
// purpose: a flush below it would send the status.
type stepUp struct {
	http.ResponseWriter
	server  *Server
	request *http.Request
	begun   bool
	refused bool
}

func (u *stepUp) WriteHeader(status int) {
	if u.begun {
		return
	}
	u.begun = true
	if refusal := visitOf(u.request.Context()).refusal(); refusal != nil {
		u.refused = true
		u.server.refuse(u.ResponseWriter, u.request, refusal)
		return
	}
	u.ResponseWriter.WriteHeader(status)
}

func (u *stepUp) Write(b []byte) (int, error) {
	u.WriteHeader(http.StatusOK)
	if u.refused {
		return len(b), nil
	}
	return u.ResponseWriter.Write(b)
}
