package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/dtcgate/dtcgate/"

// layers is the order of the rooms: each may import only what stands above it, and leaves import no room at all.
var layers = []struct {
	room string
	leaf bool
	why  string
}{
	{"schemas", true, "JSON and its schemas mean the same everywhere; they know nothing of this project"},
	{"store/spans", true, "what may be told of a call to a collector of traces; it knows nothing of this project"},
	{"store/spans/otlp", true, "how spans are sent"},
	{"store", false, "the database knows no table: packages own their SQL"},
	{"store/storetest", false, "databases for tests"},
	{"store/lease", false, "who of several processes does a thing; it knows no thing"},
	{"store/storetest/postgres", false, "one PostgreSQL for all test processes"},
	{"auth/secret", true, "what a secret of ours looks like: whoever keeps a text must know one"},
	{"auth/authtest", true, "a token service for tests"},
	{"auth", false, "who calls must be known before anything is decided"},
	{"audit", false, "everything below writes to the record, and it outlives all of it"},
	{"audit/backup", false, "copies the database with the record's head in it; what the rows mean is for those below"},
	{"auth/vault", false, "what people granted at outside systems; after audit, because its timer records what fails with nobody calling"},
	{"shop", false, "the backend does what it is asked; it knows neither agents nor tools"},
	{"tools", false, "what a tool is; it knows neither MCP nor HTTP"},
	{"tools/dtc", false, "the catalogue; tools hold no authorization code"},
	{"approvals/plain", true, "how untrusted text is shown; it knows text alone"},
	{"approvals/claims", false, "an agent's reason against the record; it reads nothing and decides nothing"},
	{"tools/outsidetest", false, "an outside system for tests"},
	{"approvals", false, "what waits, whoever may decide"},
	{"approvals/notify", false, "tells outside services what happens to it; it decides nothing"},
	{"audit/witness", false, "takes checkpoints out of the house; it changes none of the record"},
	{"audit/export", false, "copies the record to systems outside; it changes none of it"},
	{"audit/retention", false, "lets the record's old end go, when it was copied and nothing open is about it"},
	{"gate/policy/strict", false, "how people's YAML is read; it knows nothing of what it reads"},
	{"gate/policy/condition", false, "a pure question to Cedar about one call; it reads no row and knows no document"},
	{"gate/budget", false, "counts what calls use up together, whatever the policy says they may"},
	{"gate/trust", false, "how much an agent is trusted; it knows no policy but its own rules"},
	{"gate/policy", false, "what operators say about their agents, as one pure decision"},
	{"gate/policy/policytest", false, "a policy for tests of something else"},
	{"gate/rehearsal", false, "asks a draft about recorded calls; who has the record hands it over"},
	{"gate", false, "judges with all of the above; no transport"},
	{"server", false, "translates between the wire and the gate, decides nothing"},
	{"cmd/docs", false, "tells what the tools are, by running them"},
	{"cmd/dtcgate", false, "puts it together"},
	{"cmd/bench", false, "measures it from outside"},
}

// banned are imports that a room must do without although the layers would allow them, and what stands below them with them.
var banned = []struct{ room, path, why string }{
	{"audit", module + "auth", "the record knows actors only as strings, so that what is on record outlives what they were; of auth it may know " +
		"only auth/secret, by which it cuts secrets out of what it keeps"},
	{"shop", module + "auth", "the backend does not know who calls"},
	{"tools", "net/http", "a tool means the same on every transport"},
	{"tools/dtc", "net/http", "a tool means the same on every transport"},
	{"approvals", "net/http", "what waits does not know how it came"},
	{"gate", "net/http", "one decision for all transports"},
	{"tools", "github.com/modelcontextprotocol", "a tool means the same on every transport"},
	{"tools/dtc", "github.com/modelcontextprotocol", "a tool means the same on every transport"},
	{"gate", "github.com/modelcontextprotocol", "one decision for all transports"},
	{"server", "database/sql", "the wire decides nothing, so it reads nothing"},
}

// excepted are the rooms below a banned one that are not banned with it: importer and imported.
var excepted = [][2]string{{"audit", module + "auth/secret"}}

// pkg is what `go list` tells of a package.
type pkg struct {
	ImportPath, Dir, Export, Doc string
	GoFiles, Imports             []string
	Standard                     bool

	files []*ast.File
}

func (p *pkg) room() string { return strings.TrimPrefix(p.ImportPath, module) }

// project lists every package of the module with its syntax, and the compiled form of all it depends on.
var project = sync.OnceValues(func() (found tree, err error) {
	list := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,Doc,GoFiles,Imports,Standard", "./...")
	list.Dir = filepath.Join("..", "..")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return found, fmt.Errorf("go list: %w", err)
	}
	found.exports, found.fset = map[string]string{}, token.NewFileSet()
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return found, err
		}
		found.exports[p.ImportPath] = p.Export
		if !strings.HasPrefix(p.ImportPath+"/", module) {
			continue
		}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(found.fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				return found, err
			}
			p.files = append(p.files, f)
		}
		found.packages = append(found.packages, &p)
	}
})

type tree struct {
	fset     *token.FileSet
	packages []*pkg
	exports  map[string]string // compiled packages, by import path
}

func load(t *testing.T) tree {
	t.Helper()
	p, err := project()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func rank(room string) int {
	for i, l := range layers {
		if l.room == room {
			return i
		}
	}
	return -1
}

func TestRoomsImportOnlyWhatStandsAboveThem(t *testing.T) {
	for _, p := range load(t).packages {
		at := rank(p.room())
		if at < 0 {
			t.Errorf("%s has no place in layers: give it one, with the reason", p.room())
			continue
		}
		for _, path := range p.Imports {
			room, ours := strings.CutPrefix(path, module)
			if ours && (rank(room) >= at || layers[at].leaf) {
				t.Errorf("%s imports %s. %s: %s", p.room(), room, p.room(), layers[at].why)
			}
			for _, b := range banned {
				below := strings.HasPrefix(path, b.path+"/") && !slices.Contains(excepted, [2]string{p.room(), path})
				if b.room == p.room() && (path == b.path || below) {
					t.Errorf("%s imports %s: %s", p.room(), path, b.why)
				}
			}
		}
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	forbidden := []string{"internal", "pkg", "models", "utils", "util", "helpers", "common", "config", "mocks", "middleware", "handlers", "types"}
	for _, p := range load(t).packages {
		if len(p.Doc) < 20 {
			t.Errorf("%s has no package comment", p.room())
		}
		for part := range strings.SplitSeq(p.room(), "/") {
			if slices.Contains(forbidden, part) {
				t.Errorf("%s: a package named %s says nothing", p.room(), part)
			}
		}
	}
}

// Bounds that were read off projects which read well.
const (
	medianLines      = 12
	maxLines         = 100
	maxMethods       = 5
	maxLinesOfAFile  = 500
	unlikelyTypeName = `(Manager|Helpers?|Utils?|Service|Factory|Wrapper)$`
)

func TestFunctionsAreShort(t *testing.T) {
	p := load(t)
	var lengths []int
	for _, pk := range p.packages {
		for _, f := range pk.files {
			if n := p.fset.File(f.Pos()).LineCount(); n > maxLinesOfAFile {
				t.Errorf("%s has %d lines", p.fset.File(f.Pos()).Name(), n)
			}
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				n := p.fset.Position(fn.End()).Line - p.fset.Position(fn.Pos()).Line + 1
				lengths = append(lengths, n)
				if n > maxLines {
					t.Errorf("%s: %s has %d lines", p.fset.Position(fn.Pos()), fn.Name.Name, n)
				}
			}
		}
	}
	slices.Sort(lengths)
	median, p90 := lengths[len(lengths)/2], lengths[len(lengths)*9/10]
	t.Logf("%d functions: median %d lines, p90 %d, longest %d", len(lengths), median, p90, lengths[len(lengths)-1])
	if median > medianLines {
		t.Errorf("half of the functions have more than %d lines", median)
	}
}

func TestTypesAreSmallAndNamedForAThing(t *testing.T) {
	p := load(t)
	unlikely := regexp.MustCompile(unlikelyTypeName)
	for _, pk := range p.packages {
		for _, f := range pk.files {
			ast.Inspect(f, func(n ast.Node) bool {
				s, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				if unlikely.MatchString(s.Name.Name) {
					t.Errorf("%s: %s is not the name of a thing", p.fset.Position(s.Pos()), s.Name.Name)
				}
				if i, ok := s.Type.(*ast.InterfaceType); ok && i.Methods.NumFields() > maxMethods {
					t.Errorf("%s: %s has %d methods", p.fset.Position(s.Pos()), s.Name.Name, i.Methods.NumFields())
				}
				return true
			})
		}
	}
}

// Promise 6 of the gate: a new tool cannot forget a check, because its code cannot be reached around them.
func TestOnlyTheGateTakesAToolsHandler(t *testing.T) {
	p := load(t)
	taken := map[string]bool{}
	conf := types.Config{Importer: importer.ForCompiler(p.fset, "gc", p.compiled)}
	for _, pk := range p.packages {
		info := &types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
		if _, err := conf.Check(pk.ImportPath, p.fset, pk.files, info); err != nil {
			t.Fatal(err)
		}
		for at, s := range info.Selections {
			if f, ok := s.Obj().(*types.Func); ok && f.FullName() == "(*"+module+"tools.Tool).Handler" {
				taken[pk.room()] = true
				if pk.room() != "gate" {
					t.Errorf("%s takes a tool's handler", p.fset.Position(at.Pos()))
				}
			}
		}
	}
	if !taken["gate"] {
		t.Error("the gate takes no handler: this test looks for the wrong method")
	}
}

func (p tree) compiled(path string) (io.ReadCloser, error) {
	if p.exports[path] == "" {
		return nil, fmt.Errorf("no compiled form of %s", path)
	}
	return os.Open(p.exports[path])
}
