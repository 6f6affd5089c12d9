package server

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// The tools here have what is awkward on the wire: arguments of every type, a read that never settles, a panic. The
// stories in testdata use the real catalogue.

type searchIn struct {
	Text  string    `json:"text,omitempty" jsonschema:"maxLength=100,description=What to look for"`
	Limit int       `json:"limit,omitempty" jsonschema:"minimum=1,maximum=50,description=How many"`
	Most  float64   `json:"most,omitempty" jsonschema:"description=The largest amount"`
	Deep  bool      `json:"deep,omitempty" jsonschema:"description=Look everywhere"`
	Tags  []string  `json:"tags,omitempty" jsonschema:"description=Any of these"`
	Where *whereArg `json:"where,omitempty" jsonschema:"description=Only these"`
}

type whereArg struct {
	Min int `json:"min,omitempty" jsonschema:"description=At least"`
}

type noteIn struct {
	NoteID string `json:"note_id" jsonschema:"description=Which note"`
}

type note struct {
	NoteID string `json:"note_id"`
	Text   string `json:"text"`
}

type notes struct {
	Notes []note `json:"notes"`
}

type writeIn struct {
	Text           string `json:"text" jsonschema:"maxLength=100,description=What to write"`
	IdempotencyKey string `json:"idempotency_key,omitempty" jsonschema:"description=The same for a repeat"`
	DryRun         bool   `json:"dry_run,omitempty" jsonschema:"description=Only rehearse"`
}

type sendIn struct {
	NoteID         string `json:"note_id" jsonschema:"description=Which note"`
	Expected       int    `json:"expected_version" jsonschema:"description=What was seen"`
	Reason         string `json:"reason" jsonschema:"minLength=3,description=Why"`
	IdempotencyKey string `json:"idempotency_key" jsonschema:"description=The same for a repeat"`
	DryRun         bool   `json:"dry_run,omitempty" jsonschema:"description=Only rehearse"`
}

// waiting names the notes that somebody waits for.
var waiting = make(chan string, 16)

const about = "A tool of the tests of package server; it is described at the length that the rules ask for."

var fakes = tools.NewRegistry(
	tools.Define(tools.Spec{
		Name: "notes_search", Path: "notes.search", Title: "Search notes", Description: about, Scope: "orders:read",
		Risk: tools.Risk{DataOut: 1}, Resource: "note:*", Undo: "Nothing to undo", Routes: []tools.Route{{Method: "GET", Path: "/notes"}},
	}, tools.Func[searchIn, searchIn]{Read: func(_ *tools.Call, in searchIn) (searchIn, error) { return in, nil }}),

	tools.Define(tools.Spec{
		Name: "notes_get", Path: "notes.get", Aliases: []string{"note"}, Title: "Get a note", Description: about, Scope: "orders:read",
		Risk: tools.Risk{DataOut: 1}, Resource: "note:/note_id", Undo: "Nothing to undo",
		Routes: []tools.Route{{Method: "GET", Path: "/notes/{note_id}", Only: "notes"}},
	}, tools.Func[noteIn, notes]{Read: func(_ *tools.Call, in noteIn) (notes, error) {
		switch in.NoteID {
		case "panic":
			panic("a note that cannot be read")
		case "broken":
			return notes{}, fmt.Errorf("opening /secret/path: %w", store.ErrUnavailable)
		case "odd":
			return notes{}, fmt.Errorf("SELECT secret FROM notes")
		case "none":
			return notes{Notes: []note{}}, nil
		}
		if strings.HasPrefix(in.NoteID, "later") {
			select {
			case waiting <- in.NoteID:
			default:
			}
			return notes{Notes: []note{{in.NoteID, "not yet"}}}, tools.ErrNotYet
		}
		return notes{Notes: []note{{in.NoteID, "text <of> it"}}}, nil
	}}),

	tools.Define(tools.Spec{
		Name: "notes_write", Path: "notes.write", Title: "Write a note", Description: about, Scope: "orders:write",
		Risk: tools.Risk{Undo: 1}, Resource: "note:+", Undo: "Tear it up",
		Routes: []tools.Route{{Method: "POST", Path: "/notes", Status: 201, Accept: func(body map[string]json.RawMessage) {
			if words, ok := body["words"]; ok {
				body["text"] = words
				delete(body, "words")
			}
		}}},
	}, tools.Func[writeIn, note]{
		Preview: func(*tools.Call, writeIn) (tools.Preview, error) { return tools.Preview{Summary: "Write a note."}, nil },
		Write:   func(c *tools.Call, in writeIn) (note, error) { return note{store.NewID("not", c.Now), in.Text}, nil },
	}),

	tools.Define(tools.Spec{
		Name: "notes_send", Path: "notes.send", Title: "Send a note", Description: about, Scope: "marketing:send", Class: tools.ClassContact,
		Risk: tools.Risk{Undo: 3, Blast: 1, Touch: 1, Reach: 1}, Resource: "note:/note_id", Undo: "None",
		Routes: []tools.Route{{Method: "POST", Path: "/notes/{note_id}/send", FillFacts: true}},
	}, tools.Func[sendIn, note]{
		Preview: func(_ *tools.Call, in sendIn) (tools.Preview, error) {
			if in.Expected != 1 {
				return tools.Preview{}, tools.Stale("The note has changed.", map[string]any{"expected_version": 1})
			}
			return tools.Preview{Summary: "Send a note.", Customers: 1}, nil
		},
		Write: func(_ *tools.Call, in sendIn) (note, error) { return note{in.NoteID, "sent"}, nil },
		Fill: func(_ *tools.Call, in *sendIn) error {
			if in.Expected == 0 {
				in.Expected = 1
			}
			return nil
		},
	}),
)
