package trust

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

// outside is a source for tests: it checks what it is asked, and answers what the test says.
func outside(t *testing.T, answer http.HandlerFunc) Source {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/score" || r.URL.RawQuery != "agent=key_1&of=us" || r.ContentLength != 0 {
			t.Errorf("it was asked %s %s with %d bytes", r.Method, r.URL, r.ContentLength)
		}
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return Source{URL: s.URL + "/score?of=us"}
}

func says(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
	}
}

func ask(t *testing.T, s Source) (Score, error) {
	t.Helper()
	m, err := NewRemote(s)
	if err != nil {
		t.Fatal(err)
	}
	return m.Score(t.Context(), "key_1")
}

func TestASourceIsReadStrictly(t *testing.T) {
	for body, want := range map[string]Score{
		`{"score": 72.5}`: 72_500, `{"score":0}`: 0, ` {"score":100.0000} `: Full, `{"score":64.99999}`: 64_999,
	} {
		if got, err := ask(t, outside(t, says(body))); err != nil || got != want {
			t.Errorf("%s is %s, %v", body, got, err)
		}
	}
	for _, body := range []string{
		``, `72.5`, `null`, `{}`, `[]`, `{"score":null}`, `{"score":"72.5"}`, `{"score":-1}`, `{"score":-0}`, `{"score":100.0001}`, `{"score":1e1}`, `{"score":NaN}`,
		`{"score":1,"score":100}`, `{"Score":72.5}`, `{"score":72.5,"more":1}`, `{"score":72.5}{"score":99}`, `{"score":[72.5]}`,
		`{"score":72.5` + strings.Repeat(" ", maxAnswer) + `}`,
	} {
		if got, err := ask(t, outside(t, says(body))); !errors.Is(err, ErrSource) {
			t.Errorf("%.40q is %s, %v", body, got, err)
		}
	}
}

func TestOnlyAPlainAnswerCounts(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
			_, _ = w.Write([]byte(`{"score":100}`))
		},
		"an error":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"another type": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"score":100}`)) },
		"a broken body": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "50")
			says(`{"score":100}`)(w, nil)
		},
		"silence": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		s := outside(t, answer)
		s.TimeoutMS = 200
		if got, err := ask(t, s); !errors.Is(err, ErrSource) || got != None {
			t.Errorf("%s gives %s, %v", name, got, err)
		}
	}
}

func TestASourceIsNotAPrivateAddress(t *testing.T) {
	for _, address := range []string{"https://10.0.0.1/", "https://169.254.169.254/latest", "http://trust.example.com/", "https://u:p@trust.example.com/", "file:///etc/passwd", "https://2130706433/"} {
		if _, err := NewRemote(Source{URL: address}); err == nil {
			t.Errorf("%s is asked", address)
		}
	}
	// A name that leads to this machine is not asked where the rules say a name out in the world: what is dialled counts.
	m, err := NewRemote(Source{URL: "https://localhost.localdomain/"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.http.Transport.(*http.Transport).DialContext(t.Context(), "tcp", "127.0.0.1:443"); !errors.Is(err, auth.ErrNotPublic) {
		t.Errorf("this machine is dialled: %v", err)
	}
}

func TestASourceIsShownItsSecretAndNoOther(t *testing.T) {
	t.Setenv("DTCGATE_TRUST_TOKEN", "shh")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DTCGATE_TRUST_FILE", file)
	t.Setenv("DTCGATE_TRUST_EMPTY", " ")
	t.Setenv("DATABASE_PASSWORD", "not for you")
	for _, c := range []struct{ header, secret, sent string }{
		{"", "DTCGATE_TRUST_TOKEN", "Bearer shh"},
		{"X-Api-Key", "DTCGATE_TRUST_TOKEN", "shh"},
		{"X-Api-Key", "DTCGATE_TRUST_FILE", "from a file"},
		{"", "", ""},
		{"", "DTCGATE_TRUST_EMPTY", "!"},
		{"", "DTCGATE_TRUST_UNSET", "!"},
		{"", "DATABASE_PASSWORD", "!"},
	} {
		var sent atomic.Pointer[string]
		s := outside(t, func(w http.ResponseWriter, r *http.Request) {
			header := c.header
			if header == "" {
				header = "Authorization"
			}
			got := r.Header.Get(header)
			sent.Store(&got)
			says(`{"score":1}`)(w, r)
		})
		s.Header, s.SecretEnv = c.header, c.secret
		_, err := ask(t, s)
		if got := sent.Load(); c.sent == "!" && (err == nil || got != nil) || c.sent != "!" && (err != nil || *got != c.sent) {
			t.Errorf("%+v: %v", c, err)
		}
		if err != nil && (strings.Contains(err.Error(), "not for you") || strings.Contains(err.Error(), "127.0.0.1")) {
			t.Errorf("the error tells too much: %v", err)
		}
	}
}

func TestEveryCallAsksAgain(t *testing.T) {
	var n atomic.Int64
	s := outside(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1); n.Load() == 1 {
			says(`{"score":90}`)(w, r)
			return
		}
		says(`{"score":10}`)(w, r)
	})
	m, err := NewRemote(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Score{90_000, 10_000} {
		if got := m.Ask(t.Context(), "key_1"); got.Err != "" || got.Score != want {
			t.Errorf("it says %+v", got)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := m.Ask(ended, "key_1"); got.Err == "" || got.Score != None {
		t.Errorf("a call that is over gets %+v", got)
	}
}

func TestASourceOnlyTakesTrustAway(t *testing.T) {
	r := plain
	r.Source = &Source{}
	for _, c := range []struct {
		rules Rules
		said  *Asked
		want  Score
		known bool
	}{
		{r, &Asked{Score: 40_000}, 40_000, true},
		{r, &Asked{Score: 90_000}, 60_000, true},
		{r, &Asked{}, 0, true},
		{r, &Asked{Err: "no answer", Score: 90_000}, 60_000, false},
		{r, nil, 60_000, false},
		{plain, nil, 60_000, true},
		{Rules{}, nil, 60_000, true},
	} {
		if got, known := c.rules.With(60_000, c.said); got != c.want || known != c.known {
			t.Errorf("%+v: %s, %t", c, got, known)
		}
	}
}

func TestWithoutAnAnswerWhatReachesOutsideStops(t *testing.T) {
	r, required := plain, plain
	r.Source, required.Source = &Source{}, &Source{Required: true}
	inside, reaches, touches := tools.Risk{Undo: 3, Blast: 3}, tools.Risk{Reach: 1}, tools.Risk{Touch: 1}
	if r.Stops(inside) || !r.Stops(reaches) || !r.Stops(touches) || !required.Stops(inside) {
		t.Error("the wrong calls stop")
	}
}
