package server

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// handleDeputies makes the routes on which people take back what they said, say who stands in for them, and see how the rules do.
func (s *Server) handleDeputies() {
	s.handle("POST "+tools.BasePath+"/approvals/{id}/withdraw", s.knownOrSignedIn(s.toRequest(s.gate.Withdraw)))
	s.handle("POST "+tools.BasePath+"/approvals/{id}/cancel", s.knownOrSignedIn(s.toRequest(s.gate.CallOff)))
	s.handle("GET "+tools.BasePath+"/approvals/report", s.knownOrSignedIn(s.showReport))
	s.handle("GET "+tools.BasePath+"/delegations", s.knownOrSignedIn(s.listDeputies))
	s.handle("POST "+tools.BasePath+"/delegations", s.knownOrSignedIn(s.addDeputy))
	s.handle("DELETE "+tools.BasePath+"/delegations/{id}", s.knownOrSignedIn(s.endDeputy))
}

// why is the body of what a person does to a request beside voting.
type why struct {
	Reason string `json:"reason,omitempty" jsonschema:"maxLength=2000,description=Why\\, for the record and the agent"`
}

var whys = schemas.Of[why]()

// toRequest answers what a person does to a request.
func (s *Server) toRequest(act func(context.Context, auth.Principal, gate.Ballot) (gate.Decided, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		in, err := readBody[why](w, r, whys, `Send {} or {"reason":"…"}.`)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		v := visitOf(r.Context())
		d, err := act(r.Context(), v.principal, gate.Ballot{ID: r.PathValue("id"), Reason: in.Reason, Channel: "rest", Source: v.source})
		s.tell(w, r, d, err)
	}
}

func (s *Server) showReport(w http.ResponseWriter, r *http.Request) {
	days := 7
	if asked := r.URL.Query().Get("days"); asked != "" {
		days, _ = strconv.Atoi(asked) // what is no number is 0, for the gate to refuse
	}
	report, err := s.gate.ApprovalReport(r.Context(), visitOf(r.Context()).principal, days)
	s.tell(w, r, map[string][]approvals.RuleReport{"rules": report}, err)
}

func (s *Server) listDeputies(w http.ResponseWriter, r *http.Request) {
	all, err := s.gate.Deputies(r.Context(), visitOf(r.Context()).principal)
	s.tell(w, r, map[string][]approvals.Delegation{"delegations": all}, err)
}

// A deputy is the body that says who stands in.
type deputy struct {
	Deputy string    `json:"deputy" jsonschema:"maxLength=80,description=The name or id of the person who stands in"`
	Absent string    `json:"absent,omitempty" jsonschema:"maxLength=80,description=The name or id of the person who is away; you\\, if left out. For somebody else it takes keys:admin"`
	From   time.Time `json:"from,omitzero" jsonschema:"description=Now\\, if left out"`
	Until  time.Time `json:"until" jsonschema:"description=90 days after from at most"`
}

var deputies = schemas.Of[deputy]()

func (s *Server) addDeputy(w http.ResponseWriter, r *http.Request) {
	in, err := readBody[deputy](w, r, deputies, `Send {"deputy":"jo","until":"2026-12-24T18:00:00Z"}.`)
	wrong := wrongArguments(err)
	if err != nil && wrong == nil {
		s.refuse(w, r, err)
		return
	}
	d, err := s.gate.Deputise(r.Context(), administering(r, wrong), gate.Deputising{Absent: in.Absent, Deputy: in.Deputy, From: in.From, Until: in.Until})
	s.tellAs(w, r, http.StatusCreated, d, err)
}

func (s *Server) endDeputy(w http.ResponseWriter, r *http.Request) {
	d, err := s.gate.EndDeputy(r.Context(), administering(r, nil), r.PathValue("id"))
	s.tell(w, r, d, err)
}
