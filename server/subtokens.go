package server

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/tools"
)

// handleSubTokens makes the routes on which an agent looks after what it has given on. Giving is a tool, dtc_delegate, with the route
// POST /subtokens.
func (s *Server) handleSubTokens() {
	s.handle("GET "+tools.BasePath+"/subtokens", s.known(s.listSubTokens))
	s.handle("DELETE "+tools.BasePath+"/subtokens/{id}", s.known(s.revokeSubToken))
}

// A subTokenPage is what stands below the caller, newest first.
type subTokenPage struct {
	SubTokens  []auth.SubToken `json:"subtokens"`
	NextCursor string          `json:"next_cursor,omitempty"`
}

func (s *Server) listSubTokens(w http.ResponseWriter, r *http.Request) {
	before, limit := pageAsked(r.URL.RawQuery)
	page, next, err := s.gate.SubTokens(r.Context(), byVisitor(r), before, limit)
	s.tell(w, r, subTokenPage{SubTokens: page, NextCursor: next}, err)
}

// pageAsked reads which page of a list a query is for. What cannot be read becomes what no page has, for the gate to refuse.
func pageAsked(query string) (before string, limit int) {
	const none = -1
	asked, err := url.ParseQuery(query)
	if err != nil {
		return "", none
	}
	for name, values := range asked {
		switch {
		case len(values) != 1:
			limit = none
		case name == "cursor":
			before = values[0]
		case name == "limit" && limit == 0:
			if limit, err = strconv.Atoi(values[0]); err != nil || limit == 0 {
				limit = none
			}
		default:
			limit = none
		}
	}
	return before, limit
}

func (s *Server) revokeSubToken(w http.ResponseWriter, r *http.Request) {
	t, err := s.gate.RevokeSubToken(r.Context(), byVisitor(r), r.PathValue("id"))
	s.tell(w, r, t, err)
}

// byVisitor is whose request r is, for what is not a call of a tool.
func byVisitor(r *http.Request) gate.By {
	v := visitOf(r.Context())
	return gate.By{Principal: v.principal, Transport: "rest", Source: v.source}
}
