//go:build conformance

package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// registry is the suite's tools, and of ours those that tasks are made of.
var registry = tools.NewRegistry(append(fixtures, slices.DeleteFunc(dtc.Tools(), func(t *tools.Tool) bool {
	return t.Name != "dtc_get_job" && t.Name != "dtc_cancel_job"
})...)...)

// fixtures are named and behave as the scenarios say.
var fixtures = []*tools.Tool{
	tools.Define(greet(), tools.Func[greetIn, greetOut]{
		Read: func(_ *tools.Call, in greetIn) (greetOut, error) { return greetOut{"Hello, " + in.Name + "!"}, nil },
	}),
	later("slow_compute", func(in slowIn) time.Duration { return time.Duration(in.Seconds) * time.Second }, func(in slowIn) (string, error) {
		return "computed " + in.Label, nil
	}),
	later("failing_job", at[nothing](time.Second), func(nothing) (string, error) {
		return "", tools.Refuse(tools.Conflict, "Nothing.", "This job always fails.")
	}),
	later("protocol_error_job", at[nothing](time.Second), func(nothing) (string, error) {
		return "", tools.Refuse(tools.UnknownTool, "Nothing.", "This job ends with what a call is answered as a JSON-RPC error.")
	}),
	later("confirm_delete", at[fileIn](untilAnswered), func(in fileIn) (string, error) { return "deleted " + in.Filename, nil }),
	later("multi_input", at[nothing](untilAnswered), func(nothing) (string, error) { return "both came", nil }),
	later("test_tool_with_task", at[userIn](0), func(in userIn) (string, error) { return "Hello, " + in.UserName, nil }),
}

// untilAnswered is when a job runs that waits for its client: the front lets it run at once when all answers are there.
const untilAnswered = time.Hour

type greetIn struct {
	Name string `json:"name" jsonschema:"maxLength=100,description=Whom to greet"`
}

type greetOut struct {
	Greeting string `json:"greeting"`
}

type slowIn struct {
	Seconds int    `json:"seconds,omitempty" jsonschema:"minimum=0,maximum=600,description=How long it takes"`
	Label   string `json:"label,omitempty" jsonschema:"maxLength=100,description=What to call it"`
	write
}

type fileIn struct {
	Filename string `json:"filename" jsonschema:"maxLength=100,description=Which file"`
	write
}

type userIn struct {
	UserName string `json:"user_name,omitempty" jsonschema:"maxLength=100,description=What the client answered"`
	write
}

type nothing struct{ write }

// write has what every write takes.
type write struct {
	IdempotencyKey string `json:"idempotency_key,omitempty" jsonschema:"description=The same for a repeat"`
	DryRun         bool   `json:"dry_run,omitempty" jsonschema:"description=Only rehearse"`
}

type laterOut struct {
	Text string `json:"text"`
}

func spec(name string, risk tools.Risk) tools.Spec {
	return tools.Spec{
		Name: name, Path: "conformance." + name, Title: name, Risk: risk, Resource: "fixture:*", Undo: "Nothing to undo",
		Routes:      []tools.Route{{Method: "POST", Path: "/conformance/" + name}},
		Description: "A tool that the official MCP conformance suite asks for; it has no effect on anything.",
	}
}

// greet is reached under a name of one word, which our tools have not.
func greet() tools.Spec {
	s := spec("greet_somebody", tools.Risk{})
	s.Aliases = []string{"greet"}
	return s
}

func at[In any](d time.Duration) func(In) time.Duration {
	return func(In) time.Duration { return d }
}

// later is a tool whose calls are jobs that run after a while. What they will say stands in their summary, as a result is told.
func later[In any](name string, after func(In) time.Duration, say func(In) (string, error)) *tools.Tool {
	return tools.Define(spec(name, tools.Risk{Undo: 1}), tools.Func[In, laterOut]{
		Preview: func(c *tools.Call, in In) (tools.Preview, error) {
			said, err := say(in)
			if err != nil {
				said = fmt.Sprintf("%s, which fails", name)
			}
			return tools.Preview{Summary: said, RunAt: c.Now.Add(after(in))}, nil
		},
		Step: func(_ *tools.Call, in In, p *tools.Progress) (laterOut, error) {
			said, err := say(in)
			p.Done = true
			return laterOut{said}, err
		},
	})
}
