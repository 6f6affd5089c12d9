package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/server"
	"github.com/dtcgate/dtcgate/store/spans"
	"github.com/dtcgate/dtcgate/store/spans/otlp"
)

// telemetry says who may watch a server. All of it is off by default.
type telemetry struct {
	MetricsListen string `placeholder:"HOST:PORT" help:"An address of its own for /metrics, such as 127.0.0.1:9090. Others than loopback addresses need DTCGATE_METRICS_TOKEN."`
	MetricsToken  string `hidden:"" help:"What opens /metrics, at least 24 characters. With it /metrics is also served to the admins' networks."`

	OTLPEndpoint string  `name:"otlp-endpoint" env:"DTCGATE_OTLP_ENDPOINT,OTEL_EXPORTER_OTLP_ENDPOINT" placeholder:"http://127.0.0.1:4318" help:"An OpenTelemetry collector that traces are sent to, over HTTP."`
	OTLPHeaders  string  `name:"otlp-headers" hidden:"" env:"DTCGATE_OTLP_HEADERS,OTEL_EXPORTER_OTLP_HEADERS" help:"Headers for the collector: name=value,…"`
	TraceShare   float64 `default:"1" placeholder:"0.1" help:"The share of requests that are traced, 0 to 1."`
}

func (t telemetry) check() error {
	if n := len(t.MetricsToken); n > 0 && n < server.MinScrapeToken {
		return fmt.Errorf("DTCGATE_METRICS_TOKEN has %d characters: it must be a random text of at least %d, such as `openssl rand -hex 24` prints", n, server.MinScrapeToken)
	}
	if t.TraceShare < 0 || t.TraceShare > 1 {
		return fmt.Errorf("--trace-share %v is not between 0 and 1", t.TraceShare)
	}
	if t.OTLPEndpoint != "" {
		if _, err := otlp.ParseEndpoint(t.OTLPEndpoint); err != nil {
			return fmt.Errorf("--otlp-endpoint: %w", err)
		}
	}
	if t.MetricsListen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(t.MetricsListen)
	if err != nil {
		return fmt.Errorf("--metrics-listen %q is not HOST:PORT, such as 127.0.0.1:9090", t.MetricsListen)
	}
	if ip, _ := netip.ParseAddr(host); t.MetricsToken == "" && host != "localhost" && !ip.IsLoopback() {
		return fmt.Errorf("--metrics-listen %s can be reached from elsewhere: set DTCGATE_METRICS_TOKEN and give it to Prometheus (authorization: credentials), or listen on 127.0.0.1", t.MetricsListen)
	}
	return nil
}

// instruments are what a running server is watched with.
type instruments struct {
	metrics   net.Listener // nil: none of its own
	spans     *spans.Tracer
	collector *otlp.Collector
	log       zerolog.Logger
}

func (t telemetry) install(log zerolog.Logger) (w *instruments, err error) {
	w = &instruments{log: log}
	if t.OTLPEndpoint != "" && t.TraceShare > 0 {
		if err := w.trace(t); err != nil {
			return nil, err
		}
	}
	if t.MetricsListen == "" {
		return w, nil
	}
	if w.metrics, err = net.Listen("tcp", t.MetricsListen); err != nil {
		w.close()
		return nil, fmt.Errorf("cannot serve metrics on %s, name another address with --metrics-listen: %w", t.MetricsListen, err)
	}
	log.Info().Str("address", w.metrics.Addr().String()).Msg("serving metrics")
	return w, nil
}

func (w *instruments) trace(t telemetry) error {
	endpoint, err := otlp.ParseEndpoint(t.OTLPEndpoint)
	if err != nil {
		return err
	}
	w.collector, err = otlp.Open(otlp.Config{
		Endpoint: t.OTLPEndpoint, Headers: t.OTLPHeaders, Version: releaseName(), Client: collectorClient(endpoint.Scheme),
		OnError: func(err error) { w.log.Warn().Err(err).Msg("traces are lost") },
	})
	if err == nil {
		w.spans = spans.New(w.collector.Tracer(), t.TraceShare)
		w.log.Info().Str("host", endpoint.Host).Float64("share", t.TraceShare).Msg("sending traces")
	}
	return err
}

const (
	collectorTime = 10 * time.Second       // for one request to the collector
	lastSpans     = 500 * time.Millisecond // for sending what is left at the end
)

// collectorClient sends to a collector: with https to any address, with http only to those that are not public, so that who calls which tool is
// not told in clear over the internet. Redirects are failures; proxies of the environment are not used.
func collectorClient(scheme string) *http.Client {
	allow := func(netip.Addr) bool { return true }
	if scheme == "http" {
		allow = func(a netip.Addr) bool { return !auth.Public(a.Unmap()) }
	}
	return &http.Client{
		Timeout:       collectorTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: auth.Dialer(allow).DialContext, TLSHandshakeTimeout: collectorTime / 2, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: 32 << 10, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		},
	}
}

// sent gives how many spans were sent and lost.
func (w *instruments) sent() (sent, lost int64) {
	if w.collector == nil {
		return 0, 0
	}
	return w.collector.Sent()
}

// told logs what ended the listener of the metrics, if it was not the server's end. Calls are answered all the same.
func (w *instruments) told(err error) {
	if err != nil {
		w.log.Error().Err(err).Msg("serving metrics")
	}
}

// close sends the last spans.
func (w *instruments) close() {
	if w.metrics != nil {
		_ = w.metrics.Close()
	}
	if w.collector == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastSpans)
	defer cancel()
	w.told(w.collector.Close(ctx))
}
