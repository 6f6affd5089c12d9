package server

import (
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

// describe gives a tool in the form that MCP clients are shown. The hints are all set, because their defaults are the
// worst case, and follow from the risk that the gate judges by; clients that want the facts find them under _meta.
func describe(t *tools.Tool) *mcp.Tool {
	outside := t.Risk.Reach == 1
	destructive := destroys(t)
	return &mcp.Tool{
		Name:         t.Name,
		Title:        t.Title,
		Description:  t.Description,
		InputSchema:  t.Input.JSON, // raw on purpose: the go-sdk writes schemas anew for each list and each modern call
		OutputSchema: t.Output.JSON,
		Annotations: &mcp.ToolAnnotations{
			Title:           t.Title,
			ReadOnlyHint:    !t.Writes(),
			DestructiveHint: &destructive,
			IdempotentHint:  true, // a repeat with the same arguments is answered like the first
			OpenWorldHint:   &outside,
		},
		Meta: mcp.Meta{metaRisk: rated{t.Risk, t.Risk.Level(), t.Risk.Level().Word()}},
	}
}

// destroys reports whether the tool changes what was there before it.
func destroys(t *tools.Tool) bool {
	makes := strings.HasSuffix(t.Resource, ":+")
	return t.Writes() && t.Risk.Blast > 0 && !makes && !t.Brake
}

// rated is a risk vector with what follows from it.
type rated struct {
	tools.Risk
	Level auth.Level `json:"level"`
	Word  string     `json:"word"`
}
