package server

import (
	"net/http"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// A reconciliation is the body that says what became of a call of which nobody knew.
type reconciliation struct {
	Outcome tools.Known `json:"outcome" jsonschema:"enum=happened,enum=did_not_happen"`
	Reason  string      `json:"reason" jsonschema:"minLength=1,description=How you know; the agent reads it"`
}

var reconciliations = schemas.Of[reconciliation]()

func (s *Server) reconcileJob(w http.ResponseWriter, r *http.Request) {
	in, err := readBody[reconciliation](w, r, reconciliations, `Send {"outcome":"happened","reason":"…"} or {"outcome":"did_not_happen","reason":"…"}.`)
	wrong := wrongArguments(err)
	if err != nil && wrong == nil {
		s.refuse(w, r, err)
		return
	}
	v := visitOf(r.Context())
	job, err := s.gate.Reconcile(r.Context(), v.principal, gate.Reconciliation{
		JobID: r.PathValue("id"), Outcome: in.Outcome, Reason: in.Reason, Channel: "rest", Source: v.source, Wrong: wrong,
	})
	s.tell(w, r, job, err)
}
