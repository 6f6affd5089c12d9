package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// The two ways of an MCP message, the short one and the one through the go-sdk, are compared in everything that anybody
// can see: what reaches the gate, the status, the headers, the body and the line in the log. The gate behind them answers
// out of a table, so that every kind of answer is met and nothing differs but the way.
//
// These differ on purpose, and are taken out before comparing:
//   - Content-Length: the short way tells it for long answers too, which go out in chunks on the other.
//   - The id that a message which never became a call is given: it is made of the time and of chance.
//   - In the log: how long it took, and the stack of a panic.

// differentials is how many requests are compared; DTCGATE_TEST_DIFFERENTIAL sets another number.
func differentials(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("DTCGATE_TEST_DIFFERENTIAL"))
	if err != nil {
		return 3000
	}
	return n
}

// A side is one of the two ways.
type side struct {
	server *Server
	log    bytes.Buffer
	calls  []gate.Request // that reached the gate
}

// sides are both, over one gate that answers out of a table.
type sides struct {
	*testing.T
	registry *tools.Registry
	slow     *side
	fast     *side
	short    int // requests that went the short way
	compared int
}

func newSides(t *testing.T) *sides {
	t.Helper()
	w := &sides{T: t, registry: tools.NewRegistry(append(dtc.Tools(), fakes.All()...)...)}
	db := storetest.New(t, "sqlite")
	w.slow, w.fast = w.newSide(db, true), w.newSide(db, false)
	return w
}

func (w *sides) newSide(db *store.DB, slow bool) *side {
	w.Helper()
	one := &side{}
	var err error
	one.server, err = New(Config{
		Gate: gate.New(gate.Config{DB: db, Tools: w.registry}), Tools: w.registry, DB: db, Log: zerolog.New(&one.log), Version: "test",
		Networks: Networks{Agents: loopback}, Slow: slow,
	})
	if err != nil {
		w.Fatal(err)
	}
	one.server.hot = hot{
		recognize: func(_ context.Context, secret, _ string) (auth.Principal, error) {
			return auth.Principal{Kind: auth.Kind(secret), ID: "key_" + secret}, nil
		},
		call: func(_ context.Context, _ auth.Principal, r gate.Request) (gate.Outcome, error) {
			one.calls = append(one.calls, r)
			return tableOutcome(r)
		},
		visible: func(_ context.Context, p auth.Principal) ([]*tools.Tool, error) {
			return tableList(w.registry, p)
		},
	}
	return one
}

// awkward are texts that encoders disagree about.
var awkward = []string{
	"", "plain", `<a href="x">&amp;</a>`, "line\nend\r\ttab\b\f\x00\x1f\x7f", "\u2028\u2029\u2027\u202a", "é😀\ufffd", "\xff\xe2\x80", `{"a":"\\" , :"}`,
}

// tableOutcome answers a call by a hash of it.
func tableOutcome(r gate.Request) (gate.Outcome, error) {
	if r.Tool == mine {
		return gate.Outcome{}, tools.Refuse(tools.UnknownTool, "Call one that there is.", "There is no such tool.")
	}
	canonical, err := schemas.Canonical(r.Args)
	if err != nil {
		return gate.Outcome{}, &tools.Refusal{Code: tools.InvalidArguments, Message: "<" + err.Error() + ">", CallID: "call_args"}
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %s", r.Tool, canonical, r.IdempotencyKey)
	at := h.Sum64()
	out := gate.Outcome{CallID: fmt.Sprintf("call_%016x", at), Status: tools.Done, Text: awkward[at%uint64(len(awkward))]}
	if out.Body, err = json.Marshal(map[string]any{"text": out.Text, "n": at}); err != nil {
		return out, err
	}
	switch kind := at >> 32 % 64; {
	case kind < uint64(len(tools.Codes)):
		return out, tableRefusal(tools.Codes[kind], at)
	case kind < 30:
		out.Job = tools.Job{JobID: "job_1", Status: tools.JobPending, Summary: "<Send> it & more", CreatedAt: time.Unix(1, 0).UTC()}
	case kind < 34:
		out.Replayed = true
	case kind < 36:
		out.Body = json.RawMessage("{ \"a\" : [ \"< >\", 1 ] ,\n\"b\":\"\u2028\"}")
	case kind == 36:
		return out, errors.New("no refusal")
	case kind == 37:
		panic("a gate that panics")
	case kind == 38:
		out.Body, out.Text = nil, ""
	case kind == 39:
		out.Body, out.Text = json.RawMessage(`"`+strings.Repeat("long ", 2000)+`"`), strings.Repeat("long ", 2000)
	}
	return out, nil
}

func tableRefusal(code tools.Code, at uint64) error {
	r := &tools.Refusal{Code: code, Message: "Refused <so> & so.", Next: "Do \"something\".\n", CallID: fmt.Sprintf("call_%016x", at), RetryAfter: int64(at % 3)}
	switch at >> 40 % 4 {
	case 1:
		r.Errors = &tools.Errors{Missing: []string{"orders:read"}}
	case 2:
		r.Errors = &tools.Errors{Fields: []schemas.Wrong{{Field: "a<b", Problem: "is wrong", Expected: "a & b", Example: 1}}}
	case 3:
		r.Errors = &tools.Errors{Now: map[string]any{"expected": "<1>"}}
	}
	return r
}

// tableList is who is shown what: it depends on the credential.
func tableList(all *tools.Registry, p auth.Principal) ([]*tools.Tool, error) {
	switch p.ID {
	case "key_none":
		return nil, nil
	case "key_others":
		return all.All()[3:6], nil
	case "key_broken":
		return nil, store.ErrUnavailable
	case "key_some":
		return all.All()[:3], nil
	case "key_panic":
		panic("a list that panics")
	}
	return all.All(), nil
}

// A sight is what can be seen of one request.
type sight struct {
	Status int
	Header http.Header
	Body   string
	Log    string
	Calls  []gate.Request
}

// An ask is one request, which can be sent more than once.
type ask struct {
	method, path, body string
	header             http.Header
	chunked            bool
}

func (a ask) request() *http.Request {
	r := httptest.NewRequest(a.method, a.path, strings.NewReader(a.body))
	r.RemoteAddr, r.Header = "127.0.0.1:4711", a.header.Clone()
	if a.chunked {
		r.ContentLength, r.TransferEncoding = -1, []string{"chunked"}
	}
	return r
}

// unlike are parts of what is seen that differ on purpose.
var unlike = []struct {
	pattern *regexp.Regexp
	as      string
}{
	{regexp.MustCompile(`call_[0-9A-HJKMNP-TV-Z]{26}`), "call_CHANCE"},
	{regexp.MustCompile(`"ms":[0-9.]+`), `"ms":0`},
	{regexp.MustCompile(`"stack":"(?:[^"\\]|\\.)*"`), `"stack":""`},
}

func alike(text string) string {
	for _, u := range unlike {
		text = u.pattern.ReplaceAllString(text, u.as)
	}
	return text
}

func (one *side) send(a ask) sight {
	one.log.Reset()
	one.calls = nil
	w := httptest.NewRecorder()
	one.server.ServeHTTP(w, a.request())
	h := w.Header()
	h.Del("Content-Length")
	if id := h.Get("X-Call-Id"); id != "" {
		h.Set("X-Call-Id", alike(id))
	}
	return sight{w.Code, h, alike(w.Body.String()), alike(one.log.String()), one.calls}
}

// compare sends a request both ways.
func (w *sides) compare(name string, a ask) {
	w.Helper()
	var m plainRequest
	if readPlain(&m, []byte(a.body)) && m.suits(a.header) {
		w.short++
	}
	w.compared++
	if diff := cmp.Diff(w.slow.send(a), w.fast.send(a)); diff != "" {
		w.Errorf("%s: %s %s %v\n%.2000q\n(-slow +fast):\n%.4000s", name, a.method, a.path, a.header, a.body, diff)
	}
}

// params of valid requests: every tool with the arguments that it is described by, and more.
func (w *sides) params() (all []string) {
	for _, t := range w.registry.All() {
		args := t.Example
		if args == "" {
			args = `{"note_id":"n1"}`
		}
		all = append(all, fmt.Sprintf(`{"name":%q,"arguments":%s}`, t.Name, args), fmt.Sprintf(`{"name":%q}`, t.Name))
		for _, alias := range t.Aliases {
			all = append(all, fmt.Sprintf(`{"name":%q,"arguments":{}}`, alias))
		}
	}
	for i := range 300 { // enough for every row of the table
		all = append(all, fmt.Sprintf(`{"name":"dtc_get_job","arguments":{"job_id":"job_%d"}}`, i))
	}
	for _, args := range []string{ // that not all readers read alike
		`{"a":1,"A":2}`, `{"b":{"a":1,"A":2}}`, `{"a":1,"a":1}`, `{"a":1,"\u0061":2}`, `{"é":1}`, `{"a":1e400}`, `{"a":1e2}`, `{"a":-0}`, `{"a":9007199254740993}`, `{"a":1.00000000000000000001}`,
		`{"a":"\u0000"}`, `{"a":"\ud800"}`, `{"a":"\ud83d\ude00"}`, "{\"a\":\"\xff\"}", `{"a":` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `}`,
		`{"a":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`, `{"a":[` + strings.Repeat("1,", 10_001) + `1]}`, `{ "a" : [ 1 , "<" ] }`,
	} {
		for range allEras { // each comes in every era
			all = append(all, `{"name":"dtc_whoami","arguments":`+args+`}`)
		}
	}
	for _, meta := range []string{
		`"` + metaKey + `":"k-1"`, `"` + metaKey + `":""`, `"` + metaKey + `":7`, `"` + metaKey + `":"\u0061"`, `"progressToken":1`, `"progressToken":{"a":[]}`, `"a/b":null`,
	} {
		all = append(all, `{"name":"dtc_whoami","arguments":{},"_meta":{`+meta+`}}`)
	}
	return append(all, `{"name":"`+mine+`","arguments":{}}`, `{"name":"dtc_whoami","arguments":null}`, `{"name":"dtc_whoami","arguments":[1]}`,
		`{"name":"dtc_whoami","cursor":""}`, `{"name":"dtc_whoami","task":{"ttl":1}}`, `{"name":"dtc_whoami","inputResponses":{},"requestState":"x"}`)
}

var (
	allEras   = []string{"2025-06-18", "2025-11-25", "2026-07-28", withTasks}
	someCreds = []string{"key", "jwt", "none", "some", "others", "broken", "panic"}
	someIDs   = []string{`1`, `"x"`, `""`, `0`, `-7`, `-0`, `1.0`, `1e0`, `1.5`, `null`, `true`, `{}`, `9007199254740991`, `9007199254740993`, `123456789012345`, `"\u0061"`, `"é<"`, `"<&>"`, "\"\x7f\"", `"` + strings.Repeat("i", 300) + `"`}
)

func askOf(era, method, params, cred string) ask {
	body, headers := message(era, method, params)
	a := ask{method: "POST", path: "/mcp", body: body, header: http.Header{}}
	for _, h := range append(headers, "Authorization: Bearer "+cred) {
		name, value, _ := strings.Cut(h, ": ")
		a.header.Add(name, value)
	}
	return a
}

// plainly sends what clients send, in every era, with every kind of id and answer.
func (w *sides) plainly() (sent []ask) {
	for i, params := range w.params() {
		era, cred := allEras[i%len(allEras)], someCreds[i/len(allEras)%2]
		sent = append(sent, askOf(era, "tools/call", params, cred))
		if i < 60 {
			a := sent[len(sent)-1]
			a.body = strings.Replace(a.body, `"id":1`, `"id":`+someIDs[i%len(someIDs)], 1)
			sent = append(sent, a)
		}
	}
	for _, era := range allEras {
		for _, cred := range someCreds {
			for _, params := range []string{`{}`, `{"cursor":""}`, `{"cursor":"x"}`, `{"cursor":null}`, `{"name":"x"}`, `{"_meta":{"progressToken":"p"}}`} {
				sent = append(sent, askOf(era, "tools/list", params, cred))
			}
		}
		for _, method := range []string{"ping", "initialize", "server/discover", "prompts/list", "tasks/get", "notifications/initialized"} {
			sent = append(sent, askOf(era, method, `{"taskId":"job_1"}`, "key"))
		}
	}
	for _, a := range sent {
		w.compare("plain", a)
	}
	return sent
}

// corpus gives the messages of the corpus as requests of every era, where it is.
func (w *sides) corpus() (sent []ask) {
	w.Run("corpus", func(t *testing.T) {
		eachOf(t, "jsonrpc_seeds/seeds.jsonl", func(_ string, content io.Reader) {
			for lines := json.NewDecoder(content); lines.More(); {
				var s seed
				if err := lines.Decode(&s); err != nil {
					t.Fatal(err)
				}
				for _, raw := range []string{s.Raw, strings.ReplaceAll(s.Raw, `"name":"t"`, `"name":"dtc_whoami"`)} {
					a := askOf(allEras[len(sent)%3], "tools/call", `{"name":"dtc_whoami"}`, "key")
					a.body = raw
					sent = append(sent, a)
					w.compare(s.Name, a)
				}
			}
		})
	})
	return sent
}

func TestBothWaysOfAMessageAreOne(t *testing.T) {
	w := newSides(t)
	asks := w.plainly()
	asks = append(asks, w.corpus()...)
	chance := mutator{rand.New(rand.NewPCG(1, uint64(len(asks))))}
	for n := differentials(t); w.compared < n && !t.Failed(); {
		a := asks[chance.IntN(len(asks))]
		a.header = a.header.Clone()
		for range 1 + chance.IntN(3) {
			chance.change(&a)
		}
		w.compare("changed", a)
	}
	t.Logf("%d requests, of which %d went the short way", w.compared, w.short)
	if w.short < w.compared/10 {
		t.Errorf("only %d of %d requests went the short way", w.short, w.compared)
	}
}

// A mutator changes requests by chance.
type mutator struct{ *rand.Rand }

var (
	tokens = []string{
		`1.0`, `1e0`, `-0`, `9007199254740993`, `null`, `""`, `{}`, `[]`, `"\u0000"`, `"\ud800"`, `"\ud83d\ude00"`, `"2.0"`, `"tools/call"`, `"\u0074ools/call"`, `"tools/list"`,
		`"id":2,`, `"Id":2,`, `"name":"dtc_whoami",`, `"_meta":{},`, `"arguments":{"a":1,"A":2},`, `"a":1e400,`, `"order_no":1,"Order_No":2,`, `"a":{"b":1,"B":2},`, `"\u0061":1,`, `"é":1,`, ` `, "\n", ",", ":", `"`, "{", "}", "[", "]", "\\",
		"\x00", "\xff", "\ufeff", "\u2028", `"io.modelcontextprotocol/protocolVersion":"2026-07-28",`, `"io.modelcontextprotocol/protocolVersion":"2025-11-25",`,
		`"io.modelcontextprotocol/clientCapabilities":{},`, `"io.modelcontextprotocol/clientCapabilities":{"roots":{"listChanged":true},"elicitation":{"form":{},"url":{}},"sampling":{}},`,
		`"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}},`, `"io.modelcontextprotocol/clientCapabilities":{"roots":1},`,
		`"io.modelcontextprotocol/clientInfo":{"name":"x","version":"1"},`, `"io.modelcontextprotocol/clientInfo":{"name":1},`, `"io.modelcontextprotocol/logLevel":7,`,
		`"dtcgate/idempotencyKey":"k",`, `"progressToken":1,`, strings.Repeat("[", 70), strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20),
	}
	headerValues = map[string][]string{
		"Accept":               {"*/*", "application/json", "application/json,text/event-stream", "text/*, application/*", "text/event-stream, application/json;q=0.9", "Application/JSON, Text/Event-Stream", ""},
		"Content-Type":         {"application/json", "application/json; charset=utf-8", "Application/JSON", "text/plain", "application/json;;", "application/json, text/plain", ""},
		"Mcp-Protocol-Version": {"2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05", "2027-01-01", "", "x"},
		"Mcp-Method":           {"tools/call", "tools/list", "Tools/Call", "tasks/get", ""},
		"Mcp-Name":             {"dtc_whoami", "dtc_get_job", "DTC_WHOAMI", "=?base64?ZHRjX3dob2FtaQ==?=", ""},
		"Mcp-Session-Id":       {"s"},
		"Last-Event-Id":        {"1_1", ""},
		"Mcp-Param-Note":       {"x"},
		"Content-Encoding":     {"identity", "gzip", ""},
		"Authorization":        {"Bearer key", "Bearer jwt", "Bearer some", "Basic x"},
		"Origin":               {"http://example.com", "https://evil.example"},
	}
	headerNames = slices.Sorted(maps.Keys(headerValues))
)

func (m mutator) change(a *ask) {
	switch m.IntN(12) {
	case 0, 1:
		m.changeHeader(a)
	case 2:
		a.path = []string{"/mcp", "/mcp/key", "/mcp/", "//mcp", "/mcp?a=b"}[m.IntN(5)]
	case 3:
		a.chunked = !a.chunked
	case 4:
		a.method = []string{"POST", "POST", "GET", "PUT"}[m.IntN(4)]
	case 5:
		a.body += []string{" ", "\n", "x", "{}", "\x00", a.body, strings.Repeat(" ", maxBody)}[m.IntN(7)]
	case 6:
		a.body = []string{" ", "\ufeff", "[", "\t"}[m.IntN(4)] + a.body
	default:
		a.body = m.changeText(a.body)
	}
}

func (m mutator) changeHeader(a *ask) {
	name := headerNames[m.IntN(len(headerNames))]
	value := headerValues[name][m.IntN(len(headerValues[name]))]
	switch m.IntN(4) {
	case 0:
		a.header.Del(name)
	case 1:
		a.header.Add(name, value)
	default:
		a.header.Set(name, value)
	}
}

// changeText changes one place of a text, most often between two of its parts.
func (m mutator) changeText(text string) string {
	at := m.IntN(len(text) + 1)
	if m.IntN(2) == 0 {
		if next := strings.IndexAny(text[at:], `{}[],:"`); next >= 0 {
			at += next + m.IntN(2)
		}
	}
	rest := text[at:]
	switch m.IntN(4) {
	case 0: // a bit
		if rest != "" {
			return text[:at] + string(rest[0]^byte(1<<m.IntN(8))) + rest[1:]
		}
	case 1: // cut
		return text[:at] + rest[min(len(rest), 1+m.IntN(8)):]
	case 2: // twice
		return text[:at] + rest[:min(len(rest), 1+m.IntN(30))] + rest
	}
	return text[:at] + tokens[m.IntN(len(tokens))] + rest
}
