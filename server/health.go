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

// readyz says whether calls can be answered now: whether the database would commit a write, and whether there is a policy to judge calls
// by. More than which of the two it is stands in the log only.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
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
		w.Header().Set("Retry-After", retryAfter)
		s.write(w, http.StatusServiceUnavailable, "", []byte(body))
		return
	}
	s.write(w, http.StatusOK, "", []byte(`{"status":"ready"}`))
}
