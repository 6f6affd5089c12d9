package server

import (
	"net/http"

	"github.com/dtcgate/dtcgate/gate"
)

// handleJobs makes the pages of what runs.
func (s *Server) handleJobs() {
	s.handle("GET /jobs", guarded(s.signedIn(s.showJobs)))
	s.handle("GET /jobs/{id}", guarded(s.signedIn(s.showJob)))
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
	Token string
}

func (s *Server) showJob(w http.ResponseWriter, r *http.Request) {
	j, err := s.gate.JobSheet(r.Context(), visitOf(r.Context()).principal, r.PathValue("id"))
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	s.show(w, r, http.StatusOK, "job", page{Title: j.Job.Summary, At: "jobs", Main: jobPage{j, formToken(r)}})
}
