package dtc

import (
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type listAdAccountsIn struct {
	Platform string `json:"platform,omitempty" jsonschema:"enum=meta,enum=google,enum=tiktok"`
	Days     int    `json:"days,omitempty" jsonschema:"minimum=1,maximum=90,default=30"`
	Paging
}

type listAdAccountsOut struct {
	Accounts []shop.AdAccount `json:"accounts"`
	Paged
	Simulated bool `json:"simulated,omitempty"`
}

var listAdAccounts = tools.Define(tools.Spec{
	Name: "dtc_list_ad_accounts", Path: "ads.list", Title: "List ad accounts",
	Description: "Lists ad accounts with their month's cap and at most 20 campaigns each: what each spent and brought in, in the days " +
		"up to yesterday. All simulated.",
	Scope: "ads:read", Risk: tools.Risk{DataOut: 1}, Resource: "ad_account:*", Undo: nothing,
	Example: `{"platform":"meta","days":30}`,
	Routes:  []tools.Route{{Method: "GET", Path: "/ads/accounts"}},
}, tools.Func[listAdAccountsIn, listAdAccountsOut]{
	Read: readAdAccounts, Asks: asksShop[listAdAccountsIn],
	Rows: func(out listAdAccountsOut) (all []tools.Object) {
		for _, a := range out.Accounts {
			all = append(all, adAccountObjects(a)...)
		}
		return all
	},
})

func readAdAccounts(c *tools.Call, in listAdAccountsIn) (out listAdAccountsOut, err error) {
	d, cut, err := in.open(c)
	if err != nil {
		return out, err
	}
	if in.Days == 0 {
		in.Days = 30
	}
	page, err := d.AdAccounts(in.Platform, in.Days, cut)
	if err != nil {
		return out, err
	}
	out.Simulated = true
	out.Accounts, out.Paged, err = pageOf(c, page.Rows, page.Places, page.Total, page.More)
	return out, err
}
