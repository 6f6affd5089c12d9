package server

import (
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/dtcgate/dtcgate/tools"
)

// describe gives a tool in the form that MCP clients are shown. The hints are all set, because their defaults are the
// worst case, and follow from the risk that the gate judges by; clients that want the facts find them under _meta. Of the
// answer only the outline is told: every client pays for the list, and the TypeScript client 1.x throws when a refusal does not fit.
func describe(t *tools.Tool) *mcp.Tool {
	outside := t.Risk.Reach == 1
	destructive := destroys(t)
	return &mcp.Tool{
		Name:         t.Name,
		Title:        t.Title,
		Description:  t.Description,
		InputSchema:  t.Input.JSON, // raw on purpose: the go-sdk writes schemas anew for each list and each modern call
		OutputSchema: t.Output.Outline(),
		Annotations: &mcp.ToolAnnotations{
			ReadOnlyHint:    !t.Writes(),
			DestructiveHint: &destructive,
			IdempotentHint:  !t.Writes() || t.Brake || t.Class != tools.ClassNone, // a write with a class needs a key: a repeat is answered like the first
			OpenWorldHint:   &outside,
		},
		Meta: mcp.Meta{metaRisk: rate(t.Risk)},
	}
}

// destroys reports whether the tool changes what was there before it.
func destroys(t *tools.Tool) bool {
	makes := strings.HasSuffix(t.Resource, ":+")
	return t.Writes() && t.Risk.Blast > 0 && !makes && !t.Brake
}

// rate is a risk vector with what follows from it. Parts that are 0 are left out.
func rate(r tools.Risk) map[string]any {
	rated := map[string]any{"level": r.Level()}
	for part, n := range map[string]int{
		"undo": r.Undo, "blast": r.Blast, "money": r.Money, "touch": r.Touch, "data_out": r.DataOut, "reach": r.Reach,
	} {
		if n > 0 {
			rated[part] = n
		}
	}
	if r.Taint {
		rated["taint"] = true
	}
	return rated
}
