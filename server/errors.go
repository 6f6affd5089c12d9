package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// Codes of requests that never became calls: what is wrong is their HTTP, so no gate has judged them.
const (
	codeHost      tools.Code = "FORBIDDEN_HOST"
	codeOrigin    tools.Code = "FORBIDDEN_ORIGIN"
	codeRoute     tools.Code = "UNKNOWN_ROUTE"
	codeMethod    tools.Code = "METHOD_NOT_ALLOWED"
	codeTooLarge  tools.Code = "BODY_TOO_LARGE"
	codeMedia     tools.Code = "UNSUPPORTED_MEDIA_TYPE"
	codeMalformed tools.Code = "MALFORMED_REQUEST"
)

// A wire is how a code goes out on each transport.
type wire struct {
	http int
	rpc  int64 // JSON-RPC error code; 0: MCP answers with a tool's result, which unlike an error reaches the model
}

// wires is the one table from codes to transports.
var wires = map[tools.Code]wire{
	tools.ForbiddenScope:      {http: http.StatusForbidden},
	tools.ForbiddenTool:       {http: http.StatusForbidden},
	tools.ForbiddenApprover:   {http: http.StatusForbidden},
	tools.ForbiddenResource:   {http: http.StatusForbidden},
	tools.ForbiddenNetwork:    {http: http.StatusForbidden},
	tools.StepUpRequired:      {http: http.StatusForbidden},
	tools.RateLimited:         {http: http.StatusTooManyRequests},
	tools.RiskCeiling:         {http: http.StatusForbidden},
	tools.BudgetExceeded:      {http: http.StatusTooManyRequests},
	tools.TrustTooLow:         {http: http.StatusForbidden},
	tools.ForbiddenByPolicy:   {http: http.StatusForbidden},
	tools.Frozen:              {http: http.StatusConflict},
	tools.QuietHours:          {http: http.StatusConflict},
	tools.InvalidArguments:    {http: http.StatusBadRequest},
	tools.StaleExpectation:    {http: http.StatusConflict},
	tools.Conflict:            {http: http.StatusConflict},
	tools.LimitExceeded:       {http: http.StatusUnprocessableEntity},
	tools.NotFound:            {http: http.StatusNotFound},
	tools.IdempotencyConflict: {http: http.StatusUnprocessableEntity},
	tools.UnknownTool:         {http: http.StatusNotFound, rpc: rpcInvalidParams},
	tools.Unauthorized:        {http: http.StatusUnauthorized},
	tools.ApprovalDenied:      {http: http.StatusConflict},
	tools.ApprovalExpired:     {http: http.StatusGone},
	tools.ApprovalInvalidated: {http: http.StatusConflict},
	tools.Unavailable:         {http: http.StatusServiceUnavailable},
	tools.Internal:            {http: http.StatusInternalServerError},

	codeHost:      {http: http.StatusForbidden},
	codeOrigin:    {http: http.StatusForbidden},
	codeRoute:     {http: http.StatusNotFound},
	codeMethod:    {http: http.StatusMethodNotAllowed},
	codeTooLarge:  {http: http.StatusRequestEntityTooLarge},
	codeMedia:     {http: http.StatusUnsupportedMediaType},
	codeMalformed: {http: http.StatusBadRequest},
}

// errPanicked is the fault of a request whose handler panicked. It is no refusal, so its caller is told nothing more.
var errPanicked = errors.New("a request panicked")

// asRefusal gives the refusal that err is. An error that is none tells the caller nothing.
func asRefusal(err error) tools.Refusal {
	var r *tools.Refusal
	if errors.As(err, &r) {
		return *r
	}
	return *tools.Refuse(tools.Internal, "Try again later; if it stays, tell the operator the call_id.", "Something is wrong inside the gate.")
}

// retryAfter is when a caller should try again what could not be handled, in seconds.
const retryAfter = "2"

// refuse answers a request with a refusal. One that the gate has given no id gets one here, so that an answer can be
// found in the log.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refusal := asRefusal(err)
	if refusal.CallID == "" {
		refusal.CallID = store.NewID("call", s.db.Now())
	}
	visitOf(r.Context()).called("", refusal.CallID, string(refusal.Code))
	if c := s.challengeTo(r, refusal); c != "" { // with every 401 (RFC 9110 15.5.2), also when the credential was good as the request came
		w.Header().Set("WWW-Authenticate", c)
	}
	switch refusal.Code {
	case tools.RateLimited: // RFC 9110 10.2.3: whole seconds
		w.Header().Set("Retry-After", strconv.FormatInt(refusal.RetryAfter, 10))
	case tools.Unavailable:
		w.Header().Set("Retry-After", retryAfter)
	case codeTooLarge, tools.ForbiddenNetwork:
		w.Header().Set("Connection", "close") // the rest of the body is not worth reading
	}
	s.write(w, wires[refusal.Code].http, refusal.CallID, bodyOf(refusal))
}

func bodyOf(r tools.Refusal) json.RawMessage {
	body, err := json.Marshal(r)
	if err != nil { // only the facts of a stale expectation are not plain text
		r.Errors = nil
		body, _ = json.Marshal(r)
	}
	return body
}

// write sends a JSON body. It is never stored by anybody between here and the caller.
func (s *Server) write(w http.ResponseWriter, status int, callID string, body json.RawMessage) {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["X-Content-Type-Options"] = jsonOnly, notToStore, notToGuess
	if callID != "" {
		h["X-Call-Id"] = []string{callID}
	}
	tellLength(h, len(body))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a caller that has gone is told nothing
}

// asText is a refusal for models and people, whole.
func asText(r tools.Refusal) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Refused (%s): %s", r.Code, r.Message)
	if r.Errors != nil {
		for _, f := range r.Errors.Fields {
			fmt.Fprintf(&b, "\n- %s %s; expected: %s", f.Field, f.Problem, f.Expected)
			if f.Example != nil {
				fmt.Fprintf(&b, "; example: %v", f.Example)
			}
		}
		if now, err := json.Marshal(r.Errors.Now); err == nil && len(r.Errors.Now) > 0 {
			fmt.Fprintf(&b, "\nNow: %s", now)
		}
	}
	if r.Next != "" {
		b.WriteString("\n" + r.Next)
	}
	return b.String()
}
