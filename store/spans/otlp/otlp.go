// Package otlp sends spans to a collector, as OTLP over HTTP has it (https://opentelemetry.io/docs/specs/otlp/, JSON encoding).
//
// The encoding is written here (encode.go) over the exporter interface of OpenTelemetry's SDK, which collects and batches. The exporter that
// OpenTelemetry has for Go brings gRPC, protocol buffers and Google's API types with it, for a format of which a page is used.
//
// Spans wait in a queue of maxQueue; what does not fit, and what a collector does not take within exportTime, is dropped and counted, and no
// call waits for it. A trace is a help to operators and no record.
package otlp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	maxQueue   = 4096             // spans: some 8 MB at most
	maxBatch   = 512              // spans in one request
	sendEvery  = 5 * time.Second  // when there are fewer
	exportTime = 10 * time.Second // for one request
	maxAnswer  = 4 << 10          // bytes that are read of an answer, so that the connection can be used again
)

// Config is everything a Collector depends on.
type Config struct {
	Endpoint string // of the collector, such as http://127.0.0.1:4318, to which /v1/traces is added
	Headers  string // OTEL_EXPORTER_OTLP_HEADERS: name=value,…, percent-encoded; it may hold a secret
	Version  string // of this program
	Client   *http.Client
	OnError  func(error) // told once when sending begins to fail
}

// A Collector takes what tracers collect, somewhere else.
type Collector struct {
	Config
	headers  http.Header
	provider *sdk.TracerProvider
	failing  atomic.Bool

	sent, lost atomic.Int64 // spans
}

// Open makes a collector's client. It sends from a goroutine of its own, until Close.
func Open(c Config) (*Collector, error) {
	address, err := ParseEndpoint(c.Endpoint)
	if err != nil {
		return nil, err
	}
	o := &Collector{Config: c}
	o.Endpoint = address.JoinPath("v1", "traces").String()
	if o.headers, err = parseHeaders(c.Headers); err != nil {
		return nil, err
	}
	o.provider = sdk.NewTracerProvider(
		sdk.WithSampler(sdk.AlwaysSample()), // package spans has decided
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "dtcgate"), attribute.String("service.version", c.Version))),
		sdk.WithBatcher(o, sdk.WithMaxQueueSize(maxQueue), sdk.WithMaxExportBatchSize(maxBatch), sdk.WithBatchTimeout(sendEvery), sdk.WithExportTimeout(exportTime)),
	)
	return o, nil
}

// Tracer gives what begins spans.
func (o *Collector) Tracer() trace.Tracer { return o.provider.Tracer("github.com/dtcgate/dtcgate") }

// Close sends what waits, as far as ctx allows, and ends.
func (o *Collector) Close(ctx context.Context) error { return o.provider.Shutdown(ctx) }

// Sent gives how many spans were taken by the collector, and how many it was offered and did not take.
func (o *Collector) Sent() (sent, lost int64) { return o.sent.Load(), o.lost.Load() }

// ExportSpans implements the SDK's SpanExporter. It reports nothing to the SDK, which would write it to the standard error.
func (o *Collector) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := o.post(ctx, spans)
	if err == nil {
		o.sent.Add(int64(len(spans)))
		o.failing.Store(false)
		return nil
	}
	o.lost.Add(int64(len(spans)))
	if !o.failing.Swap(true) && o.OnError != nil {
		o.OnError(fmt.Errorf("sending traces: %w", err))
	}
	return nil
}

// Shutdown implements the SDK's SpanExporter.
func (o *Collector) Shutdown(context.Context) error {
	o.Client.CloseIdleConnections()
	return nil
}

func (o *Collector) post(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	body, err := encode(spans)
	if err != nil {
		return fmt.Errorf("writing spans: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, o.Endpoint, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	maps.Copy(r.Header, o.headers)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "dtcgate-traces/"+o.Version)
	resp, err := o.Client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the collector answered %d", resp.StatusCode)
	}
	return nil
}

// ParseEndpoint checks the address of a collector.
func ParseEndpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("the collector is an address such as http://127.0.0.1:4318 or https://otlp.example.com, with nothing after the path; a secret for it goes into OTEL_EXPORTER_OTLP_HEADERS")
	}
	return u, nil
}

// parseHeaders reads headers as https://opentelemetry.io/docs/specs/otel/protocol/exporter/ has them. No error repeats a value.
func parseHeaders(text string) (http.Header, error) {
	h := http.Header{}
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if !ok || name == "" || err != nil {
			return nil, errors.New("OTEL_EXPORTER_OTLP_HEADERS is name=value,name=value, with what is special in a value percent-encoded")
		}
		h.Set(name, value)
	}
	return h, nil
}
