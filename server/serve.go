package server

import (
	"context"
	"errors"
	stdlog "log"
	"net"
	"net/http"
	"time"
)

// HTTPServer gives the limits under which h is served. A slow client holds a connection for as long as these times allow
// and no longer; an answer that waits for a job to change (25 s at most) must fit into them.
func HTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,

		DisableGeneralOptionsHandler: true, // it would answer OPTIONS * before the networks are asked
	}
}

// A Leave is how long a server takes to end.
type Leave struct {
	// Unready is how long it says that it is not ready (/readyz) before it accepts no more. Whoever sends requests to several servers has
	// stopped sending them here by then, so that none meets a closed socket. 0: there is no other server.
	Unready time.Duration
	// Drain is how long what was accepted may take from then on.
	Drain time.Duration
}

// Serve answers requests on ln until ctx ends. Then it says that it is not ready, and some time later it accepts no more, lets the accepted
// ones finish and returns within the time for that. Those still waiting for something after half of it are told to ask again. Streams end at
// once: a browser comes back to the next process.
func Serve(ctx context.Context, ln net.Listener, s *Server, l Leave) error {
	srv := HTTPServer(s)
	srv.ErrorLog = stdlog.New(s.log, "", 0)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	s.unready.Store(true)
	select {
	case err := <-served:
		return err
	case <-time.After(l.Unready):
	}
	s.leave()
	half := time.AfterFunc(l.Drain/2, s.hurry)
	defer half.Stop()
	left, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.Drain)
	defer cancel()
	err := srv.Shutdown(left)
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.Join(err, srv.Close())
	}
	return err
}
