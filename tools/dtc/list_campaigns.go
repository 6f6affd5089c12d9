package dtc

import (
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type listCampaignsIn struct {
	Status string `json:"status,omitempty" jsonschema:"enum=draft,enum=scheduled,enum=sending,enum=sent,enum=paused"`
	Paging
}

type listCampaignsOut struct {
	Campaigns []shop.Campaign `json:"campaigns"`
	Paged
}

var listCampaigns = tools.Define(tools.Spec{
	Name: "dtc_list_campaigns", Path: "campaigns.list", Title: "List campaigns",
	Description: "Lists e-mail and SMS campaigns, newest first: customers reached, opens, clicks, opt-outs, attributed revenue. For " +
		"text, recipients and cost use dtc_preview_campaign.",
	Scope: "marketing:read", Risk: tools.Risk{DataOut: 1}, Resource: "campaign:*", Undo: nothing,
	Routes: []tools.Route{{Method: "GET", Path: "/campaigns"}}, Example: `{"status":"sent"}`,
}, tools.Func[listCampaignsIn, listCampaignsOut]{
	Read: readCampaigns, Asks: asksShop[listCampaignsIn],
	Rows: func(out listCampaignsOut) []tools.Object { return each(out.Campaigns, sendObject) },
})

func readCampaigns(c *tools.Call, in listCampaignsIn) (out listCampaignsOut, err error) {
	d, cut, err := in.open(c)
	if err != nil {
		return out, err
	}
	page, err := d.Campaigns(in.Status, cut)
	if err != nil {
		return out, err
	}
	out.Campaigns, out.Paged, err = pageOf(c, page.Rows, page.Places, page.Total, page.More)
	return out, err
}
