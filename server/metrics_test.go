package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	sumdb "golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/audit/export"
	"github.com/dtcgate/dtcgate/audit/witness"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

const scrapeToken = "a-scrape-token-of-the-tests"

// scrape reads the metrics as Prometheus does.
func (g *rig) scrape() string {
	g.Helper()
	resp, body := g.do("GET", metricsPath, "", "Authorization: Bearer "+scrapeToken)
	if resp.StatusCode != 200 {
		g.Fatalf("a scrape is answered %s: %s", resp.Status, body)
	}
	return body
}

// families parses what is scraped, as Prometheus does.
func (g *rig) families() map[string]*dto.MetricFamily {
	g.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(g.scrape()))
	g.must(err)
	return all
}

// series gives the values of a metric by the values of its labels, in the order of the labels' names.
func (g *rig) series(name string) map[string]float64 {
	g.Helper()
	values := map[string]float64{}
	for _, m := range g.families()[name].GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetValue())
		}
		values[strings.Join(labels, " ")] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return values
}

// seriesCount counts the series of everything that is about calls and requests.
func (g *rig) seriesCount() (n int) {
	g.Helper()
	for _, name := range []string{"dtcgate_calls_total", "dtcgate_call_duration_seconds", "dtcgate_http_requests_total"} {
		n += len(g.series(name))
	}
	return n
}

func TestEveryVerdictIsCounted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		bot := "Authorization: Bearer " + g.mint("bot", true, "orders:read", "orders:write", "marketing:send")
		poor := "Authorization: Bearer " + g.mint("poor", false)
		notes := tools.BasePath + "/notes"
		g.do("GET", notes+"/1", "", bot)
		g.do("GET", notes+"/1", "", bot)
		g.do("GET", notes+"/panic", "", bot)
		g.do("GET", notes+"/broken", "", bot)
		g.do("GET", notes+"/1", "", poor)
		g.do("POST", notes, `{"text":"x","idempotency_key":"k"}`, bot, jsonBody)
		g.do("POST", notes, `{"text":"x","idempotency_key":"k"}`, bot, jsonBody)
		g.do("POST", notes, `{"text":"x","dry_run":true}`, bot, jsonBody)
		g.do("POST", notes, `{"words":7}`, bot, jsonBody)
		g.do("POST", notes+"/1/send", `{"reason":"because it is asked for","idempotency_key":"s"}`, bot, jsonBody)
		g.do("POST", tools.BasePath+"/tools/mystery", `{}`, bot, jsonBody)
		g.do("GET", "/nothing/here", "", bot)
		call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":{"note_id":"1"}}}`
		for _, name := range []string{"notes_get", "note", "no_such_tool"} {
			g.do("POST", "/mcp", fmt.Sprintf(call, name), bot, jsonBody, "Accept: application/json, text/event-stream")
		}

		// by code, tool, transport, verdict
		want := map[string]float64{
			" notes_get rest done": 2, "INTERNAL notes_get rest refused": 1, "UNAVAILABLE notes_get rest refused": 1, "FORBIDDEN_SCOPE notes_get rest refused": 1,
			" notes_write rest done": 1, " notes_write rest replayed": 1, " notes_write rest dry_run": 1, "INVALID_ARGUMENTS notes_write rest refused": 1,
			" notes_send rest pending_approval": 1, "UNKNOWN_TOOL none rest refused": 1,
			" notes_get mcp done": 2, "UNKNOWN_TOOL none mcp refused": 1,
		}
		if diff := cmp.Diff(want, g.series("dtcgate_calls_total")); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		took := map[string]float64{
			"notes_get done": 4, "notes_get refused": 3, "notes_write done": 1, "notes_write replayed": 1, "notes_write dry_run": 1,
			"notes_write refused": 1, "notes_send pending_approval": 1, "none refused": 2,
		}
		if diff := cmp.Diff(took, g.series("dtcgate_call_duration_seconds")); diff != "" {
			t.Errorf("durations (-want +got):\n%s", diff)
		}
		requests := g.series("dtcgate_http_requests_total")
		if got := requests["GET "+notes+"/{note_id} 200"]; got != 2 {
			t.Errorf("%v requests for notes: %v", got, requests)
		}
		if got := requests["none 404"]; got != 1 {
			t.Errorf("%v requests for what is not there: %v", got, requests)
		}
		if got := g.series("dtcgate_calls_in_flight")[""]; got != 0 {
			t.Errorf("%v calls are on their way for ever", got)
		}
		if got := g.series("dtcgate_http_requests_in_flight")[""]; got != 1 { // the scrape itself
			t.Errorf("%v requests are on their way for ever", got)
		}
	})
}

// Whoever may send requests must not be able to fill the memory of this process, nor that of whoever scrapes it, with names of their own.
func TestNoCallerMakesASeries(t *testing.T) {
	g := newSQLiteRig(t)
	bot := "Authorization: Bearer " + g.mint("bot", true, "orders:read", "orders:write")
	odd := func(n int) {
		name := fmt.Sprintf("tool_%d", n)
		g.do("POST", tools.BasePath+"/tools/"+name, `{}`, bot, jsonBody)
		g.do("GET", "/"+name, "", bot)
		g.do("PROPFIND", "/mcp", "", bot)
		g.do("POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"`+name+`"}`, bot, jsonBody)
		g.do("POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+name+`"}}`, bot, jsonBody, "Accept: application/json, text/event-stream")
	}
	odd(0)
	before := g.seriesCount()
	for n := range 20 {
		odd(n)
	}
	p, err := g.gate.Authenticate(t.Context(), g.secrets["bot"], "127.0.0.1")
	g.must(err)
	var all sync.WaitGroup
	for w := range 64 {
		all.Go(func() {
			for n := w; n < 10_000; n += 64 {
				_, _ = g.gate.Call(t.Context(), p, gate.Request{Tool: fmt.Sprintf("tool_%d", n), Transport: "rest", Source: "127.0.0.1"})
			}
		})
	}
	all.Wait()
	if got := g.seriesCount(); got != before {
		t.Errorf("10,000 unknown names made %d series more", got-before)
	}
	if got := g.series("dtcgate_calls_total")["UNKNOWN_TOOL none rest refused"] + g.series("dtcgate_calls_total")["RATE_LIMITED none rest refused"]; got < 10_000 {
		t.Errorf("%v calls to unknown tools are counted", got)
	}
	for _, o := range []gate.Observed{{Transport: "made up"}, {Code: "MADE_UP"}, {Status: "made_up"}} {
		g.metrics.Called(o)
	}
	if text := strings.ToLower(g.scrape()); strings.Contains(text, "made") && strings.Contains(text, "made up") || strings.Contains(text, "made_up") {
		t.Error("a value outside the lists became a label")
	}
}

func TestMetricsAreNamedAsPrometheusAsks(t *testing.T) {
	g := newSQLiteRig(t)
	g.do("GET", tools.BasePath+"/notes/1", "", "Authorization: Bearer "+g.mint("bot", false, "orders:read", "orders:write"))
	problems, err := testutil.GatherAndLint(g.metrics.registry)
	g.must(err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestWhatWaitsIsTold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Now()
		db.Now = func() time.Time { return now }
		g := newRig(t, db, fakes)
		value := func(name string, labels ...string) float64 {
			t.Helper()
			v, ok := g.series("dtcgate_" + name)[strings.Join(labels, " ")]
			if !ok {
				t.Errorf("there is no dtcgate_%s of %v", name, labels)
			}
			return v
		}
		bot := "Authorization: Bearer " + g.mint("bot", true, "marketing:send")
		g.do("POST", tools.BasePath+"/notes/1/send", `{"reason":"because it is asked for","idempotency_key":"s"}`, bot, jsonBody)
		now = now.Add(time.Minute)
		for name, want := range map[string]float64{"approvals_open": 1, "approvals_oldest_age_seconds": 60, "outbox_messages": 0, "audit_checkpoint_entries": 0, "database_readable": 1} {
			if got := value(name); got != want {
				t.Errorf("%s is %v, not %v", name, got, want)
			}
		}
		if got := value("audit_pending_oldest_age_seconds"); got != 60 {
			t.Errorf("the sequencer lags by %v s", got)
		}
		if got := value("policy_version", g.store); got != 1 {
			t.Errorf("policy version %v", got)
		}
		if n := value("audit_pending_entries"); n < 2 {
			t.Errorf("%v entries wait for the sequencer", n)
		}

		g.do("POST", tools.BasePath+"/notes/2/send", `{"reason":"because it is asked for","idempotency_key":"t"}`, bot, jsonBody)
		if got := value("approvals_open"); got != 1 {
			t.Errorf("the database is asked at every scrape: %v", got)
		}
		now = now.Add(backlogEvery)
		if got := value("approvals_open"); got != 2 {
			t.Errorf("%v requests are open", got)
		}
		if value("db_transactions_total") == 0 || value("db_connections_max") == 0 {
			t.Error("the database is not counted")
		}
		g.must(db.Close())
		now = now.Add(backlogEvery)
		if got := value("database_readable"); got != 0 {
			t.Errorf("a database that is closed is readable: %v", got)
		}
		if len(g.series("dtcgate_approvals_open")) > 0 {
			t.Error("what cannot be read is told all the same")
		}
		if len(g.series("dtcgate_calls_total")) == 0 {
			t.Error("without a database nothing is told of calls")
		}
	})
}

// away is a receiver that takes nothing while it has a reason.
type away struct{ why error }

func (a *away) Send(context.Context, export.Batch) error { return a.why }

// A copy of the record that nobody takes is told for as long as that is so.
func TestHowFarCopiesOfTheRecordAreBehindIsTold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Now()
		db.Now = func() time.Time { return now }
		g := newRig(t, db, fakes)
		secret, key, err := sumdb.GenerateKey(nil, "test.example/audit")
		g.must(err)
		signer, err := sumdb.NewSigner(secret)
		g.must(err)
		siem := &away{errors.New("it is away")}
		sink := export.Sink{Name: "siem", Target: siem}
		copies := export.New(export.Config{DB: db, Sinks: []export.Sink{sink}})
		dir := filepath.Join(t.TempDir(), "later")
		outside := witness.New(witness.Config{DB: db, Key: key, Every: time.Hour, Destinations: []witness.Destination{witness.File{Path: filepath.Join(dir, "kept")}}})
		g.metrics.registry.MustRegister(&witnesses{outside, db.Now})
		g.mint("bot", false, "orders:read")
		n, err := audit.New(audit.Config{DB: db, Signer: signer, VerifierKey: key}).Sequence(t.Context())
		g.must(err)

		try := func(wantErr bool) {
			t.Helper()
			_, exported := copies.Step(t.Context(), sink)
			if witnessed := outside.Once(t.Context()); exported != nil != wantErr || witnessed != nil != wantErr {
				t.Errorf("the export says %v, and the witness %v", exported, witnessed)
			}
			now = now.Add(time.Minute)
		}
		told := func(behind, minutes float64) {
			t.Helper()
			for name, want := range map[string]float64{
				"audit_export_behind_entries": behind, "audit_export_oldest_age_seconds": 60 * minutes, "audit_export_failing_seconds": 60 * minutes,
				"audit_witness_behind_entries": behind, "audit_witness_failing_seconds": 60 * minutes, "audit_witness_contradicts": 0,
			} {
				of := map[bool]string{true: "siem", false: "file"}[strings.Contains(name, "export")]
				if got, ok := g.series("dtcgate_" + name)[of]; got != want || !ok {
					t.Errorf("%s of %s is %v, not %v", name, of, got, want)
				}
			}
		}
		try(true)
		told(float64(n), 1)
		try(true)
		told(float64(n), 2)
		siem.why = nil
		g.must(os.Mkdir(dir, 0o700))
		try(false)
		told(0, 0)
	})
}

func TestMetricsAreForWhoHasTheScrapeTokenAlone(t *testing.T) {
	g := newSQLiteRig(t)
	agent, person := g.mint("bot", false, "orders:read"), g.person("ada", "admin")
	for _, header := range []string{"", "Authorization: Bearer " + agent, "Authorization: Bearer " + person, "Authorization: Basic " + scrapeToken, "Authorization: Bearer " + scrapeToken[1:], "X-Agent-Key: " + scrapeToken} {
		headers := []string{}
		if header != "" {
			headers = append(headers, header)
		}
		if resp, body := g.do("GET", metricsPath, "", headers...); resp.StatusCode != 404 || !strings.Contains(body, string(codeRoute)) || strings.Contains(body, "dtcgate_") {
			t.Errorf("%q is answered %s: %s", header, resp.Status, body)
		}
	}
	g.scrape()
	g.server.networks.Admins = nil
	if resp, _ := g.do("GET", metricsPath, "", "Authorization: Bearer "+scrapeToken); resp.StatusCode != 403 {
		t.Errorf("outside the admins' networks: %s", resp.Status)
	}
	if resp, _ := g.do("GET", tools.BasePath+"/notes/1", "", "Authorization: Bearer "+scrapeToken); resp.StatusCode != 401 {
		t.Errorf("the scrape token as a credential: %s", resp.Status)
	}
	g.server.scrape = ""
	if resp, _ := g.do("GET", metricsPath, "", "Authorization: Bearer "); resp.StatusCode == 200 {
		t.Error("no token is a token")
	}
}

func TestTheListenerOfTheMetricsServesNothingElse(t *testing.T) {
	g := newSQLiteRig(t)
	bot := "Authorization: Bearer " + g.mint("bot", false, "orders:read")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	g.must(err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ServeMetrics(ctx, ln, g.server) }()
	g.url = "http://" + ln.Addr().String()
	ask := func(method, path string, headers ...string) int {
		resp, _ := g.do(method, path, "", headers...)
		return resp.StatusCode
	}
	token := "Authorization: Bearer " + scrapeToken
	if ask("GET", metricsPath, token) != 200 || ask("GET", metricsPath) != 401 || ask("GET", metricsPath, bot) != 401 {
		t.Error("the token does not decide")
	}
	g.server.scrape = "" // only where others do not get to: telemetry.check of cmd/dtcgate
	for _, asked := range [][2]string{{"POST", metricsPath}, {"GET", "/"}, {"GET", "/mcp"}, {"GET", "/healthz"}, {"GET", tools.BasePath + "/whoami"}, {"GET", metricsPath + "/"}} {
		if status := ask(asked[0], asked[1], bot); status != 404 {
			t.Errorf("%s %s is answered %d", asked[0], asked[1], status)
		}
	}
	if ask("GET", metricsPath) != 200 || ask("GET", metricsPath, "Host: evil.example") != 403 {
		t.Error("a page whose name was pointed at this machine is answered")
	}
	stop()
	g.must(<-ended)
}

// What is counted of a call must cost it next to nothing: no memory in any case.
func TestCountingACallAllocatesNothing(t *testing.T) {
	m := NewMetrics(fakes, "test")
	o := someCalls()
	n := 0
	m.route("GET /healthz")
	allocated := testing.AllocsPerRun(1000, func() {
		m.Called(o[n%len(o)])
		m.answered("GET /healthz", 200)
		n++
	})
	if allocated != 0 {
		t.Errorf("%v allocations a call", allocated)
	}
}

func BenchmarkCountingACall(b *testing.B) {
	m, o := NewMetrics(fakes, "test"), someCalls()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		m.Called(o[n%len(o)])
	}
}

// someCalls are a call of every tool that ended in every way.
func someCalls() (all []gate.Observed) {
	for _, t := range fakes.All() {
		all = append(all, gate.Observed{Tool: t, Transport: "mcp", Status: tools.Done, Took: time.Millisecond},
			gate.Observed{Tool: t, Transport: "rest", Code: tools.Internal, Took: time.Second})
	}
	return all
}

// The lists of labels are complete: what is missing would be counted as something else.
func TestEveryStatusIsALabel(t *testing.T) {
	for code, w := range wires {
		if !slices.Contains(statuses, w.http) {
			t.Errorf("%s goes out as %d, which is counted as other", code, w.http)
		}
	}
	for _, c := range slices.Sorted(maps.Keys(wires)) {
		if _, ours := map[tools.Code]bool{codeHost: true, codeOrigin: true, codeRoute: true, codeMethod: true, codeTooLarge: true, codeMedia: true, codeMalformed: true}[c]; ours {
			continue // never a call
		}
		if !slices.Contains(endings, ending{gate.Refused, string(c)}) {
			t.Errorf("%s is counted as other", c)
		}
	}
}

func scraped(r *http.Request) string {
	raw, _ := io.ReadAll(r.Body)
	return string(raw)
}
