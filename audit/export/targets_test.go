package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/dtcgate/dtcgate/audit"
)

var update = flag.Bool("update", false, "write the golden files")

// samples are entries of each kind: a call, a refusal, something an operator did, something of the record itself.
func samples() []audit.Copy {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC)
	entries := []audit.Entry{
		{
			Event: "call", CallID: "call_1", Actor: "key:key_1", Tool: "dtc_refund_order", Transport: "mcp", Source: "192.0.2.7",
			Chain: []string{"key:key_1", "person:usr_1"}, Status: "pending_approval", Level: "L6", PolicyVersion: 3, PolicyRule: "profiles.clerk.refunds",
			Resource: "order:1001", MoneyMinor: 1299, Currency: "GBP", Checks: []audit.Check{{Name: "scope", Verdict: "ok"}},
			Facts: json.RawMessage(`{"refunds":2.5,"first":true,"none":null}`),
		},
		{Event: "call", CallID: "call_2", Actor: "key:key_1", Tool: "dtc_get_order", Transport: "rest", Source: "192.0.2.7", Status: "refused", Code: "FORBIDDEN_SCOPE"},
		{Event: "key.revoked", Actor: "operator:cli", Transport: "cli", Status: "done", Resource: "key:key_1"},
		{Event: "audit.pruned", Actor: "retention", Status: "done", Resource: "audit:1", Count: 1},
		{Event: "approval.vote", Actor: "person:usr_1", Transport: "web", Source: "2001:db8::1", ApprovalID: "apr_1"},
		{Event: "network.refused", Source: "not an address"},
	}
	copies := make([]audit.Copy, len(entries))
	for i, e := range entries {
		e.ID, e.At, e.Merchant = "aud_"+string(rune('a'+i)), at.Add(time.Duration(i)*time.Second), "mer_1"
		body, _ := json.Marshal(e)
		copies[i] = audit.Copy{Sequenced: audit.Sequenced{Seq: int64(i) + 1, Entry: e}, Body: string(body)}
	}
	copies[0].Personal = map[string]string{"arguments": `{"order_id":"1001"}`}
	return copies
}

// golden compares with a file, in which JSON lines are indented for people.
func golden(t *testing.T, name string, lines []byte) {
	t.Helper()
	var got bytes.Buffer
	for line := range bytes.Lines(lines) {
		fatalIf(t, json.Indent(&got, bytes.TrimSpace(line), "", "  "))
		got.WriteByte('\n')
	}
	path := filepath.Join("testdata", name)
	if *update {
		fatalIf(t, os.WriteFile(path, got.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	fatalIf(t, err)
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%s differs; see it with -update and git diff:\n%s", path, got.Bytes())
	}
}

func TestEventsAreAsInTheGoldenFile(t *testing.T) {
	lines, err := Lines(samples())
	fatalIf(t, err)
	golden(t, "ocsf.json", lines)
}

func TestLogRecordsAreAsInTheGoldenFile(t *testing.T) {
	body, err := encodeLogs(samples()[:2])
	fatalIf(t, err)
	golden(t, "otlp.json", body)
}

// TestEventsHaveWhatTheClassRequires is the published definition of API Activity: its required attributes, and of its objects those of which one at least
// must be there.
func TestEventsHaveWhatTheClassRequires(t *testing.T) {
	for _, c := range samples() {
		line, err := json.Marshal(Map(c))
		fatalIf(t, err)
		var e map[string]any
		fatalIf(t, json.Unmarshal(line, &e))
		for _, path := range []string{
			"activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id", "metadata.version", "metadata.product.vendor_name",
			"actor.user.uid", "api.operation", "api.service.name", "src_endpoint",
		} {
			if at(e, path) == nil {
				t.Errorf("%s has no %s: %s", c.Event, path, line)
			}
		}
		if from := e["src_endpoint"].(map[string]any); len(from) == 0 {
			t.Errorf("%s comes from nowhere", c.Event)
		}
		if e["type_uid"] != e["class_uid"].(float64)*100+e["activity_id"].(float64) {
			t.Errorf("%s: type_uid is %v", c.Event, e["type_uid"])
		}
		if !strings.Contains(string(line), `"entry":`+c.Body) {
			t.Errorf("%s does not hold its entry as it is on record", c.Event)
		}
	}
}

func at(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	return v
}

// A moody receiver over HTTP breaks off half-way, is busy, and then takes what it is sent.
type moody struct {
	mu      sync.Mutex
	bodies  []string
	headers []http.Header
	answer  string
}

func (m *moody) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch m.take(r) { // whole, before it is answered: the next attempt follows at once
	case 1:
		panic(http.ErrAbortHandler)
	case 2:
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusServiceUnavailable)
	case 3:
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	_, _ = io.WriteString(w, m.answer)
}

// take keeps what the nth attempt sends, of the first one only the beginning.
func (m *moody) take(r *http.Request) (nth int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := io.Reader(r.Body)
	if len(m.bodies) == 0 {
		from = io.LimitReader(from, 100)
	}
	body, _ := io.ReadAll(from)
	m.bodies, m.headers = append(m.bodies, string(body)), append(m.headers, r.Header)
	return len(m.bodies)
}

// attempts sends a batch until it is taken and gives what came of the attempts before.
func attempts(t *testing.T, m *moody, target func(*Address) Target) (failed []error) {
	t.Helper()
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	to, err := ParseAddress(server.URL, nil)
	fatalIf(t, err)
	all := samples()
	for range 5 {
		err := target(to).Send(t.Context(), Batch{First: 1, Last: int64(len(all)), Entries: all})
		if err == nil {
			return failed
		}
		failed = append(failed, err)
	}
	t.Fatalf("never taken: %v", failed)
	return nil
}

func TestAWebhookRepeatsTheSameMessageUntilItIsTaken(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
	m := &moody{}
	failed := attempts(t, m, func(to *Address) Target { return &Webhook{To: to, Secret: secret, Now: time.Now} })
	busy := (*Refusal)(nil)
	if len(failed) != 3 || failed[0].Error() != "unreachable" || !errors.As(failed[1], &busy) || busy.Status != 503 || busy.After != 30*time.Second {
		t.Errorf("%v", failed)
	}
	verifier, err := standardwebhooks.NewWebhook(secret)
	fatalIf(t, err)
	for i := 1; i < 4; i++ {
		fatalIf(t, verifier.Verify([]byte(m.bodies[i]), m.headers[i]))
		if m.bodies[i] != m.bodies[1] || !strings.HasPrefix(m.bodies[i], m.bodies[0]) || m.headers[i].Get("webhook-id") != m.headers[0].Get("webhook-id") {
			t.Errorf("attempt %d is another message", i)
		}
	}
	if !strings.Contains(m.bodies[3], `"first":1,"last":6,"events":[{`) {
		t.Error(m.bodies[3])
	}
}

func TestACollectorIsAskedAgainAndWhatItRejectsIsTold(t *testing.T) {
	m := &moody{answer: `{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"no"}}`}
	var rejected error
	failed := attempts(t, m, func(to *Address) Target {
		return &OTLP{To: to, Headers: map[string]string{"Authorization": "Bearer x"}, OnReject: func(err error) { rejected = err }}
	})
	if len(failed) != 3 || rejected == nil || !strings.Contains(rejected.Error(), "rejected 2 of entries 1 to 6") {
		t.Errorf("%v, %v", failed, rejected)
	}
	if m.bodies[3] != m.bodies[1] || m.headers[3].Get("Authorization") != "Bearer x" || m.headers[3].Get("Content-Type") != "application/json" {
		t.Errorf("%v", m.headers[3])
	}
}

func TestAddressesThatAreNotNamedAreNotReached(t *testing.T) {
	for _, text := range []string{"", "ftp://example.com", "https://u:p@example.com", "https://example.com/#x", "http://example.com", "http://10.0.0.1"} {
		if _, err := ParseAddress(text, nil); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	to, err := ParseAddress("https://10.0.0.1/", nil)
	fatalIf(t, err)
	if err := (&OTLP{To: to}).Send(t.Context(), Batch{Entries: samples()}); err == nil || err.Error() != "not_public" {
		t.Error(err)
	}
}

func TestAFileGetsWholeLinesAndLosesTornOnes(t *testing.T) {
	f := File{filepath.Join(t.TempDir(), "audit.jsonl")}
	b := Batch{First: 1, Last: 6, Entries: samples()}
	want := bytesOf(t, b)
	for _, torn := range []int{0, 1, 2, 100, len(want) - 1} {
		fatalIf(t, os.WriteFile(f.Path, []byte(want+want[:torn]), 0o600))
		fatalIf(t, f.Send(t.Context(), b))
		got, err := os.ReadFile(f.Path)
		fatalIf(t, err)
		whole := want[:strings.LastIndexByte(want[:torn], '\n')+1]
		if string(got) != want+whole+want {
			t.Errorf("torn after %d bytes: %d bytes, want %d", torn, len(got), len(want+whole+want))
		}
	}
	fatalIf(t, os.Rename(f.Path, f.Path+".1")) // as logrotate does
	fatalIf(t, f.Send(t.Context(), b))
	if got, _ := os.ReadFile(f.Path); string(got) != want {
		t.Errorf("after rotation: %d bytes", len(got))
	}
}

func TestAFileOfSomebodyElseIsLeftAlone(t *testing.T) {
	f := File{filepath.Join(t.TempDir(), "passwords")}
	fatalIf(t, os.WriteFile(f.Path, []byte("no line of ours"), 0o600))
	if err := f.Send(context.Background(), Batch{Entries: samples()}); err == nil {
		t.Error("it was written to")
	}
	if got, _ := os.ReadFile(f.Path); string(got) != "no line of ours" {
		t.Errorf("%q", got)
	}
	if err := (File{t.TempDir()}).Send(t.Context(), Batch{Entries: samples()}); err == nil {
		t.Error("a directory was written to")
	}
	if err := (File{os.DevNull}).Send(t.Context(), Batch{Entries: samples()}); err == nil {
		t.Error("what cannot be flushed was written to")
	}
}
