package server

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// serving runs Serve for the rig's server and gives its end, and what waits for it.
func (g *rig) serving(drain time.Duration) (stop func(), ended func() error) {
	g.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	g.must(err)
	g.url = "http://" + ln.Addr().String()
	ctx, stop := context.WithCancel(g.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, ln, g.server, Leave{Drain: drain}) }()
	return stop, func() error { return <-served }
}

func TestServeAnswersWhatItAccepted(t *testing.T) {
	g := newSQLiteRig(t)
	key := "X-Agent-Key: " + g.mint("key", false, "orders:write")
	started, release := make(chan bool), make(chan bool)
	g.server.handle("POST /slow", g.server.known(func(w http.ResponseWriter, r *http.Request) {
		close(started)
		<-release
		if r.Context().Err() != nil {
			t.Error("an accepted request was cut short")
		}
		g.server.write(w, 200, "", []byte(`"whole"`))
	}))
	stop, ended := g.serving(time.Minute)
	answered := make(chan string, 1)
	go func() {
		_, text := g.do("POST", "/slow", "", key)
		answered <- text
	}()
	<-started
	stop()
	for {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		if err != nil {
			break // nothing more is accepted
		}
		g.must(conn.Close())
	}
	close(release)
	if text := <-answered; text != `"whole"` {
		t.Errorf("the accepted request is answered %q", text)
	}
	if err := ended(); err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// Calls that wait for something (a read that is not settled) may not hold up the end, over any protocol.
func TestServeEndsThoughCallsWait(t *testing.T) {
	g := newSQLiteRig(t)
	defer storetest.NothingLeft(t)()
	key := "X-Agent-Key: " + g.mint("key", false, "orders:read")
	const drain = 2 * time.Second
	stop, ended := g.serving(drain)
	answers := make(chan string)
	wait := func(method, path, body string, headers ...string) {
		_, text := g.do(method, path, body, append(headers, key)...)
		answers <- text
	}
	go wait("GET", tools.BasePath+"/notes/later-over-rest", "")
	for _, era := range eras {
		body, headers := message(era, "tools/call", `{"name":"notes_get","arguments":{"note_id":"later-`+era+`"}}`)
		go wait("POST", "/mcp", body, headers...)
	}
	for waits := map[string]bool{}; len(waits) < 3; {
		select {
		case text := <-answers:
			t.Fatalf("a call did not wait: %s", text)
		case id := <-waiting:
			waits[id] = true
		}
	}
	stop()
	began := time.Now()
	for range 3 {
		if text := <-answers; !strings.Contains(text, string(tools.Unavailable)) && !strings.Contains(text, "not yet") {
			t.Errorf("a call that waited is answered %s", text)
		}
	}
	if err := ended(); err != nil || time.Since(began) > drain {
		t.Errorf("Serve ended after %v: %v", time.Since(began), err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestServeCutsOffWhoHoldsOn(t *testing.T) {
	g := newSQLiteRig(t)
	const drain = 200 * time.Millisecond
	stop, ended := g.serving(drain)
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	g.must(err)
	_, err = io.WriteString(conn, "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n")
	g.must(err)
	stop()
	if err := ended(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Serve: %v", err)
	}
	_, _ = io.ReadAll(conn)
	g.must(conn.Close())
}

// A client that sends a byte now and then costs a connection, for as long as the server's limits allow, and nobody else anything: neither
// one that does not get to the end of its headers nor one that tells of a body and does not send it.
func TestSlowClientsDelayNobody(t *testing.T) {
	g := newSQLiteRig(t)
	key := "X-Agent-Key: " + g.mint("key", false, "orders:read")
	if s := HTTPServer(nil); s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Errorf("what a slow client may take has no limit: %+v", s)
	}
	const slow = 1000
	began := []string{"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX", "POST /mcp HTTP/1.1\r\nHost: localhost\r\n" + key + "\r\n" + jsonBody + "\r\nContent-Length: 1048576\r\n\r\n"}
	before := inUse()
	var slowly []net.Conn
	for i := range slow {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
		g.must(err)
		defer conn.Close()
		_, err = io.WriteString(conn, began[i%2])
		g.must(err)
		slowly = append(slowly, conn)
	}
	for i := range 200 {
		for _, conn := range slowly[i*5 : i*5+5] {
			_, _ = conn.Write([]byte(" ")) // one whose time is over is closed
		}
		if resp, text := g.do("GET", tools.BasePath+"/notes?limit=1", "", key); resp.StatusCode != 200 {
			t.Fatalf("%s %s", resp.Status, text)
		}
	}
	if taken := int64(inUse() - before); taken > 64<<20 {
		t.Errorf("%d slow clients take %d MB", slow, taken>>20)
	}
}

// inUse is how many bytes are in use, after what is not has been given back.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
