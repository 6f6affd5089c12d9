package server

import (
	"bufio"
	"encoding/json"
	"io"
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
)

// malformedVariable asks for more requests than an ordinary run sends: security teams want 10,000.
const malformedVariable = "DTCGATE_TEST_MALFORMED"

// Messages with one to three faults are answered or refused as what they are: by no fault of ours, by no panic, and by nothing that
// cannot be read.
func TestMutatedMessagesAreNoFaultOfOurs(t *testing.T) {
	g := newSQLiteRig(t)
	key := g.mint("key", false, "orders:read", "orders:write")
	n := 1000
	if more, err := strconv.Atoi(os.Getenv(malformedVariable)); err == nil {
		n = more
	}
	bodies := someMessages(t)
	chance := mutator{rand.New(rand.NewPCG(2, 0))}
	before := inUse()
	took := make([]time.Duration, n)
	refused := 0
	for i := range took {
		a := askOf(allEras[i%len(allEras)], "tools/call", `{"name":"notes_search","arguments":{"limit":1}}`, key)
		if i%4 > 0 {
			a.body = bodies[chance.IntN(len(bodies))]
		}
		for range 1 + chance.IntN(3) {
			a.body = chance.changeValue(a.body)
		}
		began := time.Now()
		status := g.mutated(a)
		took[i] = time.Since(began)
		if status >= 400 {
			refused++
		}
	}
	slices.Sort(took)
	t.Logf("%d messages, %d refused by their status; half took %v, 99 of 100 %v, one %v", n, refused, took[n/2], took[n*99/100], took[n-1])
	if grown := int64(inUse() - before); grown > 64<<20 {
		t.Errorf("they leave %d MB in use", grown>>20)
	}
	g.still("X-Agent-Key: " + key)
}

// scalars are the values of a message, and its empty objects and lists.
var scalars = regexp.MustCompile(`"[^"]*"|-?[0-9.]+|true|false|null|\{\}|\[\]`)

// changeValue puts another value in the place of one, so that the message most often stays JSON; or it changes the text.
func (m mutator) changeValue(text string) string {
	all := scalars.FindAllStringIndex(text, 200)
	if len(all) == 0 || m.IntN(4) == 0 {
		return m.changeText(text)
	}
	at, value := all[m.IntN(len(all))], tokens[m.IntN(13)]
	if m.IntN(2) == 0 {
		other := all[m.IntN(len(all))]
		value = text[other[0]:other[1]]
	}
	return text[:at[0]] + value + text[at[1]:]
}

// mutated sends a message without a network between, and gives the status of the answer.
func (g *rig) mutated(a ask) int {
	g.Helper()
	r := httptest.NewRequestWithContext(g.Context(), a.method, g.url+a.path, strings.NewReader(a.body))
	r.Header, r.RemoteAddr = a.header, "127.0.0.1:4711"
	w := httptest.NewRecorder()
	g.server.ServeHTTP(w, r)
	if w.Code >= http.StatusInternalServerError {
		g.Errorf("%q is answered %d %s", a.body, w.Code, w.Body)
	}
	if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
		g.Errorf("%q is answered with no JSON: %q", a.body, w.Body)
	}
	return w.Code
}

// someMessages are messages to change: our own, and those of the corpus where it is.
func someMessages(t *testing.T) []string {
	all := []string{
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":""}}`,
		`{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"job_1"}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
		`{"jsonrpc":"2.0","id":1,"result":{}}`,
		`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`,
	}
	t.Run("corpus", func(t *testing.T) {
		eachOf(t, "jsonrpc_seeds/seeds.jsonl", func(_ string, content io.Reader) {
			lines := bufio.NewScanner(content)
			lines.Buffer(nil, 16<<20)
			for lines.Scan() {
				var s seed
				if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
					t.Fatal(err)
				}
				all = append(all, s.Raw)
			}
		})
	})
	return all
}
