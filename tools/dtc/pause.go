package dtc

import (
	"errors"
	"fmt"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

type pauseIn struct {
	Kind   string `json:"kind" jsonschema:"enum=campaign,enum=ad_campaign,enum=discount"`
	ID     string `json:"id" jsonschema:"maxLength=40,description=campaign_id\\, ad_campaign_id\\, discount_id or the code"`
	Reason string `json:"reason,omitempty" jsonschema:"maxLength=500"`
}

type pauseOut struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	WasAt  string `json:"was_at"` // what it was before, and how far it had come
}

// pause is a brake: it needs no scope for what the caller made or is sending, is held back by no ceiling and never parked.
var pause = tools.Define(tools.Spec{
	Name: "dtc_pause", Path: "brake.pause", Title: "Pause a send, ad or discount",
	Description: "Stops a send, an ad campaign or a discount at once; never waits for people. What is sent, spent or used stands. Only " +
		"a person resumes.",
	AnyScope: []auth.Scope{"marketing:write", "marketing:send", "ads:write", "ads:spend", "store:write"},
	Risk:     tools.Risk{Undo: 1, Blast: 1}, Resource: "/kind:/id", Brake: true,
	Undo:    "A person resumes it",
	Routes:  []tools.Route{{Method: "POST", Path: "/pause"}},
	Example: `{"kind":"discount","id":"AUTUMN15","reason":"It gives too much away"}`,
}, tools.Func[pauseIn, pauseOut]{Objects: aboutPause, Needs: needsOfPause, Preview: previewPause, Write: stopIt})

// A brake stops things of one kind.
type brake struct {
	scope auth.Scope // needed for what is not the caller's own
	find  func(c *tools.Call, d *shop.Desk, id string, hold bool) (target, error)
}

// brakes are the kinds of things that can be paused.
var brakes = map[string]brake{
	"campaign":    {"marketing:write", campaignTarget},
	"ad_campaign": {"ads:write", adTarget},
	"discount":    {"store:write", discountTarget},
}

// A target is what is to be paused, as it is now.
type target struct {
	id, name string // name for people
	own      bool   // the caller made it or is sending it
	status   string
	wasAt    string
	idle     string       // why there is nothing to stop; empty when there is
	stop     func() error // does it
}

// paused is the status that everything has which was stopped.
const paused = "paused"

func (in pauseIn) target(c *tools.Call, hold bool) (target, error) {
	d, err := desk(c)
	if err != nil {
		return target{}, err
	}
	return brakes[in.Kind].find(c, d, in.ID, hold)
}

// needsOfPause asks nothing of those who stop their own things. Who may not know what there is learns nothing here: what
// is not there is refused like what is somebody else's.
func needsOfPause(c *tools.Call, in pauseIn) ([]auth.Scope, error) {
	t, err := in.target(c, false)
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return nil, err
	case t.own:
		return nil, nil
	}
	return []auth.Scope{brakes[in.Kind].scope}, nil
}

// campaignTarget finds a campaign. A draft is something to stop only while a send of it waits for people or its time.
func campaignTarget(c *tools.Call, d *shop.Desk, id string, hold bool) (target, error) {
	find := d.Campaign
	if hold {
		find = d.HoldCampaign
	}
	campaign, err := find(id)
	if err != nil {
		return target{}, err
	}
	waits, sends, err := c.Jobs.Open(c.Tx, c.Principal, sendCampaign.Name, campaignResource(id))
	t := target{
		id: id, name: fmt.Sprintf("campaign “%s”", campaign.Name), status: campaign.Status, wasAt: campaign.Status,
		own:  sends || campaign.OwnerID == c.Principal.ID || campaign.SenderID == c.Principal.ID,
		stop: func() error { return d.PauseCampaign(campaign) },
	}
	switch {
	case campaign.Status == shop.CampaignSending:
		t.wasAt = fmt.Sprintf("sending, %s sent", shop.Thousands(campaign.SentTo))
	case campaign.Status == shop.CampaignDraft && waits:
		t.wasAt = "draft, about to be sent"
	case campaign.Status == shop.CampaignDraft:
		t.idle = "The campaign is a draft and no send of it waits."
	case campaign.Status == shop.CampaignSent:
		t.idle = "The campaign has been sent."
	}
	return t, err
}

// adTarget finds an ad campaign. To stop one holds it, and its account with it.
func adTarget(c *tools.Call, d *shop.Desk, id string, _ bool) (target, error) {
	ad, err := d.AdCampaign(id)
	if err != nil {
		return target{}, err
	}
	t := target{
		id: ad.ID, name: fmt.Sprintf("ad campaign “%s”", ad.Name), own: ad.Owner == c.Principal.ID, status: ad.Status,
		wasAt: fmt.Sprintf("%s, %s a day", ad.Status, ad.DailyBudget),
	}
	const ended = "The ad campaign has ended."
	if ad.Status == shop.AdEnded {
		t.idle = ended
	}
	t.stop = func() error {
		_, err := d.PauseAd(id)
		if errors.Is(err, shop.ErrChanged) {
			err = target{idle: ended}.check()
		}
		return err
	}
	return t, nil
}

func discountTarget(c *tools.Call, d *shop.Desk, id string, hold bool) (target, error) {
	find := d.Discount
	if hold {
		find = d.HoldDiscount
	}
	x, err := find(id)
	if err != nil {
		return target{}, err
	}
	t := target{
		id: x.ID, name: "discount " + x.Code, own: x.OwnerID == c.Principal.ID, status: x.Status,
		wasAt: fmt.Sprintf("%s, %s", x.Status, count(x.Uses, "use")),
		stop:  func() error { return d.PauseDiscount(x) },
	}
	if x.Status == shop.DiscountEnded {
		t.idle = "The discount has ended."
	}
	return t, nil
}

// check refuses to stop what does not move.
func (t target) check() error {
	if t.idle == "" {
		return nil
	}
	return tools.Refuse(tools.Conflict, "Leave it: there is nothing to pause.", "%s", t.idle)
}

// previewPause refuses nothing that is paused already: who stops something twice wants it stopped.
func previewPause(c *tools.Call, in pauseIn) (tools.Preview, error) {
	t, err := in.target(c, false)
	if err == nil {
		err = t.check()
	}
	if err != nil {
		return tools.Preview{}, err
	}
	if t.status == paused {
		return tools.Preview{Summary: fmt.Sprintf("Leave the %s as it is: it is paused already", t.name), Version: paused}, nil
	}
	return tools.Preview{
		Summary: fmt.Sprintf("Pause the %s (%s)", t.name, t.wasAt), Version: t.status,
		Changes: []tools.Change{{Object: in.Kind + " " + t.id, Field: "status", From: t.status, To: paused}},
	}, nil
}

// stopIt looks again while it holds what it stops: between the preview and here a step of a send may have been first.
func stopIt(c *tools.Call, in pauseIn) (pauseOut, error) {
	t, err := in.target(c, true)
	if err == nil {
		err = t.check()
	}
	if err == nil && t.status != paused {
		err = t.stop()
	}
	return pauseOut{ID: t.id, Status: paused, WasAt: t.wasAt}, err
}
