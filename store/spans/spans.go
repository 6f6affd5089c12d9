// Package spans are the parts of a call whose time is told to an OpenTelemetry collector: the request, the call, its tool, its transactions.
//
// A nil *Tracer traces nothing, and a nil *Span is a part of a call that is not traced; all methods of both may be called and then do nothing
// and allocate nothing. So the code that is traced has no condition in it, and with tracing off it costs a comparison.
//
// Whether a request is traced is decided once, at its beginning: by the share that the operator has chosen, and never against a caller who
// says that its trace is not kept (W3C Trace Context, the sampled flag). A caller can therefore have less traced, but not more. Whoever calls chooses
// the trace id, so a trace is no proof of anything; the record is (package audit).
//
// What a span may say is what this package has a method for: a tool of ours, a verdict, a code, the id of a call, the version of a policy, a
// route, a status. There is none for arguments, errors, addresses, names or secrets.
package spans

import (
	"context"
	"math/rand/v2"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// A Tracer begins spans. It may be used concurrently.
type Tracer struct {
	otel  trace.Tracer
	share float64 // of the requests that are traced, 0 to 1
}

// New makes a tracer that traces a share of requests, from 0 to 1.
func New(t trace.Tracer, share float64) *Tracer { return &Tracer{otel: t, share: share} }

// A Span is a part of a call that is traced; nil when it is not.
type Span struct{ otel trace.Span }

// carriage is how trace contexts are written in headers.
var carriage propagation.TraceContext

// Request begins the span of an HTTP request, in the trace of the caller if it names one (https://www.w3.org/TR/trace-context/).
func (t *Tracer) Request(ctx context.Context, h http.Header) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	within := carriage.Extract(ctx, propagation.HeaderCarrier(h))
	caller := trace.SpanContextFromContext(within)
	if caller.IsValid() && !caller.IsSampled() || !t.chosen() {
		return ctx, nil
	}
	return t.begin(within, "request", trace.WithSpanKind(trace.SpanKindServer))
}

// Work begins the span of something that nobody asked for just now, such as a job that is due.
func (t *Tracer) Work(ctx context.Context, name string) (context.Context, *Span) {
	if t == nil || !t.chosen() {
		return ctx, nil
	}
	return t.begin(ctx, name, trace.WithNewRoot())
}

func (t *Tracer) chosen() bool { return t.share >= 1 || rand.Float64() < t.share }

// Part begins a span within the one of ctx. There is none when that is not traced.
func (t *Tracer) Part(ctx context.Context, name string) (context.Context, *Span) {
	if t == nil || !traced(ctx) {
		return ctx, nil
	}
	return t.begin(ctx, name)
}

// Message is Part for a message that may name a trace itself, as MCP's do under _meta (SEP-414). When that is another than the trace of the
// request that brought it, the span belongs to the message's trace and is linked to the request's.
func (t *Tracer) Message(ctx context.Context, name, traceparent string) (context.Context, *Span) {
	if t == nil || !traced(ctx) {
		return ctx, nil
	}
	request := trace.SpanContextFromContext(ctx)
	sender := trace.SpanContextFromContext(carriage.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent}))
	if !sender.IsSampled() || sender.TraceID() == request.TraceID() {
		return t.begin(ctx, name)
	}
	return t.begin(trace.ContextWithRemoteSpanContext(ctx, sender), name, trace.WithLinks(trace.Link{SpanContext: request}))
}

func traced(ctx context.Context) bool { return trace.SpanFromContext(ctx).IsRecording() }

func (t *Tracer) begin(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, *Span) {
	ctx, s := t.otel.Start(ctx, name, o...)
	return ctx, &Span{s}
}

// Check notes in the span of ctx what a check said.
func (t *Tracer) Check(ctx context.Context, name, verdict string) {
	if t == nil || !traced(ctx) {
		return
	}
	trace.SpanFromContext(ctx).AddEvent("check", trace.WithAttributes(attribute.String("dtcgate.check", name), attribute.String("dtcgate.verdict", verdict)))
}

// In gives a context in which the span is the one that parts belong to.
func (s *Span) In(ctx context.Context) context.Context {
	if s == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, s.otel)
}

// Trace is the id of the trace, for the log; "" when there is none.
func (s *Span) Trace() string {
	if s == nil {
		return ""
	}
	return s.otel.SpanContext().TraceID().String()
}

// A Call is what the span of a call tells of it.
type Call struct {
	ID, Tool, Transport, Verdict, Code string // Tool and Code may be ""
	PolicyVersion                      int64
	Fault                              bool // ours, and not the caller's
}

// Called says what became of a call.
func (s *Span) Called(c Call) {
	if s == nil {
		return
	}
	s.set("dtcgate.call_id", c.ID)
	s.set("gen_ai.tool.name", c.Tool)
	s.set("dtcgate.transport", c.Transport)
	s.set("dtcgate.verdict", c.Verdict)
	s.set("dtcgate.code", c.Code)
	if c.PolicyVersion > 0 {
		s.otel.SetAttributes(attribute.Int64("dtcgate.policy_version", c.PolicyVersion))
	}
	s.fails(c.Fault)
}

// Answered says what an HTTP request was answered: by which route, as the server names it, and with which status.
func (s *Span) Answered(route, rpc string, status int) {
	if s == nil {
		return
	}
	if route != "" {
		s.otel.SetName(route)
		s.set("http.route", route)
	}
	s.set("mcp.method.name", rpc)
	s.otel.SetAttributes(attribute.Int("http.response.status_code", status))
	s.fails(status >= 500)
}

// Tool says which tool runs, and in which of its ways.
func (s *Span) Tool(name string) {
	if s != nil {
		s.set("gen_ai.tool.name", name)
	}
}

// End ends the span. One that failed is marked so; why is not for a span to say.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	s.fails(err != nil)
	s.otel.End()
}

func (s *Span) set(key, value string) {
	if value != "" {
		s.otel.SetAttributes(attribute.String(key, value))
	}
}

func (s *Span) fails(failed bool) {
	if failed {
		s.otel.SetStatus(codes.Error, "")
	}
}
