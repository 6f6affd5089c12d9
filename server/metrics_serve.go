package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	stdlog "log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Who may read the metrics. They tell which tools are called how often and what is refused, which is a map for an attacker, and hold nothing
// of merchants but their ids. So they are served to nobody unless the operator says so, in one of two ways: on a listener of their own, which
// needs the scrape token too unless it is on a loopback address; or, with the scrape token, beside everything else to the admins' networks.
// A credential of an agent or a person never opens them, nor the token anything else.

const metricsPath = "/metrics"

// scrapeTime bounds a scrape: longer than what is read of the database may take.
const scrapeTime = 5 * time.Second

// maxScrapes bounds scrapes at the same time.
const maxScrapes = 4

// handler answers with the metrics.
func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes, Timeout: scrapeTime, DisableCompression: true,
	})
}

// MinScrapeToken is how long a scrape token must be, in characters.
const MinScrapeToken = 24

// scrapes reports whether a request brings the scrape token. Both are hashed first, so that not even lengths are compared in time.
func scrapes(r *http.Request, token string) bool {
	scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	a, b := sha256.Sum256([]byte(strings.TrimSpace(got))), sha256.Sum256([]byte(token))
	return token != "" && strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// metricsHere is the route on the listener of everything else, for a server that has a scrape token.
func (s *Server) metricsHere(m *Metrics) http.HandlerFunc {
	h := m.handler()
	return func(w http.ResponseWriter, r *http.Request) {
		if !scrapes(r, s.scrape) {
			s.refuse(w, r, noRoute()) // an agent learns nothing, not even that it is there
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	}
}

// metricsAlone is the handler of the listener of their own.
func (s *Server) metricsAlone(m *Metrics) http.Handler {
	h := m.handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !s.allowedHost(r): // a page whose name was pointed at this machine
			http.Error(w, "not reachable under that Host", http.StatusForbidden)
		case s.scrape != "" && !scrapes(r, s.scrape):
			w.Header().Set("WWW-Authenticate", `Bearer realm="metrics"`)
			http.Error(w, "the scrape token is missing or not valid", http.StatusUnauthorized)
		case r.URL.Path != metricsPath || r.Method != http.MethodGet && r.Method != http.MethodHead:
			http.NotFound(w, r)
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// ServeMetrics answers scrapes, and nothing else, on ln until ctx ends.
func ServeMetrics(ctx context.Context, ln net.Listener, s *Server) error {
	srv := HTTPServer(s.metricsAlone(s.metrics))
	srv.ErrorLog = stdlog.New(s.log, "", 0)
	stopped := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stopped()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
