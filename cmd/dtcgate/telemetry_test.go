package main

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
)

func TestMetricsAreNeverOpenToTheWorld(t *testing.T) {
	token := strings.Repeat("x", 24)
	for _, v := range []struct {
		telemetry
		wrong string
	}{
		{telemetry{}, ""},
		{telemetry{MetricsListen: "127.0.0.1:9090"}, ""},
		{telemetry{MetricsListen: "[::1]:9090"}, ""},
		{telemetry{MetricsListen: "localhost:9090"}, ""},
		{telemetry{MetricsListen: "0.0.0.0:9090", MetricsToken: token}, ""},
		{telemetry{MetricsListen: "0.0.0.0:9090"}, "DTCGATE_METRICS_TOKEN"},
		{telemetry{MetricsListen: ":9090"}, "DTCGATE_METRICS_TOKEN"},
		{telemetry{MetricsListen: "metrics.internal:9090"}, "DTCGATE_METRICS_TOKEN"},
		{telemetry{MetricsListen: "[::ffff:10.0.0.1]:9090"}, "DTCGATE_METRICS_TOKEN"},
		{telemetry{MetricsListen: "9090"}, "HOST:PORT"},
		{telemetry{MetricsToken: "short"}, "at least 24"},
		{telemetry{TraceShare: 1.5}, "between 0 and 1"},
		{telemetry{TraceShare: -1}, "between 0 and 1"},
		{telemetry{OTLPEndpoint: "localhost:4317"}, "--otlp-endpoint"},
		{telemetry{OTLPEndpoint: "https://otlp.example.com"}, ""},
	} {
		err := v.check()
		if (err == nil) != (v.wrong == "") || err != nil && !strings.Contains(err.Error(), v.wrong) {
			t.Errorf("%+v: %v", v.telemetry, err)
		}
	}
}

// Which agent calls what is not told in clear to the internet; a collector beside us may be told over http.
func TestTracesGoInClearToPrivateAddressesAlone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() { _ = http.Serve(ln, http.NotFoundHandler()) }()
	resp, err := collectorClient("http").Get("http://" + ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if _, err := collectorClient("http").Get("http://1.1.1.1:4318"); err == nil || !strings.Contains(err.Error(), auth.ErrNotPublic.Error()) {
		t.Errorf("a public address over http: %v", err)
	}
}
