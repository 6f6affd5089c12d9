package dtc

import (
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

type undoIn struct {
	UndoID string `json:"undo_id" jsonschema:"maxLength=40"`
	Tried
}

// undoScopes are the scopes of the writes that can be taken back. Whoever holds none of them has nothing to undo.
var undoScopes = []auth.Scope{
	"catalog:write", "pricing:write", "orders:write", "orders:fulfil", "customers:write", "marketing:write", "ads:connect", "ads:spend",
	"store:write", "store:publish", "support:write", "actions:request",
}

type undoOut struct {
	UndoID   string    `json:"undo_id"`
	Tool     string    `json:"tool"`
	Resource string    `json:"resource"`
	UndoneAt time.Time `json:"undone_at"`
}

var undo = tools.Define(tools.Spec{
	Name: "dtc_undo", Path: "self.undo", Title: "Undo a write",
	Description: "Takes back one of your writes by its undo_id, within 7 days. Refused when the thing was changed since. Needs its scope.",
	AnyScope:    undoScopes, Risk: tools.Risk{Undo: 1, Blast: 1}, Resource: "effect:/undo_id",
	Undo:    "Make the write again",
	Example: `{"undo_id":"{{undo_id}}"}`,
	Routes:  []tools.Route{{Method: "POST", Path: "/undo/{undo_id}"}},
}, tools.Func[undoIn, undoOut]{Preview: previewUndo, Write: takeBack, Class: classOfUndo, Facts: undoFacts, Ratings: []tools.Rating{
	{Risk: tools.Risk{Undo: 1, Blast: 1}, Class: tools.ClassDestructive, Asks: true},
}})

// classOfUndo names the consent that bringing back needs, of what a person had agreed to do away with.
func classOfUndo(_ undoIn, p tools.Preview) tools.Class {
	if p.Asks {
		return tools.ClassDestructive
	}
	return tools.ClassNone
}

// previewUndo shows the changes of the write the other way round.
func previewUndo(c *tools.Call, in undoIn) (tools.Preview, error) {
	e, err := c.Undos.Effect(c.Tx, c.Principal, in.UndoID)
	if err != nil {
		return tools.Preview{}, err
	}
	if e.State == tools.EffectUndone {
		return tools.Preview{Summary: fmt.Sprintf("Leave it: %s was undone at %s", e.Tool, e.UndoneAt.Format(time.RFC3339))}, nil
	}
	p := tools.Preview{Summary: "Undo: " + e.Summary, Changes: make([]tools.Change, len(e.Changes)), Asks: e.Asks}
	for i, ch := range e.Changes {
		ch.From, ch.To = ch.To, ch.From
		p.Changes[i] = ch
	}
	return p, nil
}

func takeBack(c *tools.Call, in undoIn) (undoOut, error) {
	e, err := c.Undos.Undo(c.Tx, c.Principal, in.UndoID)
	return undoOut{UndoID: e.UndoID, Tool: e.Tool, Resource: e.Resource, UndoneAt: e.UndoneAt}, err
}
