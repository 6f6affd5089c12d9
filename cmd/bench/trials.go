package main

import "cmp"

// A trial is a kind of call that is timed.
type trial struct{ tool, args, way string }

// The ways in which calls are made, as the table names them.
const (
	reads    = "read"
	rehearse = "dry_run"
	undone   = "done, then undone"       // the undo is not timed
	again    = "done, again and again"   // it cannot be taken back, and may be repeated
	parked   = "parked"                  // asked for; nobody decides
	fresh    = "done, on a fresh object" // which is made before, untimed
)

// ways are how the writes are made that cannot be undone.
var ways = map[string]string{
	"dtc_refund_order": again, "dtc_handle_privacy_request": again, "dtc_pause": again, "dtc_request_action": parked, "dtc_connect_ad_account": parked,
	"dtc_undo": fresh, "dtc_cancel_job": fresh,
	"dtc_send_campaign": rehearse, "dtc_cancel_order": rehearse, "dtc_launch_ad_campaign": rehearse, // for real they use the merchant up
}

// more are reads beside the tools' examples: every grouping, sort and filter, and the most frequent words there are.
var more = map[string][]string{
	"dtc_search_products": {
		`{}`, `{"query":"set"}`, `{"query":"pink"}`, `{"query":"ca"}`, `{"query":"2"}`, `{"query":"set","sort":"best_selling"}`, `{"category":"home-decor"}`,
		`{"category":"christmas","sort":"price_low"}`, `{"stock":"low","sort":"best_selling"}`, `{"stock":"out"}`, `{"stock":"in_stock","sort":"price_high"}`,
		`{"sort":"best_selling"}`, `{"sort":"price_high"}`, `{"sort":"title","limit":50,"detail":"full"}`,
	},
	"dtc_search_orders": {
		`{}`, `{"limit":50}`, `{"sort":"oldest"}`, `{"sort":"largest"}`, `{"status":"open"}`, `{"status":"fulfilled"}`, `{"status":"part_refunded","sort":"largest"}`,
		`{"country":"United Kingdom"}`, `{"country":"Germany","sort":"largest"}`, `{"min_total":{"amount_minor":100,"currency":"GBP"}}`,
		`{"min_total":{"amount_minor":100000,"currency":"GBP"},"sort":"largest"}`, `{"from":"2026-03-01","to":"2026-04-01"}`, `{"from":"2026-01-01","to":"2026-11-20","sort":"largest"}`,
		`{"from":"2026-01-01","status":"fulfilled","country":"United Kingdom"}`,
		`{"query":"set"}`, `{"query":"pink"}`, `{"query":"ca"}`, `{"query":"pa"}`, `{"query":"ch","sort":"largest"}`, `{"query":"pink set"}`, `{"query":"set","status":"open"}`,
		`{"query":"set","country":"Germany"}`, `{"query":"set","from":"2026-10-01"}`, `{"query":"{{sku}}"}`, `{"query":"{{customer_no}}"}`, `{"query":"{{order_no}}"}`,
	},
	"dtc_search_customers": {
		`{}`, `{"sort":"most_spent"}`, `{"sort":"most_orders"}`, `{"sort":"last_order"}`, `{"query":"1"}`, `{"where":{"country":"United Kingdom"}}`,
		`{"where":{"tags_any":["team"]}}`, `{"where":{"tags_none":["team"]}}`, `{"where":{"min_orders":2}}`, `{"where":{"min_spent":{"amount_minor":100000,"currency":"GBP"}}}`,
		`{"where":{"last_order_after":"2026-06-01"}}`, `{"where":{"last_order_before":"2026-06-01"},"sort":"most_spent"}`, `{"where":{"bought_category":"home-decor"}}`,
		`{"where":{"bought_any_sku":["{{sku}}"]}}`, `{"where":{"bought_category":"christmas","min_orders":2},"sort":"most_spent"}`,
	},
	"dtc_get_sales_summary": {
		`{"from":"2025-12-01","to":"2026-11-20"}`, `{"from":"2025-12-01","to":"2026-11-20","group_by":"day"}`, `{"from":"2025-12-01","to":"2026-11-20","group_by":"week"}`,
		`{"from":"2025-12-01","to":"2026-11-20","group_by":"month","compare_previous":true}`, `{"from":"2025-12-01","to":"2026-11-20","group_by":"country"}`,
		`{"from":"2025-12-01","to":"2026-11-20","group_by":"product"}`, `{"from":"2026-06-01","to":"2026-11-20","group_by":"product","compare_previous":true}`,
		`{"from":"2026-11-20","to":"2026-11-20","group_by":"product"}`, `{"from":"2025-12-01","to":"2026-11-20","group_by":"category"}`,
		`{"from":"2026-06-01","to":"2026-11-20","group_by":"category","compare_previous":true}`,
	},
	"dtc_get_attribution": {
		`{"from":"2025-12-01","to":"2026-11-20","view":"channel","model":"linear"}`, `{"from":"2025-12-01","to":"2026-11-20","view":"campaign","model":"linear"}`,
		`{"from":"2025-12-01","to":"2026-11-20","view":"funnel"}`,
	},
	"dtc_get_cohorts":      {`{}`, `{"measure":"orders"}`, `{"measure":"net"}`, `{"measure":"ltv"}`},
	"dtc_get_customer":     {`{"customer_no":"{{best_customer_no}}"}`},
	"dtc_get_order":        {`{"order_no":"{{largest_order_no}}"}`},
	"dtc_list_campaigns":   {`{}`},
	"dtc_list_ad_accounts": {`{}`, `{"days":90}`},
	"dtc_get_tickets":      {`{}`, `{"limit":50}`, `{"status":"open"}`, `{"queue":"returns"}`, `{"query":"the"}`, `{"query":"the","status":"open"}`, `{"ticket_id":"{{ticket_id}}"}`},
	"dtc_get_job":          {`{}`},
}

// trials are all calls that are timed: each tool's example, and more.
func (s *stand) trials() []trial {
	var all []trial
	for _, t := range s.registry.All() {
		if !t.Writes() {
			for _, args := range append([]string{t.Example}, more[t.Name]...) {
				all = append(all, trial{t.Name, args, reads})
			}
			continue
		}
		way := cmp.Or(ways[t.Name], undone)
		if way == undone || way == again && t.Name != "dtc_pause" {
			all = append(all, trial{t.Name, t.Example, rehearse})
		}
		all = append(all, trial{t.Name, t.Example, way})
	}
	return all
}
