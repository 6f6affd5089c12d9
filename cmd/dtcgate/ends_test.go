package main

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// forTests are rooms that no server runs.
var forTests = []string{"cmd/bench", "cmd/docs", "cmd/conformance", "store/storetest", "store/storetest/postgres", "tools/outsidetest", "auth/authtest"}

// endings says of every function that begins a goroutine how that one ends. WaitGroup.Go is not among them: somebody waits for what it begins.
var endings = map[string]string{
	"store.close":      "within endWithin, and DB.Close waits for it: it ends a snapshot and gives the connection back to the pool",
	"server.Serve":     "with Shutdown or Close, of which one is always called",
	"gate.join":        "when its last listener leaves: follow.stop",
	"gate.StartReplay": "after replayTime; its row says then that it is taken for dead",
	"cmd/dtcgate.run":  "with stopAudit, and run waits for what it says",
}

// TestEveryGoroutineHasAnEnd holds the list to the code: what begins a goroutine stands in it with the reason why it ends.
func TestEveryGoroutineHasAnEnd(t *testing.T) {
	begun := map[string]bool{}
	eachFunction(t, func(name string, fn *ast.FuncDecl) {
		ast.Inspect(fn, func(n ast.Node) bool {
			if _, ok := n.(*ast.GoStmt); ok {
				begun[name] = true
				if endings[name] == "" {
					t.Errorf("%s begins a goroutine: say in endings how it ends, or let a WaitGroup begin it and wait", name)
				}
			}
			return true
		})
	})
	for name := range endings {
		if !begun[name] {
			t.Errorf("%s begins no goroutine any more", name)
		}
	}
}

// TestEveryOutgoingClientHasLimits wants of every client a time for the whole exchange, and of every transport that it keeps a known number of
// idle connections for a known time, or none.
func TestEveryOutgoingClientHasLimits(t *testing.T) {
	clients := 0
	eachFunction(t, func(name string, fn *ast.FuncDecl) {
		ast.Inspect(fn, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if of(n, "http", "DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm") {
					t.Errorf("%s: http.%s has no limits", name, n.Sel.Name)
				}
			case *ast.CompositeLit:
				s, _ := n.Type.(*ast.SelectorExpr)
				if of(s, "http", "Client") {
					clients++
					wants(t, name, n, "Timeout", "Transport")
				}
				if of(s, "http", "Transport") && !has(n, "DisableKeepAlives") {
					wants(t, name, n, "MaxIdleConnsPerHost", "IdleConnTimeout")
				}
			}
			return true
		})
	})
	if clients < 3 {
		t.Errorf("only %d clients were found: this test looks in the wrong place", clients)
	}
}

// TestNoServerPlantsFaults: package store has its faults where tests of other packages reach them, and nothing else may.
func TestNoServerPlantsFaults(t *testing.T) {
	eachFunction(t, func(name string, fn *ast.FuncDecl) {
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && id.Name == "Faulty" {
				t.Errorf("%s lets a database fail", name)
			}
			return true
		})
	})
}

// eachFunction gives every function that a server may run, by its room and name.
func eachFunction(t *testing.T, fn func(name string, f *ast.FuncDecl)) {
	t.Helper()
	for _, p := range load(t).packages {
		if slices.Contains(forTests, p.room()) {
			continue
		}
		for _, file := range p.files {
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
					fn(p.room()+"."+f.Name.Name, f)
				}
			}
		}
	}
}

func of(s *ast.SelectorExpr, pkg string, names ...string) bool {
	if s == nil {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg && slices.Contains(names, s.Sel.Name)
}

func has(lit *ast.CompositeLit, field string) bool {
	return slices.ContainsFunc(lit.Elts, func(e ast.Expr) bool {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			return false
		}
		key, ok := kv.Key.(*ast.Ident)
		return ok && key.Name == field
	})
}

func wants(t *testing.T, name string, lit *ast.CompositeLit, fields ...string) {
	t.Helper()
	var lacks []string
	for _, f := range fields {
		if !has(lit, f) {
			lacks = append(lacks, f)
		}
	}
	if len(lacks) > 0 {
		t.Errorf("%s: a client or transport lacks %s", name, strings.Join(lacks, ", "))
	}
}
