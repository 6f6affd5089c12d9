package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/store/spans"
	"github.com/dtcgate/dtcgate/tools"
)

// visitKey is the context key of a request's *visit. The go-sdk hands requests on as contexts, so this is the only way
// for what is known about a request to reach the tools/call that it holds.
type visitKey struct{}

// A visit is what is known about one HTTP request on its way, for the call it makes and the line it is logged as.
type visit struct {
	started time.Time
	source  string // address of the client
	counted bool   // a refusal that is one of many
	// ctx ends when the client has gone or the server has to hurry. It is the calls' and not the request's, which the
	// go-sdk would leave unanswered, and it is kept here because the go-sdk drops a context's end on the way for clients
	// of the 2025 protocols.
	ctx       context.Context
	principal auth.Principal
	span      *spans.Span // nil: it is not traced
	pattern   string      // of the route; "" for none

	mu     sync.Mutex // guards the rest: the go-sdk answers on other goroutines than the request's
	rpc    string     // JSON-RPC method
	tool   string
	code   string
	callID string
	wanted *tools.Refusal // in place of the answer that the go-sdk is writing
	task   *task          // in place of the result of the call that the request makes
}

func visitOf(ctx context.Context) *visit { return ctx.Value(visitKey{}).(*visit) }

// A visited is the context of a request that is on a visit.
type visited struct {
	context.Context
	visit *visit
}

// Value implements context.Context.
func (c *visited) Value(key any) any {
	if key == (visitKey{}) {
		return c.visit
	}
	return c.Context.Value(key)
}

// An arrival is all that a request needs here, in one piece.
type arrival struct {
	visit   visit
	answer  answer
	visited visited
	until   until
}

func (v *visit) speaks(rpc string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.rpc = rpc
}

// called notes which call the request made, and code, how it was refused, if it was.
func (v *visit) called(tool, callID, code string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if tool != "" {
		v.tool = tool
	}
	v.callID, v.code = callID, code
}

// method gives the JSON-RPC method where it is one of ours.
func (v *visit) method() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if slices.Contains(methods, v.rpc) {
		return v.rpc
	}
	return ""
}

func (v *visit) calledTool() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tool
}

// refused wants a refusal as the answer to the request itself, and not as a result in it.
func (v *visit) refused(r tools.Refusal) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wanted = &r
}

// becomes wants a task as the answer to the call, which handlers of tools cannot give to the go-sdk.
func (v *visit) becomes(k *task) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.task = k
}

func (v *visit) becameTask() *task {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.task
}

func (v *visit) refusal() *tools.Refusal {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.wanted
}

// An answer counts what is written through it.
type answer struct {
	http.ResponseWriter
	status int
	bytes  int
}

// Unwrap lets http.ResponseController reach the writer below.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(b)
	a.bytes += n
	return n, err
}

// statusGone is logged, after nginx, for a client that left before it was answered.
const statusGone = 499

// logLine writes the request's one line. It holds no query, no argument, no header and no body: any of them may be
// personal or a secret.
func (s *Server) logLine(a *answer, r *http.Request, v *visit) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e := s.log.Info().Str("method", shown(r.Method)).Str("path", loggable(r.URL.Path)).Int("status", a.status)
	for _, field := range [...][2]string{ // only the first may be of the request's own making
		{"rpc", secret.Redact(v.rpc)}, {"tool", v.tool}, {"code", v.code}, {"call_id", v.callID}, {"principal", v.principal.ID}, {"source", v.source}, {"trace_id", v.span.Trace()},
	} {
		if field[1] != "" {
			e = e.Str(field[0], field[1])
		}
	}
	e.Float64("ms", float64(time.Since(v.started).Microseconds())/1000).Int("bytes", a.bytes).Msg("request")
}

// shownMax bounds what a line or an answer repeats of a request, in bytes.
const shownMax = 200

// shown is text of a request in a form that may stand in a line or an answer.
func shown(s string) string {
	s = secret.Redact(s)
	if len(s) > shownMax {
		s = s[:shownMax] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
