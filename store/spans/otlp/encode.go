package otlp

import (
	"encoding/json"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// What follows are the messages of opentelemetry/proto/trace/v1/trace.proto as far as they are used, in OTLP's JSON: ids are hex and not
// base64, 64-bit integers are strings, enumerations are numbers.
type (
	tracesData struct {
		ResourceSpans []resourceSpans `json:"resourceSpans"`
	}
	resourceSpans struct {
		Resource   resourceJSON `json:"resource"`
		ScopeSpans []scopeSpans `json:"scopeSpans"`
	}
	resourceJSON struct {
		Attributes []keyValue `json:"attributes"`
	}
	scopeSpans struct {
		Scope scope  `json:"scope"`
		Spans []span `json:"spans"`
	}
	scope struct {
		Name string `json:"name"`
	}
	span struct {
		TraceID       string     `json:"traceId"`
		SpanID        string     `json:"spanId"`
		TraceState    string     `json:"traceState,omitempty"`
		ParentSpanID  string     `json:"parentSpanId,omitempty"`
		Name          string     `json:"name"`
		Kind          int        `json:"kind"`
		Start         nanos      `json:"startTimeUnixNano"`
		End           nanos      `json:"endTimeUnixNano"`
		Attributes    []keyValue `json:"attributes,omitempty"`
		Events        []event    `json:"events,omitempty"`
		DroppedEvents int        `json:"droppedEventsCount,omitempty"`
		Links         []link     `json:"links,omitempty"`
		Status        *status    `json:"status,omitempty"`
	}
	event struct {
		At         nanos      `json:"timeUnixNano"`
		Name       string     `json:"name"`
		Attributes []keyValue `json:"attributes,omitempty"`
	}
	link struct {
		TraceID string `json:"traceId"`
		SpanID  string `json:"spanId"`
	}
	status struct {
		Code int `json:"code"`
	}
	keyValue struct {
		Key   string   `json:"key"`
		Value anyValue `json:"value"`
	}
	anyValue struct {
		String *string `json:"stringValue,omitempty"`
		Int    *string `json:"intValue,omitempty"`
	}
	nanos time.Time
)

// statusError is STATUS_CODE_ERROR of the format, which counts otherwise than the SDK.
const statusError = 2

// MarshalText gives nanoseconds since 1970, in decimals.
func (n nanos) MarshalText() ([]byte, error) {
	return strconv.AppendInt(nil, time.Time(n).UnixNano(), 10), nil
}

// encode writes spans, which all have one resource and one scope: there is one provider and one tracer.
func encode(spans []sdk.ReadOnlySpan) ([]byte, error) {
	if len(spans) == 0 {
		return json.Marshal(tracesData{ResourceSpans: []resourceSpans{}})
	}
	all := make([]span, len(spans))
	for i, s := range spans {
		all[i] = spanOf(s)
	}
	first := spans[0]
	return json.Marshal(tracesData{[]resourceSpans{{
		Resource:   resourceJSON{attributesOf(first.Resource().Attributes())},
		ScopeSpans: []scopeSpans{{scope{first.InstrumentationScope().Name}, all}},
	}}})
}

func spanOf(s sdk.ReadOnlySpan) span {
	own := s.SpanContext()
	j := span{
		TraceID: own.TraceID().String(), SpanID: own.SpanID().String(), TraceState: own.TraceState().String(),
		Name: s.Name(), Kind: int(s.SpanKind()), Start: nanos(s.StartTime()), End: nanos(s.EndTime()),
		Attributes: attributesOf(s.Attributes()), DroppedEvents: s.DroppedEvents(),
	}
	if parent := s.Parent(); parent.HasSpanID() {
		j.ParentSpanID = parent.SpanID().String()
	}
	for _, e := range s.Events() {
		j.Events = append(j.Events, event{nanos(e.Time), e.Name, attributesOf(e.Attributes)})
	}
	for _, l := range s.Links() {
		j.Links = append(j.Links, linkOf(l.SpanContext))
	}
	if s.Status().Code == codes.Error {
		j.Status = &status{statusError}
	}
	return j
}

func linkOf(to trace.SpanContext) link {
	return link{to.TraceID().String(), to.SpanID().String()}
}

// attributesOf writes strings and integers; package spans makes no others.
func attributesOf(all []attribute.KeyValue) []keyValue {
	list := make([]keyValue, 0, len(all))
	for _, a := range all {
		text := a.Value.String()
		v := anyValue{String: &text}
		if a.Value.Type() == attribute.INT64 {
			v = anyValue{Int: &text}
		}
		list = append(list, keyValue{string(a.Key), v})
	}
	return list
}
