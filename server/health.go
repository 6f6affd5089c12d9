package server

import (
	"context"
	"net/http"
	"time"
)

// readyTime is how long the database may take to answer /readyz.
const readyTime = time.Second

// healthz says that the process lives.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	s.write(w, http.StatusOK, "", []byte(`{"status":"ok"}`))
}

// readyz says whether calls are to be sent here: whether the database would commit a write, whether there is a policy to judge calls
// by, and whether the process is to stay. More than which of the three it is stands in the log only.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if s.unready.Load() {
		s.notReady(w, `{"status":"leaving"}`)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	body := `{"status":"unavailable"}`
	err := s.db.Ping(ctx)
	if err == nil {
		if err = s.gate.Ready(ctx); err != nil {
			body = `{"status":"no_policy"}`
		}
	}
	if err != nil {
		s.log.Warn().Err(err).Msg("not ready")
		s.notReady(w, body)
		return
	}
	s.write(w, http.StatusOK, "", []byte(`{"status":"ready"}`))
}

func (s *Server) notReady(w http.ResponseWriter, body string) {
	w.Header().Set("Retry-After", retryAfter)
	s.write(w, http.StatusServiceUnavailable, "", []byte(body))
}
