package server

import (
	"encoding/json"
	"fmt"
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
		OutputSchema: orRefused(t.Output.JSON),
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

// orRefused lets a refusal fit the schema of a tool's answers: the TypeScript client 1.x holds results with isError to it
// too, and throws. It panics on a schema that is no object, when the server starts.
func orRefused(answer json.RawMessage) json.RawMessage {
	type need struct {
		Required json.RawMessage `json:"required"`
	}
	var schema map[string]json.RawMessage
	var either []need
	if err := json.Unmarshal(answer, &schema); err != nil {
		panic(fmt.Sprintf("the output schema %s: %v", answer, err))
	}
	if all, ok := schema["required"]; ok {
		either = []need{{all}}
		delete(schema, "required")
	} else if json.Unmarshal(schema["anyOf"], &either) != nil {
		return answer // nothing is required
	}
	schema["anyOf"] = mustMarshal(append(either, need{json.RawMessage(`["error_code"]`)}))
	return mustMarshal(schema)
}

func mustMarshal(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
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
