package dtc

import (
	"errors"
	"fmt"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type connectAdAccountIn struct {
	Platform string `json:"platform" jsonschema:"enum=meta,enum=google,enum=tiktok"`
	Name     string `json:"name" jsonschema:"minLength=1,maxLength=80"`
	MonthCap Amount `json:"month_cap"`
	Asked
}

type connectAdAccountOut struct {
	AdAccountID string `json:"ad_account_id"`
	SignInURL   string `json:"sign_in_url"` // for a person
	Simulated   bool   `json:"simulated,omitempty"`
}

var connectAdAccount = tools.Define(tools.Spec{
	Name: "dtc_connect_ad_account", Path: "ads.connect", Title: "Connect an ad account",
	Description: "Adds an ad account with a cap for each month. Nothing can be launched in it until a person has signed in at " +
		"sign_in_url. Simulated.",
	Scope: "ads:connect", Risk: tools.Risk{Undo: 1, Blast: 1, Money: 1, Reach: 1}, Class: tools.ClassSpend, Resource: "ad_account:+",
	Undo: "Disconnects it, while no campaign runs in it",
	Example: `{"platform":"tiktok","name":"TikTok, second try","month_cap":{"amount_minor":30000,"currency":"GBP"},` +
		`"idempotency_key":"connect-tiktok-2","reason":"The trial sold well; a second account for the spring"}`,
	Routes: []tools.Route{{Method: "POST", Path: "/ads/accounts"}},
}, tools.Func[connectAdAccountIn, connectAdAccountOut]{
	Preview: previewConnect, Step: connect,
	Undo: tools.Reversible(func(*tools.Call, connectAdAccountIn) (struct{}, error) { return struct{}{}, nil }, disconnect),
})

// previewConnect shows as money what a month may cost, although connecting alone costs nothing: it is what people agree to.
func previewConnect(c *tools.Call, in connectAdAccountIn) (tools.Preview, error) {
	d, err := desk(c)
	if err != nil {
		return tools.Preview{}, err
	}
	most, err := in.MonthCap.inCurrency("month_cap", d)
	switch {
	case err != nil:
		return tools.Preview{}, err
	case most.AmountMinor == 0:
		return tools.Preview{}, tools.Wrong("month_cap.amount_minor", "is zero", "minor units, 1 or more", 50000)
	case !oneLine(in.Name):
		return tools.Preview{}, tools.Wrong("name", "holds a character that is not printed", "one line of plain text", "Meta, spring")
	}
	if err := d.AdAccountsFull(); err != nil {
		return tools.Preview{}, adRefusal(err)
	}
	return tools.Preview{
		Summary: fmt.Sprintf("Connect the %s ad account “%s”, in which ads may cost at most %s a month", in.Platform, in.Name, most),
		Money:   &most,
		Changes: []tools.Change{
			{Object: "new ad account", Field: "status", From: "none", To: shop.AdPendingSignIn},
			{Object: "new ad account", Field: "month cap", From: "none", To: most.String()},
		},
		Warnings: []string{"It spends nothing yet: a person has to sign in, and each campaign is asked for on its own."},
	}, nil
}

func connect(c *tools.Call, in connectAdAccountIn, p *tools.Progress) (out connectAdAccountOut, err error) {
	d, err := desk(c)
	if err != nil {
		return out, err
	}
	a, err := d.AddAdAccount(shop.AdAccount{
		Platform: in.Platform, Name: in.Name, MonthCap: shop.Money(in.MonthCap), Owner: c.Principal.ID, CreatedBy: c.Principal.Name,
	})
	if err != nil {
		return out, adRefusal(err)
	}
	p.Done, p.Percent, p.Note = true, 100, "Waits for a person to sign in"
	return connectAdAccountOut{AdAccountID: a.ID, SignInURL: "https://ads.example/" + a.Platform + "/sign-in?account=" + a.ID, Simulated: true}, nil
}

// disconnect takes a connection back. What has been launched in it stays in its books.
func disconnect(c *tools.Call, _ connectAdAccountIn, out connectAdAccountOut, _ struct{}) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	return d.DisconnectAds(out.AdAccountID)
}

// adRefusal is what an agent is told when the shop has no room for more ads.
func adRefusal(err error) error {
	var over *shop.OverCap
	switch {
	case errors.As(err, &over):
		left := over.Cap
		left.AmountMinor = max(0, left.AmountMinor-over.Now.AmountMinor)
		return tools.Refuse(tools.LimitExceeded, "Take a lower daily_budget or fewer days, or stop another campaign of the account with dtc_pause.",
			"The ad account has a cap of %s a month. In %s, %s of it is spent or committed, which leaves %s; with this it would be %s.",
			over.Cap, over.Month, over.Now, left, over.Then)
	case errors.Is(err, shop.ErrFull):
		return tools.Refuse(tools.LimitExceeded, "Look at those there are with dtc_list_ad_accounts.",
			"There may be %d ad accounts, and %d running campaigns in each.", shop.MaxAdAccounts, shop.MaxRunningAds)
	}
	return err
}
