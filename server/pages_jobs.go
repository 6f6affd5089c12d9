package server

import (
	"net/http"
	"net/url"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/tools"
)

// handleJobs makes the pages of what runs.
func (s *Server) handleJobs() {
	s.handle("GET /jobs", guarded(s.signedIn(s.showJobs)))
	s.handle("GET /jobs/{id}", guarded(s.signedIn(s.showJob)))
	s.handle("POST /jobs/{id}/reconcile", guarded(s.signedIn(s.reconcileOnPage)))
}

func (s *Server) showJobs(w http.ResponseWriter, r *http.Request) {
	jobs, err := s.gate.JobBoard(r.Context(), visitOf(r.Context()).principal)
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "jobs", page{Title: "Jobs", At: "jobs", Main: jobs})
}

// jobPage is what the page of one job shows.
type jobPage struct {
	gate.JobSheet
	Token   string
	Reason  string         // that was typed before something went wrong
	Problem *tools.Refusal // what went wrong
}

func (s *Server) showJob(w http.ResponseWriter, r *http.Request) { s.job(w, r, "", nil) }

// job shows a job, with what went wrong and what was typed before.
func (s *Server) job(w http.ResponseWriter, r *http.Request, reason string, problem error) {
	sheet, err := s.gate.JobSheet(r.Context(), visitOf(r.Context()).principal, r.PathValue("id"))
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	j, status := jobPage{JobSheet: sheet, Token: formToken(r), Reason: reason}, http.StatusOK
	if problem != nil {
		refusal := asRefusal(problem)
		j.Problem, status = &refusal, wires[refusal.Code].http
	}
	s.show(w, r, status, "job", page{Title: sheet.Job.Summary, At: "jobs", Main: j})
}

// reconcileOnPage takes what a person found out about a call of which nobody knew whether it happened.
func (s *Server) reconcileOnPage(w http.ResponseWriter, r *http.Request) {
	f, err := form(w, r, "csrf", "outcome", "reason")
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	v := visitOf(r.Context())
	if err = fromOwnForm(r, f[0]); err == nil {
		_, err = s.gate.Reconcile(r.Context(), v.principal, gate.Reconciliation{
			JobID: r.PathValue("id"), Outcome: tools.Known(f[1]), Reason: f[2], Channel: webChannel, Source: v.source,
		})
	}
	if err != nil {
		s.job(w, r, f[2], err)
		return
	}
	http.Redirect(w, r, "/jobs/"+url.PathEscape(r.PathValue("id")), http.StatusSeeOther)
}
