package server

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

var update = flag.Bool("update", false, "write what the server answers into the stories of testdata")

// Each file of testdata/*.txtar is a story that a person can read: who there is (keys), the policy that comes into force (policy; until
// then nobody is asked but for whom a key wants it), what is asked (client), what is
// answered (server), what happens in between (do), how many rows tables have (rows), and what stands on the record in the
// end (record). Ids, hashes, cursors and times are numbered in the order in which they appear; the client may use those
// names, and {NAME} for the id of a key or person. The demo shop is behind it. Stories of one thing are told on SQLite: what a call does to a database is tested
// where it is done. Those that go through the whole house, story-*, are told on both engines and read the same.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	demo := demoShop(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			tell(t, copyOf(t, demo), file, *update)
			if strings.HasPrefix(name, "story-") {
				t.Run("postgres", func(t *testing.T) {
					db := storetest.New(t, "postgres")
					loadDemo(t, db)
					tell(t, db, file, false)
				})
			}
		})
	}
}

// demoShop makes a database with the demo shop, for stories to begin with a copy of.
func demoShop(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "demo.db")
	db, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	loadDemo(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// fillDemo puts the demo into the shop of a rig's merchant.
func fillDemo(ctx context.Context, db *store.DB) error {
	db.Now = storyTime()
	var m auth.Merchant
	err := db.InTx(ctx, func(tx *store.Tx) (err error) {
		m, err = auth.EnsureMerchant(tx, rigMerchant)
		return err
	})
	if err == nil {
		_, err = shop.LoadDemo(ctx, db, m.ID, 1, db.Now())
	}
	return err
}

func loadDemo(t *testing.T, db *store.DB) {
	t.Helper()
	if err := fillDemo(t.Context(), db); err != nil {
		t.Fatal(err)
	}
}

func copyOf(t *testing.T, demo string) *store.DB {
	t.Helper()
	dsn := storetest.DSN(t, "sqlite")
	copied, err := os.ReadFile(demo)
	if err == nil {
		err = os.WriteFile(dsn, copied, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return storetest.Open(t, dsn)
}

// storyTime is a clock that begins at the same time in every run: the demo shop depends on the day.
func storyTime() func() time.Time {
	began := time.Now()
	return func() time.Time { return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).Add(time.Since(began)) }
}

// tell tells a story, and with anew writes it as it went.
func tell(t *testing.T, db *store.DB, file string, anew bool) {
	told, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	db.Now = storyTime()
	g := &story{rig: newRig(t, db, tools.NewRegistry(dtc.Tools()...))}
	for i, part := range told.Files {
		got := string(part.Data)
		switch part.Name {
		case "keys":
			g.admit(got)
		case "client":
			g.ask(got)
		case "policy":
			g.publish(got)
		case "do":
			g.act(strings.Fields(got))
		case "server":
			got = g.answered
		case "rows":
			got = g.rows(strings.Fields(got))
		case "record":
			got = g.record()
		default:
			t.Fatalf("%s: a part is called %q", file, part.Name)
		}
		if diff := cmp.Diff(string(part.Data), got); diff != "" && !anew {
			t.Errorf("%s, part %d (-told +happened):\n%s", file, i+1, diff)
		}
		told.Files[i].Data = []byte(got)
	}
	if anew {
		g.must(os.WriteFile(file, txtar.Format(told), 0o666))
	}
}

// A story is a rig on which one is told.
type story struct {
	*rig
	answered string
	names    []named
}

// named is a value that differs from run to run, and what it is called in the story.
type named struct{ value, name string }

// admit makes keys and people, a line each: NAME [confirm] [delegates] [profile=NAME] [actions=PATTERN] SCOPE… or person NAME [ROLE…]. One
// that delegates may do so three deep; somebody without a role is a manager.
func (g *story) admit(text string) {
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if words[0] == "person" {
			g.person(words[1], words[2:]...)
			continue
		}
		k := auth.Key{Name: words[0], Ceiling: auth.MaxLevel}
		var scopes []string
		for _, word := range words[1:] {
			switch name, value, _ := strings.Cut(word, "="); name {
			case "confirm":
				k.RequiresApproval = true
			case "delegates":
				k.Depth = auth.DefaultDepth
			case "profile":
				k.Profile = value
			case "actions":
				k.Actions = []string{value}
			default:
				scopes = append(scopes, word)
			}
		}
		var err error
		k.Scopes, err = auth.ParseScopes(scopes, auth.AgentScopes)
		g.must(err)
		g.mintKey(k)
	}
}

func (g *story) act(words []string) {
	switch {
	case len(words) == 1 && words[0] == "work":
		g.work()
	case len(words) == 2 && words[0] == "wait":
		d, err := time.ParseDuration(words[1])
		g.must(err)
		now := g.db.Now
		g.db.Now = func() time.Time { return now().Add(d) }
	case len(words) == 2 && words[0] == "revoke":
		g.revoke(words[1])
	case len(words) == 2 && words[0] == "subscribe":
		n, err := strconv.Atoi(words[1])
		g.must(err)
		g.subscribe(n)
	default:
		g.Fatalf("what is %q to do?", words)
	}
}

// subscribe adds customers who agreed to e-mail: the demo has fewer than rules about many are about.
func (g *story) subscribe(n int) {
	g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error {
		for i := range n {
			_, err := tx.Exec(`INSERT INTO customers (merchant_id, customer_no, country, email, email_consent_at, contact_synthetic)
				VALUES ($1, $2, 'France', $3, $4, 1)`, g.store, fmt.Sprint(8000+i), fmt.Sprintf("c%d@example.com", i), store.Micros(tx.Now))
			if err != nil {
				return err
			}
		}
		return nil
	}))
}

// rows counts what stands in tables, for a story to show that something was not done. words are the names of the tables,
// each with its count as it was told.
func (g *story) rows(words []string) string {
	var b strings.Builder
	g.must(g.db.Read(g.Context(), func(tx *store.Tx) error {
		for i := 0; i < len(words); i += 2 {
			var n int
			if err := tx.QueryRow("SELECT COUNT(*) FROM " + words[i]).Scan(&n); err != nil {
				return err
			}
			fmt.Fprintln(&b, words[i], n)
		}
		return nil
	}))
	return b.String()
}

// ask sends what a client part holds: a tool "as NAME" and its arguments, which is a call over MCP; "MCP era as NAME", a
// method and its params; or a request line with "as NAME" for a credential, headers, an empty line and a body.
func (g *story) ask(text string) {
	for _, n := range slices.Backward(g.names) {
		text = strings.ReplaceAll(text, n.name, n.value)
	}
	for name, id := range g.ids {
		text = strings.ReplaceAll(text, "{"+name+"}", id)
	}
	line, rest, _ := strings.Cut(text, "\n")
	line, who, _ := strings.Cut(line, " as ")
	method, path, _ := strings.Cut(line, " ")
	if strings.HasPrefix(method, "dtc_") {
		g.answered = g.callTool(method, who, rest)
		return
	}
	var headers []string
	body := rest
	if method == "MCP" {
		rpc, params, _ := strings.Cut(rest, "\n")
		body, headers = message(path, rpc, strings.TrimSpace(params))
		method, path = "POST", "/mcp"
	} else {
		var head string
		if head, body, _ = strings.Cut("\n"+rest, "\n\n"); head != "" {
			headers = strings.Split(strings.TrimSpace(head), "\n")
		}
		if body != "" {
			headers = append(headers, jsonBody)
		}
	}
	if secret := g.secrets[who]; secret != "" {
		headers = append(headers, "Authorization: Bearer "+secret)
	}
	resp, raw := g.do(method, path, body, slices.DeleteFunc(headers, func(h string) bool { return h == "" })...)
	g.answered = g.normal(shownAnswer(resp, raw))
}

// callTool makes a call over MCP and tells of the answer what a model reads: the words, without the structured content once
// more, and that.
func (g *story) callTool(tool, who, args string) string {
	_, r := g.rpc(who, eras[1], "tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, args))
	if r.Error != nil || len(r.Result.Content) != 1 {
		g.Fatalf("%s is answered with %+v", tool, r)
	}
	var b strings.Builder
	if r.Result.Meta[metaReplayed] == true {
		fmt.Fprintln(&b, "(answered before)")
	}
	words, content := g.normal(r.Result.Content[0].Text), g.normal(string(r.Result.StructuredContent))
	if words = strings.TrimSuffix(words, content); words != "" {
		fmt.Fprintln(&b, strings.TrimSpace(words))
	}
	fmt.Fprintln(&b, laidOut(json.RawMessage(content), ""))
	return b.String()
}

// laidOut breaks JSON into lines where it would not fit into one.
func laidOut(raw json.RawMessage, indent string) string {
	if len(indent)+len(raw) <= 140 || raw[0] != '{' && raw[0] != '[' {
		return string(raw)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	_, _ = d.Token()
	lines := []string{}
	for d.More() {
		name := ""
		if raw[0] == '{' {
			t, _ := d.Token()
			name = fmt.Sprintf("%q: ", t)
		}
		var value json.RawMessage
		_ = d.Decode(&value)
		lines = append(lines, indent+"  "+name+laidOut(value, indent+"  "))
	}
	return string(raw[0]) + "\n" + strings.Join(lines, ",\n") + "\n" + indent + string(raw[len(raw)-1])
}

func shownAnswer(resp *http.Response, raw string) string {
	var b bytes.Buffer
	fmt.Fprintln(&b, resp.Status)
	for _, name := range []string{"Allow", "WWW-Authenticate", "X-Call-Id", "Idempotent-Replayed", "Retry-After"} {
		if value := resp.Header.Get(name); value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	b.WriteByte('\n')
	if json.Indent(&b, []byte(raw), "", "  ") != nil {
		_, _ = io.WriteString(&b, raw)
	}
	b.WriteByte('\n')
	return b.String()
}

// varies finds what differs from run to run.
var varies = regexp.MustCompile(`\b(?:([a-z]+)_[0-9A-HJKMNP-TV-Z]{26}|([0-9a-f]{64})|([0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4})|(st_[0-9A-Za-z]{49})|(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)))\b|"next_cursor": ?"([\w-]+)"`)

// aHint is what is kept of a sub-token's secret in clear.
var aHint = regexp.MustCompile(`\bst_[0-9A-Za-z]{4}…`)

// normal names everything in text that differs from run to run.
func (g *story) normal(text string) string {
	text = aHint.ReplaceAllString(text, "st_HINT…")
	text = varies.ReplaceAllStringFunc(text, func(value string) string {
		for name, id := range g.ids {
			if value == id {
				return name
			}
		}
		kinds := varies.FindStringSubmatch(value)
		switch {
		case kinds[6] != "":
			return strings.Replace(value, kinds[6], g.name(kinds[6], "cursor"), 1)
		case kinds[5] != "":
			return "TIME"
		case kinds[4] != "":
			g.secrets[value] = value // the story may go on as whoever got it
			return g.name(value, "token")
		case kinds[3] != "":
			return g.name(value, "FINGERPRINT")
		case kinds[2] != "":
			return g.name(value, "sha256")
		}
		return g.name(value, kinds[1])
	})
	return text
}

func (g *story) name(value, kind string) string {
	n := 1
	for _, known := range g.names {
		if known.value == value {
			return known.name
		}
		if strings.HasPrefix(known.name, kind+"_") {
			n++
		}
	}
	g.names = append(g.names, named{value, fmt.Sprintf("%s_%d", kind, n)})
	return g.names[len(g.names)-1].name
}

// record is the record of the story, one entry a line.
func (g *story) record() string {
	var b strings.Builder
	for _, e := range g.entries() {
		line := []string{e.Event, e.Transport, e.Actor, e.Tool, e.Status, e.Code}
		fmt.Fprintln(&b, strings.Join(slices.DeleteFunc(line, func(s string) bool { return s == "" }), " "))
	}
	return g.normal(b.String())
}
