package dtc

import (
	"fmt"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/tools"
)

type batchIn struct {
	Calls []plannedCall `json:"calls"`
	Asked
}

// batchMost is how many calls a batch may hold. It stands in the description and not in the schema, for which every client pays.
const batchMost = 20

type batchOut struct {
	Calls []tools.Made `json:"calls"` // in their order
}

// batchScopes are those of the writes that a batch may hold. Whoever has none of them has nothing to put into one.
var batchScopes = []auth.Scope{
	"catalog:write", "pricing:write", "orders:write", "orders:fulfil", "orders:refund", "customers:write", "marketing:write", "ads:spend",
	"store:write", "store:publish", "support:write", "actions:request",
}

// batch is rated by its calls. How they are judged, and whose consent they take, is decided in package gate.
var batch = tools.Define(tools.Spec{
	Name: "dtc_batch", Path: "self.batch", Title: "Batch",
	Description: "2 to 20 writes, all or none; people are asked once. Leave reason and key out of arguments.",
	AnyScope:    batchScopes, Risk: tools.Risk{Undo: 1, Blast: 1}, Resource: "self",
	Undo: "dtc_undo, call by call, where a call can be undone",
	Example: `{"calls":[{"tool":"dtc_add_order_note","arguments":{"order_no":"70002","text":"Goodwill, see 70003"}},` +
		`{"tool":"dtc_add_order_note","arguments":{"order_no":"70003","text":"Goodwill, see 70002"}}],` +
		`"idempotency_key":"notes-70002","reason":"Both orders came in one parcel"}`,
	Routes: []tools.Route{{Method: "POST", Path: "/batches"}},
}, tools.Func[batchIn, batchOut]{
	Calls: func(in batchIn) ([]tools.Planned, error) {
		if n := len(in.Calls); n < 2 || n > batchMost {
			return nil, tools.Wrong("calls", "are too few or too many", fmt.Sprintf("2 to %d calls", batchMost), nil)
		}
		return planned(in.Calls)
	},
	Preview: func(c *tools.Call, _ batchIn) (tools.Preview, error) {
		return c.Batch.Preview()
	},
	Write: func(c *tools.Call, _ batchIn) (batchOut, error) {
		made, err := c.Batch.Run()
		return batchOut{Calls: made}, err
	},
})
