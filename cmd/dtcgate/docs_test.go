package main

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/server"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// documents are the pages that tell people what to type.
var documents = []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/operations.md", "docs/design.md", "docs/call.md", "docs/policy.md", "docs/approvals.md"}

func readDocument(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	fence  = regexp.MustCompile("(?ms)^```(\\w+)(?: \\w+)?\n(.*?)^```$")
	inline = regexp.MustCompile("`(?:\\./bin/)?dtcgate ([a-z][^`]*)`")
	link   = regexp.MustCompile(`\]\(([^)#:]+)\)`)
	word   = regexp.MustCompile(`"[^"]*"|'[^']*'|[^\s"']+`)
)

// shellLines gives the words of each command in a document's sh blocks, and in the steps of workflows.
func shellLines(text string) [][]string {
	var lines [][]string
	for _, block := range fence.FindAllStringSubmatch(text, -1) {
		if block[1] != "sh" && block[1] != "yaml" {
			continue
		}
		for line := range strings.Lines(strings.ReplaceAll(block[2], "\\\n", " ")) {
			if block[1] == "yaml" {
				_, line, _ = strings.Cut(line, "- run: ")
			}
			line, _, _ = strings.Cut(line, " # ")
			line, _, _ = strings.Cut(line, " > ")
			words := word.FindAllString(line, -1)
			for i, w := range words {
				words[i] = strings.Trim(w, `"'`)
			}
			if len(words) > 0 {
				lines = append(lines, words)
			}
		}
	}
	return lines
}

func TestDocumentedCommandsAreCommands(t *testing.T) {
	t.Setenv(webhookSecretVariable, "whsec_"+base64.StdEncoding.EncodeToString(make([]byte, 32))) // as the documents tell
	makefile := readDocument(t, "Makefile")
	found := 0
	for _, name := range documents {
		text := readDocument(t, name)
		for _, words := range shellLines(text) {
			switch strings.TrimPrefix(words[0], "./bin/") {
			case "dtcgate":
				found++
				if _, err := newParser(new(cli)).Parse(words[1:]); err != nil {
					t.Errorf("%s: %s: %v", name, strings.Join(words, " "), err)
				}
			case "make":
				if !strings.Contains(makefile, "\n"+words[1]+":") {
					t.Errorf("%s: there is no make %s", name, words[1])
				}
			}
		}
		for _, m := range inline.FindAllStringSubmatch(text, -1) {
			found++
			checkCommand(t, name, strings.Fields(m[1]))
		}
	}
	if found < 20 {
		t.Errorf("only %d commands were found: this test looks in the wrong place", found)
	}
}

// checkCommand finds the command that words begin with; what follows it may be left out in running text.
func checkCommand(t *testing.T, document string, words []string) {
	t.Helper()
	node := newParser(new(cli)).Model.Node
	for _, w := range words {
		next := child(node, w)
		if next == nil {
			break
		}
		node = next
	}
	if !node.Leaf() {
		t.Errorf("%s: there is no command dtcgate %s", document, strings.Join(words, " "))
	}
}

func child(n *kong.Node, name string) *kong.Node {
	for _, c := range n.Children {
		if c.Name == name {
			return c
		}
	}
	return nil
}

func TestDocumentedRequestsHaveRoutes(t *testing.T) {
	testNetwork := auth.Networks{netip.MustParsePrefix("192.0.2.0/24")}
	db := storetest.New(t, "sqlite")
	s, err := server.New(server.Config{
		Gate: gate.New(gate.Config{DB: db, Tools: registry}), Tools: registry, DB: db, Log: zerolog.Nop(),
		Networks: server.Networks{Agents: testNetwork, Admins: testNetwork}, // httptest's requests come from there
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range documents {
		for _, words := range shellLines(readDocument(t, name)) {
			if words[0] != "curl" {
				continue
			}
			found++
			r := requestOf(words)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != http.StatusUnauthorized {
				t.Errorf("%s: %s %s without a key is answered %d", name, r.Method, r.URL, w.Code)
			}
		}
	}
	if found == 0 {
		t.Error("no curl line was found: this test looks in the wrong place")
	}
}

// requestOf is the request that a curl line makes, without its key.
func requestOf(words []string) *http.Request {
	method, address := http.MethodGet, ""
	for i, w := range words {
		switch {
		case w == "-X":
			method = words[i+1]
		case strings.HasPrefix(w, "http://"):
			address = w
		}
	}
	return httptest.NewRequest(method, strings.ReplaceAll(address, "…", "x"), nil)
}

func TestSettingsAreDocumented(t *testing.T) {
	text := readDocument(t, "docs/operations.md")
	root := newParser(new(cli)).Model.Node
	for _, f := range append(root.Flags, child(root, "serve").Flags...) {
		if f.Name == "help" {
			continue
		}
		for _, want := range append([]string{"`--" + f.Name}, f.Envs...) {
			if !strings.Contains(text, want) {
				t.Errorf("docs/operations.md does not tell of %s", want)
			}
		}
	}
}

func TestDocumentedCodeIsTheCode(t *testing.T) {
	code := readDocument(t, "tools/dtc/list_campaigns.go")
	for _, block := range fence.FindAllStringSubmatch(readDocument(t, "README.md"), -1) {
		if block[1] == "go" && !strings.Contains(code, block[2]) {
			t.Errorf("README.md shows code that is not in tools/dtc/list_campaigns.go:\n%s", block[2])
		}
	}
}

func TestLinksLeadSomewhere(t *testing.T) {
	for _, name := range documents {
		for _, m := range link.FindAllStringSubmatch(readDocument(t, name), -1) {
			if _, err := os.Stat(filepath.Join("..", "..", filepath.Dir(name), m[1])); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

var namedTest = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9]+)`")

// A row of the threat tables without a test that holds it is a hope, and a figure without one that makes it is a claim.
func TestEveryThreatNamesTestsThatExist(t *testing.T) {
	there := map[string]bool{}
	err := filepath.WalkDir(filepath.Join("..", ".."), func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for title, least := range map[string]int{
		"Threats to identity": 12, "Threats to the policy": 12, "Threats to approvals": 12, "Threats to speed, replicas and proofs": 12,
		"What the rigs found at full size": 11,
	} {
		_, table, found := strings.Cut(readDocument(t, "docs/security.md"), "\n## "+title+"\n")
		if !found {
			t.Fatalf("docs/security.md has no section %s", title)
		}
		table, _, _ = strings.Cut(table, "\n## ")
		rows := 0
		for line := range strings.Lines(table) {
			if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| threat ") || strings.HasPrefix(line, "| what was done ") {
				continue
			}
			rows++
			names := namedTest.FindAllStringSubmatch(line, -1)
			if len(names) == 0 {
				t.Errorf("no test holds %s", line)
			}
			for _, n := range names {
				if !there[n[1]] {
					t.Errorf("there is no %s, which is to hold %s", n[1], line)
				}
			}
		}
		if rows < least {
			t.Errorf("%s: only %d are listed", title, rows)
		}
	}
}

var metric = regexp.MustCompile(`\bdtcgate_([a-z_]+?)(?:_bucket|_sum|_count)?\b`)

// What people copy into their alerts must be what a server tells.
func TestDocumentedMetricsAreMeasured(t *testing.T) {
	var code strings.Builder
	for _, name := range []string{"server/metrics.go", "server/metrics_gauges.go"} {
		code.WriteString(readDocument(t, name))
	}
	found := metric.FindAllStringSubmatch(readDocument(t, "docs/operations.md"), -1)
	for _, m := range found {
		if !strings.Contains(code.String(), `"dtcgate_`+m[1]+`"`) && !strings.Contains(code.String(), `desc("`+m[1]+`"`) {
			t.Errorf("docs/operations.md: no server tells %s", m[0])
		}
	}
	if len(found) < 10 {
		t.Errorf("only %d metrics were found: this test looks in the wrong place", len(found))
	}
}

var testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9]+)\(`)
