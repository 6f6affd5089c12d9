package dtc

import (
	"encoding/json"

	"github.com/dtcgate/dtcgate/tools"
)

// Actions are what dtc_request_action can be asked for, one file each. A key holds them by their ids.
func Actions() []*tools.Action {
	return []*tools.Action{actionCloseTicket, actionCreateLabel, actionExportMonth, actionRecallLot, actionRefund, actionSendReply}
}

type requestActionIn struct {
	Action    string                     `json:"action" jsonschema:"maxLength=80,description=provider:name"`
	Target    string                     `json:"target" jsonschema:"maxLength=120,description=type:id\\, such as order:536365"`
	Arguments map[string]json.RawMessage `json:"arguments" jsonschema:"description=The action's own; {} for none"`
	Asked
}

var requestAction = tools.Define(tools.Spec{
	Name: "dtc_request_action", Path: "actions.request_approval", Title: "Request an action",
	Description: "Asks people to let a provider act: answer or close a ticket, refund, buy a label, recall stock, export a month. " +
		"dtc_whoami lists your actions and their arguments. Prefer the tool of that job if you hold it.",
	Scope: "actions:request", Risk: tools.Risk{Undo: 2, Blast: 1, Money: 2, Touch: 1, DataOut: 1, Reach: 1}, Class: tools.ClassContact, AlwaysAsks: true,
	Resource: "/target",
	Undo:     "dtc_undo where the action can be taken back: tickets closed, labels, recalls, exports. Money and messages cannot",
	Example: `{"action":"accounting:export_month","target":"month:2026-10","arguments":{},"idempotency_key":"books-2026-10",` +
		`"reason":"The books of October are due"}`,
	Routes: []tools.Route{{Method: "POST", Path: "/actions"}},
}, tools.ByAction(Actions(), func(in requestActionIn) tools.Wish {
	return tools.Wish{Action: in.Action, Target: in.Target, Reason: in.Reason, Arguments: in.Arguments}
}))
