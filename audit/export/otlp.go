package export

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/dtcgate/dtcgate/audit"
)

// An OTLP takes batches as an OpenTelemetry collector does: ExportLogsServiceRequest over OTLP/HTTP with JSON encoding (opentelemetry.io/docs/specs/otlp,
// 1.10.0; proto logs/v1). The JSON is protobuf's own mapping: lowerCamelCase names, 64-bit integers as strings, enumerations as numbers.
//
// The specification has a client drop what is refused with another status than 429, 502, 503 and 504. An audit log drops nothing: it is sent again, after the
// same growing pauses, until somebody has put the receiver right. What a receiver rejects of a batch that it has taken (partial success) must not be sent again;
// OnReject hears of it.
type OTLP struct {
	To       *Address
	Headers  map[string]string // such as Authorization
	OnReject func(error)       // may be nil
}

// An attribute is a KeyValue of opentelemetry.proto.common.v1.
type attribute struct {
	Key   string   `json:"key"`
	Value anyValue `json:"value"`
}

// anyValue is an AnyValue: one of its members is set.
type anyValue struct {
	String *string   `json:"stringValue,omitempty"`
	Bool   *bool     `json:"boolValue,omitempty"`
	Int    *string   `json:"intValue,omitempty"`
	Double *float64  `json:"doubleValue,omitempty"`
	Array  *anyArray `json:"arrayValue,omitempty"`
	Map    *anyMap   `json:"kvlistValue,omitempty"`
}

type anyArray struct {
	Values []anyValue `json:"values"`
}

type anyMap struct {
	Values []attribute `json:"values"`
}

type logRecord struct {
	TimeUnixNano         string      `json:"timeUnixNano"`
	ObservedTimeUnixNano string      `json:"observedTimeUnixNano"`
	SeverityNumber       int         `json:"severityNumber"`
	SeverityText         string      `json:"severityText"`
	EventName            string      `json:"eventName"`
	Body                 anyValue    `json:"body"`
	Attributes           []attribute `json:"attributes"`
}

type scopeLogs struct {
	Scope      named       `json:"scope"`
	LogRecords []logRecord `json:"logRecords"`
}

type resourceOf struct {
	Attributes []attribute `json:"attributes"`
}

type resourceLogs struct {
	Resource  resourceOf  `json:"resource"`
	ScopeLogs []scopeLogs `json:"scopeLogs"`
}

type logsRequest struct {
	ResourceLogs []resourceLogs `json:"resourceLogs"`
}

// logsResponse is what of ExportLogsServiceResponse matters. The number may come as a string or as a number.
type logsResponse struct {
	PartialSuccess struct {
		Rejected json.Number `json:"rejectedLogRecords"`
	} `json:"partialSuccess"`
}

// Send makes one attempt.
func (o *OTLP) Send(ctx context.Context, b Batch) error {
	body, err := encodeLogs(b.Entries)
	if err != nil {
		return err
	}
	answer, err := o.To.post(ctx, body, func(r *http.Request) error {
		for name, value := range o.Headers {
			r.Header.Set(name, value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var said logsResponse
	if json.Unmarshal(answer, &said) == nil && o.OnReject != nil {
		if n, err := said.PartialSuccess.Rejected.Int64(); err == nil && n > 0 {
			o.OnReject(fmt.Errorf("exporting the audit log: the collector rejected %d of entries %d to %d for good", n, b.First, b.Last))
		}
	}
	return nil
}

func encodeLogs(entries []audit.Copy) ([]byte, error) {
	var logs resourceLogs
	logs.Resource.Attributes = []attribute{{"service.name", text(product)}}
	var scope scopeLogs
	scope.Scope.Name = logName
	for _, e := range entries {
		r, err := newRecord(e)
		if err != nil {
			return nil, fmt.Errorf("mapping entry %d: %w", e.Seq, err)
		}
		scope.LogRecords = append(scope.LogRecords, r)
	}
	logs.ScopeLogs = []scopeLogs{scope}
	return json.Marshal(logsRequest{[]resourceLogs{logs}})
}

// severities are OTLP's numbers and texts for OCSF's (logs data model, "Mapping of SeverityNumber").
var severities = map[int]struct {
	number int
	text   string
}{
	severityInformational: {9, "INFO"}, severityLow: {10, "INFO2"}, severityMedium: {13, "WARN"}, severityHigh: {17, "ERROR"},
}

// newRecord is an entry as a record. Observed is when it happened, too, so that a batch that is sent again has the same bytes.
func newRecord(e audit.Copy) (logRecord, error) {
	event := Map(e)
	event.Unmapped.Entry = nil // its bytes stand beside it, as they are
	body, err := valueOf(event)
	at := strconv.FormatInt(e.At.UnixNano(), 10)
	r := logRecord{
		TimeUnixNano: at, ObservedTimeUnixNano: at, SeverityNumber: severities[event.SeverityID].number, SeverityText: severities[event.SeverityID].text,
		EventName: "dtcgate." + e.Event, Body: body,
		Attributes: []attribute{{"log.record.uid", text(e.ID)}, {"dtcgate.audit.seq", whole(e.Seq)}, {"dtcgate.audit.entry", text(e.Body)}},
	}
	for _, a := range []struct{ key, value string }{{"client.address", e.Source}, {"dtcgate.tool", e.Tool}, {"dtcgate.call_id", e.CallID}, {"dtcgate.status", e.Status}} {
		if a.value != "" {
			r.Attributes = append(r.Attributes, attribute{a.key, text(a.value)})
		}
	}
	return r, err
}

// valueOf is the JSON form of v as an AnyValue.
func valueOf(v any) (anyValue, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return anyValue{}, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var plain any
	if err := d.Decode(&plain); err != nil {
		return anyValue{}, err
	}
	return wrap(plain), nil
}

func wrap(v any) anyValue {
	switch v := v.(type) {
	case string:
		return text(v)
	case bool:
		return anyValue{Bool: &v}
	case json.Number:
		return numeric(v)
	case []any:
		all := anyArray{Values: make([]anyValue, len(v))}
		for i, one := range v {
			all.Values[i] = wrap(one)
		}
		return anyValue{Array: &all}
	case map[string]any:
		all := anyMap{Values: []attribute{}}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			all.Values = append(all.Values, attribute{key, wrap(v[key])})
		}
		return anyValue{Map: &all}
	}
	return anyValue{} // null
}

func text(s string) anyValue { return anyValue{String: &s} }

func whole(n int64) anyValue {
	s := strconv.FormatInt(n, 10)
	return anyValue{Int: &s}
}

func numeric(n json.Number) anyValue {
	if i, err := n.Int64(); err == nil {
		return whole(i)
	}
	f, err := n.Float64()
	if err != nil {
		return text(n.String())
	}
	return anyValue{Double: &f}
}
