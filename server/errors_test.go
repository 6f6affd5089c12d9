package server

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// codesIn gives the codes that a Go file declares.
func codesIn(t *testing.T, file string) []tools.Code {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []tools.Code
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !isCode(spec.Type) {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, tools.Code(text))
		return false
	})
	return codes
}

func isCode(typ ast.Expr) bool {
	switch x := typ.(type) {
	case *ast.Ident:
		return x.Name == "Code"
	case *ast.SelectorExpr:
		return x.Sel.Name == "Code"
	}
	return false
}

func TestEveryCodeHasItsPlaceOnTheWire(t *testing.T) {
	ofTools := codesIn(t, filepath.Join("..", "tools", "refusal.go"))
	if diff := cmp.Diff(ofTools, tools.Codes); diff != "" {
		t.Errorf("codes that are declared and tools.Codes (-declared +list):\n%s", diff)
	}
	want := append(ofTools, codesIn(t, "errors.go")...)
	got := slices.Sorted(maps.Keys(wires))
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("codes that are declared and codes in the table (-declared +table):\n%s", diff)
	}
	for code, w := range wires {
		if w.http < 400 || http.StatusText(w.http) == "" {
			t.Errorf("%s is answered with the status %d", code, w.http)
		}
	}
}

func TestRefusalInWordsIsWhole(t *testing.T) {
	r := *tools.WrongFields([]schemas.Wrong{{Field: "limit", Problem: "is too large", Expected: "at most 50", Example: 10}, {Field: "x", Problem: "is not known", Expected: "nothing"}})
	r.Errors.Now = map[string]any{"version": 3}
	const want = `Refused (INVALID_ARGUMENTS): 2 arguments are wrong.
- limit is too large; expected: at most 50; example: 10
- x is not known; expected: nothing
Now: {"version":3}
Correct the fields named under errors.fields and call again. Nothing was done.`
	if diff := cmp.Diff(want, asText(r)); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}
