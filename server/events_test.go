package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// numbering gives numbers to what goes on record, as a running gate does, until the test ends.
func (g *rig) numbering() {
	g.Helper()
	signer, key, err := audit.LoadOrCreateSigner(filepath.Join(g.TempDir(), "key"), "test")
	g.must(err)
	log := audit.New(audit.Config{DB: g.db, Signer: signer, VerifierKey: key})
	ctx, stop := context.WithCancel(g.Context())
	ended := make(chan error, 1)
	go func() { ended <- log.Run(ctx) }()
	g.Cleanup(func() {
		stop()
		g.must(<-ended)
	})
}

// signIn signs a person in and gives the header with their session.
func (g *rig) signIn(name string) (header string) {
	g.Helper()
	_, link, _ := strings.Cut(g.link(name), "#")
	in, err := g.gate.SignInByLink(g.Context(), gate.Browser{Source: "127.0.0.1"}, link)
	g.must(err)
	return "Cookie: " + sessionCookie + "=" + in.Secret
}

// happen puts something about a request on record.
func (g *rig) happen(event, id string) {
	g.Helper()
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		_, err := audit.Append(tx, audit.Entry{Merchant: g.store, Event: event, ApprovalID: id, Reason: "what somebody said"})
		return err
	}))
}

// A stream is an answer that does not end by itself.
type stream struct {
	*rig
	*http.Response
	lines *bufio.Scanner
	seen  []string
}

func (g *rig) stream(query string, headers ...string) *stream {
	g.Helper()
	r, err := http.NewRequestWithContext(g.Context(), "GET", g.url+"/events"+query, nil)
	g.must(err)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	g.must(err)
	s := &stream{rig: g, Response: resp, lines: bufio.NewScanner(resp.Body)}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		g.Fatalf("answered %s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	return s
}

// until reads on to a line that begins so, and gives it.
func (s *stream) until(begin string) string {
	s.Helper()
	for s.lines.Scan() {
		s.seen = append(s.seen, s.lines.Text())
		if strings.HasPrefix(s.lines.Text(), begin) {
			return s.lines.Text()
		}
	}
	s.Fatalf("the stream ended before %q: %q %v", begin, s.seen, s.lines.Err())
	return ""
}

// leave ends the stream as a browser does.
func (s *stream) leave() {
	s.Helper()
	s.must(s.Body.Close())
	http.DefaultClient.CloseIdleConnections()
}

func TestAPageIsToldWhatHappens(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		g.numbering()
		g.person("Mia")
		s := g.stream("", g.signIn("Mia"))
		if got := s.until("data:"); got != `data: {"approvals":0}` {
			t.Errorf("the stream begins with %s", got)
		}
		g.happen("approval.requested", "apr_1")
		id := s.until("id:")
		if event, data := s.until("event:"), s.until("data:"); event != "event: approval" || data != `data: {"id":"apr_1","state":"pending"}` {
			t.Errorf("told %s %s", event, data)
		}
		s.leave()
		g.happen("approval.rejected", "apr_1")
		back := g.stream("?after=0", g.signIn("Mia"), "Last-Event-ID: "+strings.TrimPrefix(id, "id: "))
		defer back.leave()
		back.until("event: approval")
		if data := back.until("data:"); data != `data: {"id":"apr_1","state":"rejected"}` {
			t.Errorf("who comes back is told %s", data)
		}
		if all := strings.Join(append(s.seen, back.seen...), "\n"); strings.Contains(all, "somebody") {
			t.Errorf("what somebody said is told: %s", all)
		}
	})
}

// The times that bound other requests (HTTPServer) would end a stream.
func TestAStreamOutlivesTheTimesOfOtherRequests(t *testing.T) {
	g := newSQLiteRig(t)
	g.numbering()
	web := httptest.NewUnstartedServer(nil)
	web.Config = HTTPServer(g.server)
	web.Config.ReadTimeout, web.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	web.Start()
	defer web.Close()
	g.url, g.server.heartbeat = web.URL, 300*time.Millisecond
	g.person("Mia")
	s := g.stream("", g.signIn("Mia"))
	defer s.leave()
	for range 3 {
		s.until(":")
		s.until("id: ")
	}
	g.happen("approval.requested", "apr_1")
	s.until(`data: {"id":"apr_1"`)
}

func TestWhoMayNotHearIsTold(t *testing.T) {
	g := newSQLiteRig(t)
	key := g.mint("bot", false, "orders:read")
	g.must(g.db.InTx(t.Context(), func(tx *store.Tx) error {
		return auth.PutRole(tx, auth.Role{Merchant: g.store, Name: "writer", Scopes: []auth.Scope{auth.PolicyAdmin}})
	}))
	g.person("Ned", "writer")
	token := g.person("Mia")
	for name, c := range map[string]struct {
		query, header string
		status        int
		code          tools.Code
	}{
		"nobody":             {"", "Accept: text/event-stream", 401, tools.Unauthorized},
		"a key":              {"", "X-Agent-Key: " + key, 401, tools.Unauthorized},
		"a person's token":   {"", "Authorization: Bearer " + token, 401, tools.Unauthorized},
		"without the right":  {"", g.signIn("Ned"), 403, tools.ForbiddenScope},
		"after what is none": {"?after=x", g.signIn("Mia"), 400, tools.InvalidArguments},
		"before the first":   {"?after=-1", g.signIn("Mia"), 400, tools.InvalidArguments},
	} {
		resp, text := g.do("GET", "/events"+c.query, "", c.header)
		if resp.StatusCode != c.status || !strings.Contains(text, string(c.code)) {
			t.Errorf("%s is answered %d: %s", name, resp.StatusCode, text)
		}
	}
	if resp, _ := g.do("HEAD", "/events", "", g.signIn("Mia")); resp.StatusCode != 200 {
		t.Errorf("HEAD is answered %s", resp.Status)
	}
}

func TestABrowserHasSoManyStreamsAndNoMore(t *testing.T) {
	g := newSQLiteRig(t)
	g.person("Mia")
	session := g.signIn("Mia")
	for range 4 {
		defer g.stream("", session).leave()
	}
	if resp, text := g.do("GET", "/events", "", session); resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one more is answered %s: %s", resp.Status, text)
	}
	g.stream("", g.signIn("Mia")).leave()
}

// security.md, R2.
func TestAStreamEndsWithItsSession(t *testing.T) {
	g := newSQLiteRig(t)
	g.numbering()
	g.person("Mia")
	session := g.signIn("Mia")
	s := g.stream("", session)
	defer s.leave()
	s.until("event: counts")
	resp, text := g.do("POST", "/me/sign-out", "", session, "Content-Type: application/x-www-form-urlencoded")
	if resp.StatusCode >= 400 {
		t.Fatalf("signing out is answered %s: %s", resp.Status, text)
	}
	began := time.Now()
	g.happen("approval.requested", "apr_after")
	rest, err := io.ReadAll(s.Body)
	g.must(err)
	if strings.Contains(string(rest), "apr_after") {
		t.Errorf("told %s", rest)
	}
	t.Logf("ended %v after the session", time.Since(began).Round(time.Millisecond))
	if resp, _ := g.do("GET", "/events", "", session); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("who comes back is answered %s", resp.Status)
	}
}

// A process that is told to end does not wait for browsers, which never leave by themselves.
func TestServeEndsThoughPagesAreOpen(t *testing.T) {
	g := newSQLiteRig(t)
	defer storetest.NothingLeft(t)()
	g.person("Mia")
	stop, ended := g.serving(time.Hour)
	var open []*stream
	for i := range 3 {
		s := g.stream(fmt.Sprint("?after=", i), g.signIn("Mia"))
		s.until("event: counts")
		open = append(open, s)
	}
	stop()
	g.must(ended())
	for _, s := range open {
		if _, err := io.ReadAll(s.Body); err != nil {
			t.Errorf("a stream was cut off: %v", err)
		}
		s.leave()
	}
}
