package server

import (
	"net/http"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/schemas"
)

// A grantWish is the body with which a person asks for a standing grant.
type grantWish struct {
	From   string                     `json:"from" jsonschema:"maxLength=60,description=The approval_id or job_id of the call that others are to be like"`
	Count  int64                      `json:"count" jsonschema:"minimum=1,maximum=1000,description=Calls at most"`
	Each   *approvals.Amounts         `json:"each,omitempty" jsonschema:"description=Of one call at most; what that call would do if left out"`
	Total  *approvals.Amounts         `json:"total,omitempty" jsonschema:"description=Of all calls together at most; count times each if left out"`
	Until  time.Time                  `json:"until" jsonschema:"description=The first moment after it; at most 30 days away"`
	Bounds map[string]approvals.Bound `json:"bounds,omitempty" jsonschema:"description=By argument. Of those left out every call has the value of that one"`
	Note   string                     `json:"note" jsonschema:"description=Why\\, for those who decide"`
}

var grantWishes = schemas.Of[grantWish]()

func (s *Server) askForGrant(w http.ResponseWriter, r *http.Request) {
	in, who, ok := admit[grantWish](s, w, r, grantWishes)
	if !ok {
		return
	}
	asked, err := s.gate.AskForGrant(r.Context(), who, gate.GrantWish{
		From: in.From, Count: in.Count, Each: in.Each, Total: in.Total, Until: in.Until, Bounds: in.Bounds, Note: in.Note,
	})
	s.tellAs(w, r, http.StatusAccepted, asked, err)
}

func (s *Server) listGrants(w http.ResponseWriter, r *http.Request) {
	grants, err := s.gate.Grants(r.Context(), visitOf(r.Context()).principal, r.URL.Query().Get("all") == "true")
	if grants == nil {
		grants = []approvals.Grant{}
	}
	s.tell(w, r, map[string][]approvals.Grant{"grants": grants}, err)
}

func (s *Server) showGrant(w http.ResponseWriter, r *http.Request) {
	grant, err := s.gate.Grant(r.Context(), visitOf(r.Context()).principal, r.PathValue("grant"))
	s.tell(w, r, grant, err)
}

func (s *Server) revokeGrant(w http.ResponseWriter, r *http.Request) {
	grant, err := s.gate.RevokeGrant(r.Context(), byVisitor(r), r.PathValue("grant"), r.URL.Query().Get("reason"))
	s.tell(w, r, grant, err)
}
