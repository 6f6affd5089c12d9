package dtc

import (
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// maxAttributed is how many rows one answer has.
const maxAttributed = 50

type attributionIn struct {
	From  string     `json:"from" jsonschema:"format=date"`
	To    string     `json:"to" jsonschema:"format=date"`
	View  shop.View  `json:"view" jsonschema:"enum=channel,enum=campaign,enum=funnel"`
	Model shop.Model `json:"model,omitempty" jsonschema:"enum=last_touch,enum=first_touch,enum=linear,default=last_touch"`
}

type attributionOut struct {
	Rows      []shop.Attribution `json:"rows"`
	Total     shop.Attribution   `json:"total"`
	Model     shop.Model         `json:"model"`
	Simulated bool               `json:"simulated,omitempty"` // the touches are made up
	DataUntil time.Time          `json:"data_until"`
	Cut
}

var getAttribution = tools.Define(tools.Spec{
	Name: "dtc_get_attribution", Path: "analytics.attribution", Title: "Get attribution",
	Description: "Credits orders and net to what led to them. channel, campaign: the sales of dtc_get_sales_summary, shared out. " +
		"linear splits an order. funnel: campaigns sent in the period, with all credit since. Ads' spend: dtc_list_ad_accounts.",
	Example: `{"from":"2026-10-01","to":"2026-10-31","view":"channel","model":"linear"}`,
	Scope:   "analytics:read", Risk: tools.Risk{DataOut: 1}, Resource: "analytics:*", Undo: nothing,
	Routes: []tools.Route{{Method: "GET", Path: "/analytics/attribution"}},
}, tools.Func[attributionIn, attributionOut]{Read: readAttribution, Asks: asksShop[attributionIn]})

// readAttribution gives the rows with the largest net, and the total of all.
func readAttribution(c *tools.Call, in attributionIn) (out attributionOut, err error) {
	if err := daysInOrder("from", in.From, "to", in.To); err != nil {
		return out, err
	}
	d, err := desk(c)
	if err != nil {
		return out, err
	}
	if in.Model == "" {
		in.Model = shop.LastTouch
	}
	rows, total, err := d.Attributed(shop.AttributionQuestion{From: in.From, To: in.To, View: in.View, Model: in.Model})
	if err != nil {
		return out, err
	}
	shown := rows[:min(len(rows), maxAttributed)]
	if in.View != shop.ByChannel {
		if err := d.NameCampaigns(shown); err != nil {
			return out, err
		}
	}
	n, err := fit(shown, rowsRoom)
	out = attributionOut{Rows: shown[:n], Total: total, Model: in.Model, Simulated: d.Source != shop.Live, DataUntil: d.DataUntil}
	if n < len(rows) {
		out.Cut = Cut{true, "Rows with less net are left out, but counted in total. Ask for fewer days."}
	}
	return out, err
}
