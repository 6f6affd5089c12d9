package server

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/spans"
	"github.com/dtcgate/dtcgate/store/spans/otlp"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// A collector is an OpenTelemetry collector: it takes what OTLP over HTTP brings, and nothing that is not of the format.
type collector struct {
	*testing.T
	*httptest.Server
	client *otlp.Collector
	closed sync.Once
	status int // that it answers

	mu    sync.Mutex
	raw   strings.Builder
	spans []*tracepb.Span
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{T: t, status: http.StatusOK}
	c.Server = httptest.NewServer(http.HandlerFunc(c.take))
	t.Cleanup(c.Server.Close)
	var err error
	c.client, err = otlp.Open(otlp.Config{Endpoint: c.URL, Headers: "x-token=of%20the%20collector", Version: "test", Client: c.Client()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.flush)
	return c
}

// hexID finds the ids, which OTLP writes in hex where the format otherwise has base64.
var hexID = regexp.MustCompile(`"(traceId|spanId|parentSpanId)":"([0-9a-f]+)"`)

func (c *collector) take(w http.ResponseWriter, r *http.Request) {
	body := scraped(r)
	if r.Method != "POST" || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("X-Token") != "of the collector" {
		c.Errorf("the collector is sent %s %s %v", r.Method, r.URL.Path, r.Header)
	}
	asProto := hexID.ReplaceAllStringFunc(body, func(found string) string {
		m := hexID.FindStringSubmatch(found)
		raw, err := hex.DecodeString(m[2])
		if err != nil {
			c.Error(err)
		}
		return fmt.Sprintf(`%q:%q`, m[1], base64.StdEncoding.EncodeToString(raw))
	})
	var data tracepb.TracesData
	if err := protojson.Unmarshal([]byte(asProto), &data); err != nil {
		c.Errorf("this is not OTLP: %v\n%s", err, body)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw.WriteString(body)
	for _, resource := range data.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
	w.WriteHeader(c.status)
}

func (c *collector) tracer(share float64) *spans.Tracer { return spans.New(c.client.Tracer(), share) }

// flush ends the client, as the end of the server does, so that all spans are here.
func (c *collector) flush() {
	c.closed.Do(func() {
		if err := c.client.Close(c.Context()); err != nil && c.Context().Err() == nil {
			c.Error(err)
		}
	})
}

// text is all that was sent, as it was sent.
func (c *collector) text() string {
	c.flush()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raw.String()
}

// trace gives the spans of a trace as lines, each with its parents before it, in the order in which they began.
func (c *collector) trace(id string) (lines []string) {
	c.flush()
	c.mu.Lock()
	defer c.mu.Unlock()
	byID := map[string]*tracepb.Span{}
	var all []*tracepb.Span
	for _, s := range c.spans {
		if hex.EncodeToString(s.TraceId) == id {
			byID[string(s.SpanId)] = s
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b *tracepb.Span) int { return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano)) })
	for _, s := range all {
		path := s.Name
		for p := byID[string(s.ParentSpanId)]; p != nil; p = byID[string(p.ParentSpanId)] {
			path = p.Name + " > " + path
		}
		lines = append(lines, path)
	}
	return lines
}

// span gives the one span of that name.
func (c *collector) span(name string) *tracepb.Span {
	c.Helper()
	c.flush()
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []*tracepb.Span
	for _, s := range c.spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		c.Fatalf("there are %d spans %q of %d", len(found), name, len(c.spans))
	}
	return found[0]
}

// said gives an attribute of a span as text, "" when it has none of the name.
func said(s *tracepb.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key && a.Value.GetStringValue() != "" {
			return a.Value.GetStringValue()
		}
		if a.Key == key {
			return fmt.Sprint(a.Value.GetIntValue())
		}
	}
	return ""
}

const (
	callerTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callerSpan  = "00f067aa0ba902b7"
)

func TestACallIsTracedFromTheWireToItsTool(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c := newCollector(t)
		g := newTracedRig(t, db, fakes, c.tracer(1))
		bot := "Authorization: Bearer " + g.mint("bot", false, "orders:read", "orders:write")
		route := "POST " + tools.BasePath + "/notes"
		resp, _ := g.do("POST", tools.BasePath+"/notes", `{"text":"x"}`, bot, jsonBody, "Traceparent: 00-"+callerTrace+"-"+callerSpan+"-01")

		want := []string{
			route,
			route + " > gate.call",
			route + " > gate.call > db.write",
			route + " > gate.call > db.write > tool.write",
		}
		got := slices.DeleteFunc(c.trace(callerTrace), func(line string) bool { return strings.HasSuffix(line, "db.read") }) // the credential, and what checks read
		if !slices.Equal(got, want) {
			t.Errorf("the trace is\n%s\nand not\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		request, call := c.span(route), c.span("gate.call")
		if hex.EncodeToString(request.ParentSpanId) != callerSpan || request.Kind != tracepb.Span_SPAN_KIND_SERVER {
			t.Errorf("the request's parent is %x, its kind %v", request.ParentSpanId, request.Kind)
		}
		for key, value := range map[string]string{
			"gen_ai.tool.name": "notes_write", "dtcgate.verdict": "done", "dtcgate.code": "", "dtcgate.policy_version": "1", "dtcgate.transport": "rest",
			"dtcgate.call_id": resp.Header.Get("X-Call-Id"),
		} {
			if got := said(call, key); got != value {
				t.Errorf("the call says %s=%q, not %q", key, got, value)
			}
		}
		if got := said(request, "http.response.status_code"); got != "201" {
			t.Errorf("the request says status %q", got)
		}
		var checks []string
		for _, e := range slices.Concat(call.Events, c.span("db.write").Events) {
			if e.Attributes[1].Value.GetStringValue() != "ok" {
				t.Errorf("%v", e)
			}
			checks = append(checks, e.Attributes[0].Value.GetStringValue())
		}
		if len(checks) < 10 || checks[0] != "policy" || !slices.Contains(checks, "standing") || !slices.Contains(checks, "budgets") {
			t.Errorf("the checks were %v", checks)
		}
		if !strings.Contains(g.log.String(), `"trace_id":"`+callerTrace+`"`) {
			t.Errorf("the log does not name the trace: %s", g.log.String())
		}
	})
}

func TestAFaultIsMarkedAndNotTold(t *testing.T) {
	c := newCollector(t)
	g := newTracedRig(t, storetest.New(t, "sqlite"), fakes, c.tracer(1))
	bot := "Authorization: Bearer " + g.mint("bot", false, "orders:read", "orders:write")
	g.do("GET", tools.BasePath+"/notes/odd", "", bot)
	call := c.span("gate.call")
	if said(call, "dtcgate.code") != string(tools.Internal) || call.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("%v", call)
	}
	if text := c.text(); strings.Contains(text, "SELECT") || strings.Contains(text, "127.0.0.1") || strings.Contains(text, "odd") || strings.Contains(text, g.ids["bot"]) {
		t.Errorf("a span tells too much: %s", text)
	}
}

// MCP clients name their trace under _meta (SEP-414); HTTP libraries below them name their own in a header.
func TestAMessagesOwnTraceIsTakenUp(t *testing.T) {
	const short, long = "application/json, text/event-stream", "text/event-stream;q=1, application/json"
	for _, v := range []struct {
		name, accept, meta string
		own                bool
	}{
		{"another trace", short, "00-" + callerTrace + "-" + callerSpan + "-01", true},
		{"another trace, the long way", long, "00-" + callerTrace + "-" + callerSpan + "-01", true},
		{"not kept by its caller", short, "00-" + callerTrace + "-" + callerSpan + "-00", false},
		{"no trace", short, "sq_agt_something; drop", false},
		{"all zero", short, "00-00000000000000000000000000000000-0000000000000000-01", false},
	} {
		t.Run(v.name, func(t *testing.T) {
			c := newCollector(t)
			g := newTracedRig(t, storetest.New(t, "sqlite"), fakes, c.tracer(1))
			bot := "Authorization: Bearer " + g.mint("bot", false, "orders:read", "orders:write")
			g.do("POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"notes_get","arguments":{"note_id":"1"},"_meta":{"traceparent":"`+v.meta+`"}}}`,
				bot, jsonBody, "Accept: "+v.accept, "Mcp-Protocol-Version: 2025-11-25")
			call, request := c.span("gate.call"), c.span("POST /mcp")
			if own := hex.EncodeToString(call.TraceId) == callerTrace && hex.EncodeToString(call.ParentSpanId) == callerSpan; own != v.own {
				t.Errorf("the call is of trace %x under %x", call.TraceId, call.ParentSpanId)
			}
			switch linked := len(call.Links) == 1 && string(call.Links[0].SpanId) == string(request.SpanId); {
			case v.own && !linked:
				t.Errorf("the call is linked to %v", call.Links)
			case !v.own && string(call.ParentSpanId) != string(request.SpanId):
				t.Errorf("the call is not part of its request")
			}
			if got := said(request, "mcp.method.name"); got != "tools/call" {
				t.Errorf("the method is %q", got)
			}
		})
	}
}

func TestWhatIsNotChosenIsNotTraced(t *testing.T) {
	caller := func(flags string) string { return "Traceparent: 00-" + callerTrace + "-" + callerSpan + "-" + flags }
	for _, v := range []struct {
		name   string
		share  float64
		header string
	}{
		{"a share of nothing, whatever the caller asks for", 0, caller("01")},
		{"a caller whose trace is not kept", 1, caller("00")},
	} {
		t.Run(v.name, func(t *testing.T) {
			c := newCollector(t)
			g := newTracedRig(t, storetest.New(t, "sqlite"), fakes, c.tracer(v.share))
			bot := "Authorization: Bearer " + g.mint("bot", false, "orders:read", "orders:write")
			if resp, body := g.do("GET", tools.BasePath+"/notes/1", "", bot, v.header); resp.StatusCode != 200 {
				t.Errorf("%s %s", resp.Status, body)
			}
			if text := c.text(); text != "" {
				t.Errorf("a span was sent: %s", text)
			}
			if strings.Contains(g.log.String(), "trace_id") {
				t.Error("the log names a trace that is nowhere")
			}
		})
	}
}

func TestAJobsTurnNamesItsCall(t *testing.T) {
	c := newCollector(t)
	g := newTracedRig(t, storetest.New(t, "sqlite"), fakes, c.tracer(1))
	bot, mara := "Authorization: Bearer "+g.mint("bot", true, "marketing:send"), "Authorization: Bearer "+g.person("mara")
	resp, body := g.do("POST", tools.BasePath+"/notes/1/send", `{"reason":"because it is asked for","idempotency_key":"s"}`, bot, jsonBody)
	job := regexp.MustCompile(`job_[0-9A-Z]+`).FindString(body)
	if r, text := g.do("POST", tools.BasePath+"/approvals/"+job+"/resolve", g.ballot(job, "approve"), mara, jsonBody); r.StatusCode != 200 {
		t.Fatalf("%s %s", r.Status, text)
	}
	g.work()
	turn := c.span("gate.resume")
	if said(turn, "dtcgate.call_id") != resp.Header.Get("X-Call-Id") || said(turn, "gen_ai.tool.name") != "notes_send" {
		t.Errorf("%v", turn)
	}
}

// Who is not served does not fill the collector, and probes tell nothing.
func TestStrangersAndProbesAreNotTraced(t *testing.T) {
	c := newCollector(t)
	g := newTracedRig(t, storetest.New(t, "sqlite"), fakes, c.tracer(1))
	g.do("GET", "/healthz", "")
	g.do("GET", "/readyz", "")
	g.server.networks = Networks{}
	if resp, _ := g.do("GET", tools.BasePath+"/notes/1", "", "Traceparent: 00-"+callerTrace+"-"+callerSpan+"-01"); resp.StatusCode != 403 {
		t.Errorf("a stranger is answered %s", resp.Status)
	}
	if text := c.text(); text != "" {
		t.Errorf("a span was sent: %s", text)
	}
}

// A collector that takes nothing costs the spans, and no call anything.
func TestACollectorThatFailsHoldsUpNothing(t *testing.T) {
	c := newCollector(t)
	c.status = http.StatusServiceUnavailable
	g := newTracedRig(t, storetest.New(t, "sqlite"), fakes, c.tracer(1))
	bot := "Authorization: Bearer " + g.mint("bot", false, "orders:read", "orders:write")
	for range 20 {
		if resp, body := g.do("GET", tools.BasePath+"/notes/1", "", bot); resp.StatusCode != 200 {
			t.Errorf("%s %s", resp.Status, body)
		}
	}
	c.flush()
	if sent, lost := c.client.Sent(); sent != 0 || lost < 40 {
		t.Errorf("%d spans are sent and %d lost", sent, lost)
	}
}
