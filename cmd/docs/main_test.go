package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

const goldens = "../../schemas"

func TestThePageIsAsItWouldBeWritten(t *testing.T) {
	written, err := os.ReadFile("../../docs/tools.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := page(t.Context(), storetest.New(t, "sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(written), text); diff != "" {
		t.Errorf("docs/tools.md is not what the tools are; run `make docs` (-page +tools):\n%s", diff)
	}
}

// TestEveryTool walks the registry: every tool is described whole, and its example fits its schema and runs on both databases.
func TestEveryTool(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d, err := newDemo(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		for _, tool := range d.registry.All() {
			t.Run(tool.Name, func(t *testing.T) {
				if _, err := os.Stat(filepath.Join(goldens, tool.Name+".json")); err != nil {
					t.Error(err)
				}
				if len(tool.Routes) == 0 || tool.Undo == "" {
					t.Error("it has no route, or says nothing about undo")
				}
				runs(t, d, tool)
			})
		}
	})
}

func runs(t *testing.T, d *demo, tool *tools.Tool) {
	args, err := d.filled(t.Context(), tool.Example)
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := schemas.Canonical([]byte(args))
	if err != nil {
		t.Fatalf("the example %s: %v", args, err)
	}
	if wrong := tool.Input.Check(canonical); len(wrong) > 0 {
		t.Fatalf("the example %s does not fit its schema: %+v", args, wrong)
	}
	if tool.Writes() && !tool.Brake {
		rehearse(t, d, tool, args)
	}
	e, err := d.example(t.Context(), tool)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := schemas.Canonical(e.Answer.Body); err != nil || len(tool.Output.Check(body)) > 0 {
		t.Errorf("the answer %s: %v, %+v", e.Answer.Body, err, tool.Output.Check(body))
	}
	if !tool.Writes() {
		return
	}
	r, err := e.Answer.result()
	if err != nil {
		t.Fatal(err)
	}
	if reversible := tool.Handler().Restore != nil; reversible != (r.UndoID != "") {
		t.Errorf("it can be undone: %v; the answer offers %q", reversible, r.UndoID)
	}
}

// rehearse holds a write to telling what it would do and doing nothing.
func rehearse(t *testing.T, d *demo, tool *tools.Tool, args string) {
	var members map[string]any
	if err := json.Unmarshal([]byte(args), &members); err != nil {
		t.Fatal(err)
	}
	members["dry_run"] = true
	raw, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	var changed []string
	ctx := watchChanges(t.Context(), &changed)
	a, err := d.call(ctx, d.free, tool.Name, string(raw))
	if err != nil {
		t.Fatalf("a dry run: %v", err)
	}
	if len(changed) > 0 {
		t.Errorf("a dry run does more than read and record: %q", changed)
	}
	if r, err := a.result(); err != nil || r.Status != tools.DryRun || r.Preview == nil || r.Preview.Summary == "" {
		t.Errorf("a dry run answers %s", a.Body)
	}
}

// watchChanges gives a context under which every statement that changes anything but the record is noted.
func watchChanges(ctx context.Context, changes *[]string) context.Context {
	return store.Watch(ctx, func(q string, _ []any) {
		if verb := strings.ToUpper(strings.Fields(q)[0]); verb != "SELECT" && verb != "WITH" && !strings.Contains(q, " audit_") {
			*changes = append(*changes, q)
		}
	})
}
