package server

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/tools"
)

// hostile are bodies that must be refused by their form.
var hostile = map[string]func() io.Reader{
	"100 MB of text":     func() io.Reader { return io.LimitReader(endless('a'), 100<<20) },
	"100 MB of brackets": func() io.Reader { return io.LimitReader(endless('['), 100<<20) },
	"depth 10^5":         func() io.Reader { return strings.NewReader(strings.Repeat(`{"a":`, 100_000)) },
	"depth 10^5, closed": func() io.Reader {
		return strings.NewReader(strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000))
	},
	"10^5 names":            func() io.Reader { return names(100_000) },
	"10^6 names":            func() io.Reader { return names(1_000_000) },
	"a million digits":      func() io.Reader { return strings.NewReader(`{"limit":` + strings.Repeat("9", 1_000_000) + "}") },
	"a huge exponent":       func() io.Reader { return strings.NewReader(`{"limit":1e1000000000}`) },
	"2^53+1":                func() io.Reader { return strings.NewReader(`{"limit":9007199254740993}`) },
	"a name twice":          func() io.Reader { return strings.NewReader(`{"text":"a","text":"b"}`) },
	"a name twice, escaped": func() io.Reader { return strings.NewReader(`{"text":"a","te\u0078t":"b"}`) },
	"a name in two cases":   func() io.Reader { return strings.NewReader(`{"text":"a","Text":"b"}`) },
	"a long s":              func() io.Reader { return strings.NewReader(`{"tags":[],"tagſ":[]}`) },
	"a Kelvin sign":         func() io.Reader { return strings.NewReader(`{"key":1,"\u212aey":2}`) },
	"half a surrogate pair": func() io.Reader { return strings.NewReader(`{"text":"\ud800"}`) },
	"not UTF-8":             func() io.Reader { return strings.NewReader("{\"text\":\"\xff\"}") },
	"NUL":                   func() io.Reader { return strings.NewReader(`{"text":"\u0000"}`) },
	"a byte order mark":     func() io.Reader { return strings.NewReader("\ufeff{}") },
	"two documents":         func() io.Reader { return strings.NewReader(`{"text":"a"}{"text":"b"}`) },
	"cut off":               func() io.Reader { return strings.NewReader(`{"text":"a`) },
}

type endless byte

func (e endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(e)
	}
	return len(b), nil
}

func names(n int) io.Reader {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range n {
		fmt.Fprintf(&b, `"k%d":1,`, i)
	}
	b.WriteString(`"z":1}`)
	return &b
}

func TestHostileBodiesAreRefusedWithinBounds(t *testing.T) {
	g := newSQLiteRig(t)
	key := "X-Agent-Key: " + g.mint("key", false, "orders:read", "orders:write")
	for name, body := range hostile {
		for _, path := range []string{tools.BasePath + "/notes", tools.BasePath + "/tools/notes_search", "/mcp"} {
			sent := body()
			taken := allocated()
			status, text := g.sendAny("POST", path, sent, jsonBody, "Accept: */*", key)
			if status != 400 && status != 413 && status != 0 {
				t.Errorf("%s to %s: %d %s", name, path, status, text)
			}
			if taken = allocated() - taken; taken > 20<<20 {
				t.Errorf("%s to %s takes %d MB", name, path, taken>>20)
			}
		}
	}
	g.still(key)
}

// allocated is how many bytes were ever asked for: what is asked for in between is the most that could be in use at once.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// sendAny is send for requests that may be cut off before they are read; the status is 0 then.
func (g *rig) sendAny(method, path string, body io.Reader, headers ...string) (int, string) {
	g.Helper()
	r, err := http.NewRequestWithContext(g.Context(), method, g.url+path, body)
	g.must(err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

// still fails the test when the server does not answer as before, or has logged a fault of its own.
func (g *rig) still(key string) {
	g.Helper()
	if resp, text := g.do("GET", tools.BasePath+"/notes?limit=1", "", key); resp.StatusCode != 200 {
		g.Errorf("the server does not answer any more: %s %s", resp.Status, text)
	}
	if log := g.log.String(); strings.Contains(log, `"panic"`) || strings.Contains(log, `"status":5`) {
		g.Errorf("logged:\n%s", log)
	}
}

func TestCompressedBodiesAreNotRead(t *testing.T) {
	g := newSQLiteRig(t)
	key := "X-Agent-Key: " + g.mint("key", false, "orders:read")
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, err := io.CopyN(z, endless(' '), 8<<20)
	g.must(errors.Join(err, z.Close()))
	for _, encoding := range []string{"gzip", "deflate", "br", "gzip, identity"} {
		for _, path := range []string{"/mcp", tools.BasePath + "/tools/notes_search"} {
			status, text := g.sendAny("POST", path, bytes.NewReader(bomb.Bytes()), jsonBody, "Accept: */*", key, "Content-Encoding: "+encoding)
			if status != http.StatusUnsupportedMediaType {
				t.Errorf("%s to %s: %d %s", encoding, path, status, text)
			}
		}
	}
}

func TestLargeHeadersAreRefused(t *testing.T) {
	g := newSQLiteRig(t)
	status, _ := g.sendAny("GET", "/healthz", nil, "X-Filler: "+strings.Repeat("a", 1<<20))
	if status != http.StatusRequestHeaderFieldsTooLarge && status != 0 {
		t.Errorf("a header of 1 MB: %d", status)
	}
}

// smuggled are requests that two parsers may read differently. net/http refuses them; this holds that nothing of ours
// stands in its way.
var smuggled = []string{
	"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
	"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
	"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
	"POST /mcp HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
	"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX: a\rContent-Length: 3\r\n\r\nabc",
	"POST /mcp HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
	"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Agent-Key: a\x00b\r\n\r\n",
	"GET /mcp\r\n\r\n",
}

func TestSmuggledRequestsAreOneAnswerAtMost(t *testing.T) {
	g := newSQLiteRig(t)
	for _, raw := range smuggled {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		g.must(err)
		g.must(conn.SetDeadline(time.Now().Add(5 * time.Second)))
		_, err = conn.Write([]byte(raw))
		g.must(err)
		answers, _ := io.ReadAll(conn) // until the server closes, or the deadline
		if n := bytes.Count(answers, []byte("HTTP/1.1 ")); n != 1 || !bytes.HasPrefix(answers, []byte("HTTP/1.1 4")) && !bytes.HasPrefix(answers, []byte("HTTP/1.1 5")) {
			t.Errorf("%q is answered %q", raw, answers)
		}
		g.must(conn.Close())
	}
}

// A seed is one message of the JSON-RPC corpus.
type seed struct{ Name, Raw, Want string }

// eachOf calls fn for the files below a folder of the optional corpora, or skips the test where they are not.
func eachOf(t *testing.T, folder string, fn func(name string, content io.Reader)) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "shared", "corpora", "dev.tgz"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the corpora are not beside the project")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for files := tar.NewReader(z); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg && strings.HasPrefix(h.Name, "corpora/"+folder) {
			fn(h.Name, files)
		}
	}
}

func TestMalformedMessagesOfTheCorpus(t *testing.T) {
	g := newSQLiteRig(t)
	key := "X-Agent-Key: " + g.mint("key", false, "orders:read")
	eachOf(t, "jsonrpc_seeds/seeds.jsonl", func(_ string, content io.Reader) {
		lines := bufio.NewScanner(content)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			var s seed
			g.must(json.Unmarshal(lines.Bytes(), &s))
			for _, version := range []string{"2025-11-25", "2026-07-28", "2025-03-26"} {
				g.malformed(s, version, key)
			}
		}
		g.must(lines.Err())
	})
	g.still(key)
}

func (g *rig) malformed(s seed, version, key string) {
	g.Helper()
	began := time.Now()
	status, text := g.sendAny("POST", "/mcp", strings.NewReader(s.Raw), jsonBody, "Accept: application/json, text/event-stream", "MCP-Protocol-Version: "+version, key)
	if took := time.Since(began); status >= 500 || status == 0 || took > 2*time.Second {
		g.Errorf("%s over %s: %d after %v: %.200s", s.Name, version, status, took, text)
	}
	if text != "" && version == eras[0] && !json.Valid([]byte(text)) {
		g.Errorf("%s is answered with no JSON: %d %.200s", s.Name, status, text)
	}
	wanted := strings.Split(strings.ReplaceAll(s.Want, " or ", "/"), "/")
	strict := strings.HasPrefix(s.Name, "params_") || strings.Contains(s.Name, "u0000") // refused in another way, and no later
	if version == eras[0] && strings.HasPrefix(s.Want, "-32") && !strict && !containsAny(text, wanted) {
		g.Errorf("%s wants %s and gets %d %.200s", s.Name, s.Want, status, text)
	}
}

func containsAny(text string, any []string) bool {
	for _, a := range any {
		if code, _, _ := strings.Cut(strings.TrimSpace(a), " "); strings.HasPrefix(code, "-32") && strings.Contains(text, strings.TrimSuffix(code, ",")) {
			return true
		}
	}
	return false
}

// What JSON readers disagree about must be refused before any of ours could, on either transport.
func TestJSONTestSuite(t *testing.T) {
	g := newSQLiteRig(t)
	key := "X-Agent-Key: " + g.mint("key", false, "orders:read", "orders:write")
	eachOf(t, "json_parsing/files/", func(name string, content io.Reader) {
		raw, err := io.ReadAll(content)
		g.must(err)
		name = filepath.Base(name)
		for path, body := range map[string][]byte{
			"/mcp":                       raw,
			tools.BasePath + "/notes":    raw,
			"/mcp/key":                   []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"notes_search","arguments":` + string(raw) + `}}`),
			tools.BasePath + "/tools/no": raw,
		} {
			status, text := g.sendAny("POST", path, bytes.NewReader(body), jsonBody, "Accept: */*", key)
			if status >= 500 || status == 0 {
				t.Errorf("%s to %s: %d %.200s", name, path, status, text)
			}
			if strings.HasPrefix(name, "test_parsing__n_") && path == "/mcp" && !strings.Contains(text, fmt.Sprint(rpcParse)) && len(bytes.TrimSpace(raw)) > 0 {
				t.Errorf("%s is read: %d %.200s", name, status, text)
			}
		}
	})
	g.still(key)
}
