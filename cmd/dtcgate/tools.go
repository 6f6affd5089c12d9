package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

type toolCmds struct {
	List   toolList   `cmd:"" help:"List the tools."`
	Schema toolSchema `cmd:"" help:"Print a tool's schemas."`

	Actions toolActions `cmd:"" help:"List the actions that dtc_request_action can be asked for."`
}

type toolList struct{ asJSON }

// A listed tool is what an operator wants to know to mint a key.
type listed struct {
	Name             string      `json:"name"`
	Title            string      `json:"title"`
	Scope            auth.Scope  `json:"scope"`
	Level            auth.Level  `json:"level"`
	Risk             string      `json:"risk"`
	Vector           tools.Risk  `json:"risk_vector"`
	Class            tools.Class `json:"approval_class"`
	Undo             string      `json:"undo"`
	InputSchemaHash  string      `json:"input_schema_sha256"`
	OutputSchemaHash string      `json:"output_schema_sha256"`
}

func (c *toolList) Run(a *app) error {
	all := []listed{}
	for _, t := range registry.All() {
		level := t.Risk.Level()
		all = append(all, listed{
			t.Name, t.Title, t.Scope, level, level.Word(), t.Risk, t.Class, t.Undo, t.Input.Hash, t.Output.Hash,
		})
	}
	return c.print(a, all, func(w io.Writer) {
		rows := [][]string{}
		for _, t := range all {
			rows = append(rows, []string{t.Name, string(t.Scope), fmt.Sprintf("%s %s", t.Level, t.Risk), string(t.Class), t.Title})
		}
		table(w, []string{"NAME", "SCOPE", "RISK", "APPROVAL", "TITLE"}, rows)
	})
}

type toolActions struct{ asJSON }

// An offered action is what an operator wants to know to grant it to a key.
type offered struct {
	ID          string          `json:"id"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Level       auth.Level      `json:"level"`
	Vector      tools.Risk      `json:"risk_vector"`
	Class       tools.Class     `json:"approval_class"`
	Targets     []string        `json:"targets"` // examples
	Undo        string          `json:"undo"`
	Idempotent  bool            `json:"idempotent"`
	Arguments   json.RawMessage `json:"arguments_schema"`
}

func (c *toolActions) Run(a *app) error {
	all := []offered{}
	for _, x := range registry.Actions() {
		o := offered{
			ID: x.ID(), Title: x.Title, Description: x.Description, Level: x.Risk.Level(), Vector: x.Risk, Class: x.Class, Undo: x.Undo,
			Idempotent: x.Idempotent, Arguments: x.Input.JSON,
		}
		for _, t := range x.Targets {
			o.Targets = append(o.Targets, t.String())
		}
		all = append(all, o)
	}
	return c.print(a, all, func(w io.Writer) {
		rows := [][]string{}
		for _, o := range all {
			rows = append(rows, []string{o.ID, fmt.Sprintf("%s %s", o.Level, o.Level.Word()), string(o.Class), strings.Join(o.Targets, ", "), o.Title})
		}
		table(w, []string{"ACTION", "RISK", "APPROVAL", "ABOUT, SUCH AS", "TITLE"}, rows)
	})
}

type toolSchema struct {
	Name string `arg:"" help:"The tool's name, such as dtc_get_order."`
}

func (c *toolSchema) Run(a *app) error {
	t, ok := registry.Find(c.Name)
	if !ok {
		return fmt.Errorf("there is no tool %q: `dtcgate tools list` shows them", c.Name)
	}
	return writeJSON(a.out, struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Input       json.RawMessage `json:"input_schema"`
		Output      json.RawMessage `json:"output_schema"`
	}{t.Name, t.Description, t.Input.JSON, t.Output.JSON})
}
