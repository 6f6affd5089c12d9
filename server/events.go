package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/tools"
)

const (
	// heartbeat is how often an idle stream says something, so that what stands between keeps it open.
	heartbeat = 15 * time.Second
	// takeTime is how long a browser may take over one write.
	takeTime = 10 * time.Second
	// comeBack is when a browser that lost its stream asks again, in milliseconds.
	comeBack = 2000
)

// streamEvents sends a person's open page what happens, as server-sent events (HTML, 9.2). The id of an event is the number in the record up to
// which the page then knows everything; a browser that comes back names it, and a page that begins names the one it was made at.
func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request) {
	after, err := startOf(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	l, err := s.gate.Listen(r.Context(), visitOf(r.Context()).principal, after)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.leaving, cancel)()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep it back
	e := eventWriter{w: w, control: http.NewResponseController(w), idle: s.heartbeat}
	if r.Method == http.MethodHead {
		return
	}
	if err := e.write("retry: %d\n\n", comeBack); err == nil {
		e.follow(ctx, l)
	}
}

// startOf is the number after which a page wants to be told what happened.
func startOf(r *http.Request) (int64, error) {
	text := r.Header.Get("Last-Event-ID")
	if text == "" {
		text = r.URL.Query().Get("after")
	}
	if text == "" {
		return gate.FromNow, nil
	}
	after, err := strconv.ParseInt(text, 10, 64)
	if err != nil || after < 0 {
		return 0, tools.Wrong("after", "is not the id of an event", "a whole number, or nothing to begin now", 0)
	}
	return after, nil
}

// An eventWriter sends events to one browser.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	idle    time.Duration // after which something is said all the same
}

// follow sends what l hears until one of both ends.
func (e eventWriter) follow(ctx context.Context, l *gate.Listener) {
	for {
		next, cancel := context.WithTimeout(ctx, e.idle)
		n, err := l.Next(next)
		cancel()
		switch {
		case err == nil:
			err = e.send(n)
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			// An id without data moves the browser on and tells the page nothing.
			err = e.write(":\nid: %d\n\n", l.Told())
		}
		if err != nil {
			return
		}
	}
}

func (e eventWriter) send(n gate.News) error {
	if n.Seq == 0 { // is no entry's, and the browser stays where it is
		return e.write("event: %s\ndata: %s\n\n", n.Kind, n.Data)
	}
	return e.write("id: %d\nevent: %s\ndata: %s\n\n", n.Seq, n.Kind, n.Data)
}

// write sends text at once. A browser that does not take it in time is given up.
func (e eventWriter) write(format string, values ...any) error {
	if err := e.control.SetWriteDeadline(time.Now().Add(takeTime)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(e.w, format, values...); err != nil {
		return err
	}
	return e.control.Flush()
}
