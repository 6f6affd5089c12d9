package dtc

import "github.com/dtcgate/dtcgate/tools"

type actionRefundIn struct {
	ExpectedVersion int64  `json:"expected_version" jsonschema:"minimum=1,description=version as dtc_get_order gave it"`
	Amount          Amount `json:"amount" jsonschema:"description=What is given back; at most refundable"`
	Cause           string `json:"cause" jsonschema:"enum=damaged,enum=not_received,enum=wrong_item,enum=changed_mind,enum=goodwill,enum=duplicate,enum=fraud"`
}

// actionRefund is dtc_refund_order for keys that may ask for a refund and not make one: the same rules, always with a person.
var actionRefund = tools.DefineAction(tools.ActionSpec{
	Provider: "payments", Like: "dtc_refund_order", Name: "refund", Title: "Refund an order",
	Description: "Gives a customer money back for an order, all or a part, and writes to nobody. It cannot be fetched back. Amounts are in minor units.",
	Risk:        tools.Risk{Undo: 3, Blast: 1, Money: 2, Touch: 1, Reach: 1}, Class: tools.ClassSpend,
	Targets: []tools.Target{{Type: "order", Example: "536365"}},
	Undo:    "None: money given back cannot be fetched. Staff can invoice again", Idempotent: true,
}, tools.Func[actionRefundIn, refundOrderOut]{
	Preview: func(c *tools.Call, in actionRefundIn) (tools.Preview, error) { return previewRefund(c, in.of(c.Wish)) },
	Write:   func(c *tools.Call, in actionRefundIn) (refundOrderOut, error) { return refund(c, in.of(c.Wish)) },
	Facts:   factsOfOrder[actionRefundIn],
})

// of is the refund of the order that a wish names.
func (in actionRefundIn) of(w tools.Wish) refundOrderIn {
	return refundOrderIn{
		OrderNo: w.ID(), ExpectedVersion: in.ExpectedVersion, Amount: in.Amount, Cause: in.Cause, Asked: Asked{Reason: w.Reason},
	}
}
