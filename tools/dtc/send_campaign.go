package dtc

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A sendCampaignIn states what the caller saw and how far it may go. All of it is bound when people agree.
type sendCampaignIn struct {
	CampaignID         string    `json:"campaign_id" jsonschema:"maxLength=40"`
	ExpectedVersion    int64     `json:"expected_version"`
	ExpectedRecipients int64     `json:"expected_recipients"`
	MaxCost            Amount    `json:"max_cost" jsonschema:"description=cost as previewed\\, or more"`
	SendAt             time.Time `json:"send_at,omitzero" jsonschema:"description=At most 90 days ahead"`
	Asked
}

// A sendCampaignOut is what was done: after a stop, as far as it came.
type sendCampaignOut struct {
	CampaignID string     `json:"campaign_id"`
	Cost       shop.Money `json:"cost"`
	SentTo     int64      `json:"sent_to"`
}

var sendCampaign = tools.Define(tools.Spec{
	Name: "dtc_send_campaign", Path: "campaigns.send", Title: "Send a campaign",
	Description: "Sends a draft campaign, for good. State what dtc_preview_campaign showed: when it is no longer so nothing is sent. A " +
		"job, 200 customers a step: stop it with dtc_pause. To try it use a segment test-….",
	Scope: "marketing:send", Risk: tools.Risk{Undo: 3, Blast: 2, Money: 1, Touch: 2, Reach: 1}, Class: tools.ClassContact,
	Resource: "campaign:/campaign_id",
	Undo:     "None for what is sent. dtc_pause stops the rest",
	Routes:   []tools.Route{{Method: "POST", Path: "/campaigns/{campaign_id}/send", FillFacts: true}},
	Example: `{"campaign_id":"cmp_01M7T54PC0E009TJKYDTMFF4B4","expected_version":1,"expected_recipients":96,` +
		`"max_cost":{"amount_minor":384,"currency":"GBP"},"idempotency_key":"soap-drop-1","reason":"The soap is back in stock"}`,
}, tools.Func[sendCampaignIn, sendCampaignOut]{
	Preview: previewSend, Step: sendStep, Stopped: pauseSend, Rate: rateSend, Fill: fillSend, Facts: campaignFacts,
	Ratings: []tools.Rating{{Risk: tools.Risk{Undo: 3, Blast: 1, Money: 1, Touch: 1, Reach: 1}, Class: tools.ClassContact}},
})

// campaignResource is how the jobs that send a campaign name it.
func campaignResource(id string) string { return "campaign:" + id }

// trialSize is how many people a trial may reach.
const trialSize = 25

// rateSend lets a key that may not write to customers try a text out on the shop's own people.
func rateSend(_ sendCampaignIn, p tools.Preview, r tools.Risk) tools.Risk {
	if p.Trial && p.Customers <= trialSize {
		r.Touch, r.Blast = 1, 1
	}
	return r
}

// fillSend states what the server counts, for a call that a person will see before it counts for anything.
func fillSend(c *tools.Call, in *sendCampaignIn) error {
	p, err := in.plan(c)
	if err != nil {
		return err
	}
	if in.ExpectedVersion == 0 {
		in.ExpectedVersion = p.campaign.Version
	}
	if in.ExpectedRecipients == 0 {
		in.ExpectedRecipients = p.reach.Recipients
	}
	if in.MaxCost == (Amount{}) {
		in.MaxCost = Amount(p.cost)
	}
	if in.Reason == "" {
		in.Reason = "No reason was given by the caller."
	}
	return nil
}

// plan reads the campaign and counts, and refuses a campaign that cannot be sent whatever the caller expects.
func (in sendCampaignIn) plan(c *tools.Call) (sendPlan, error) {
	d, err := desk(c)
	if err != nil {
		return sendPlan{}, err
	}
	campaign, err := d.Campaign(in.CampaignID)
	if err != nil {
		return sendPlan{}, err
	}
	if err := sendable(campaign); err != nil {
		return sendPlan{}, err
	}
	p, err := planSend(d, campaign)
	if err == nil && p.reach.Recipients == 0 {
		err = tools.Refuse(tools.Conflict, "Look at it with dtc_preview_campaign, which tells who is left out and why.", "The campaign reaches nobody.")
	}
	return p, err
}

// sendable refuses a campaign that is being sent, has been sent or was stopped.
func sendable(campaign shop.Campaign) error {
	switch {
	case campaign.Status == shop.CampaignDraft || campaign.Status == shop.CampaignScheduled:
		return nil
	case campaign.NotBegun():
		return tools.Refuse(tools.Conflict, "Leave it to a person to resume it, and send it anew after that.", "The campaign is paused.")
	}
	return tools.Refuse(tools.Conflict, "Look at it with dtc_preview_campaign; to write to customers again make a new campaign.",
		"The campaign is %s; only a draft can be sent.", campaign.Status)
}

// previewSend is asked three times: when the call comes, for a rehearsal, and when a worker takes it up. The last time its
// campaign is still a draft, for only the first step changes that.
func previewSend(c *tools.Call, in sendCampaignIn) (tools.Preview, error) {
	if err := in.checkTime(c); err != nil {
		return tools.Preview{}, err
	}
	p, err := in.plan(c)
	if err != nil {
		return tools.Preview{}, err
	}
	if c.Resumed {
		p = p.atMost(in.ExpectedRecipients)
	}
	if err := in.checkFacts(c, p); err != nil {
		return tools.Preview{}, err
	}
	return tools.Preview{
		Summary:      in.summary(p),
		Customers:    p.reach.Recipients,
		Money:        &p.cost,
		Changes:      []tools.Change{{Object: campaignObject(p.campaign), Field: "status", From: p.campaign.Status, To: shop.CampaignSent}},
		Content:      p.campaign.Text(),
		Warnings:     p.warnings(),
		Irreversible: "A message that has gone out cannot be called back.",
		RunAt:        in.SendAt,
		Version:      strconv.FormatInt(p.campaign.Version, 10),
		Trial:        strings.HasPrefix(p.segment.Name, "test-"),
	}, nil
}

// summary is the sentence that people agree to.
func (in sendCampaignIn) summary(p sendPlan) string {
	s := fmt.Sprintf("Send the %s “%s” to %s for at most %s",
		channelWord(p.campaign.Channel), p.campaign.Name, count(p.reach.Recipients, "customer"), p.cost)
	if !in.SendAt.IsZero() {
		s += " on " + in.SendAt.In(shop.London).Format("2 Jan 2006 at 15:04 MST")
	}
	return s
}

// furthest is how far ahead a send may be set.
const furthest = 90 * 24 * time.Hour

// checkTime judges send_at when the call comes: when it resumes, send_at has come.
func (in sendCampaignIn) checkTime(c *tools.Call) error {
	if in.SendAt.IsZero() || c.Resumed {
		return nil
	}
	if !in.SendAt.After(c.Now) || in.SendAt.After(c.Now.Add(furthest)) {
		return tools.Wrong("send_at", "is past or too far ahead", "a time within the next 90 days, or none to send at once",
			c.Now.Add(time.Hour).Truncate(time.Hour).Format(time.RFC3339))
	}
	return nil
}

// checkFacts holds the campaign to what the caller saw of it. How many it reaches is compared when the call comes, so that
// no stale plan is put before people. Until it runs customers come and go: fewer are fine, and more are left out.
func (in sendCampaignIn) checkFacts(c *tools.Call, p sendPlan) error {
	now := map[string]any{"expected_version": p.campaign.Version, "expected_recipients": p.reach.Recipients, "cost": p.cost}
	switch {
	case in.ExpectedVersion != p.campaign.Version:
		return tools.Stale("The campaign has been changed since it was looked at.", now)
	case in.ExpectedRecipients != p.reach.Recipients && !c.Resumed:
		return tools.Stale("It would reach another number of customers than expected.", now)
	}
	most, err := in.MaxCost.inCurrency("max_cost", p.desk)
	if err != nil {
		return err
	}
	if most.AmountMinor < p.cost.AmountMinor {
		return tools.Refuse(tools.LimitExceeded, "Raise max_cost if it is worth that, or choose a smaller segment.",
			"It would cost %s, which is more than max_cost.", p.cost)
	}
	return nil
}

// A sendMark is how far a send has come.
type sendMark struct {
	After string `json:"after"` // the last customer looked at
	Batch int64  `json:"batch"`
	Sent  int64  `json:"sent"`
}

// sendStep hands one batch to the carrier. The mark moves in the same transaction, so that a step that is repeated after
// a crash begins where the last one that counted ended. No more customers are written to than were agreed to. The campaign
// is held first: whoever pauses it waits for the step, and nobody is written to after the pause.
func sendStep(c *tools.Call, in sendCampaignIn, p *tools.Progress) (sendCampaignOut, error) {
	d, err := desk(c)
	if err != nil {
		return sendCampaignOut{}, err
	}
	campaign, err := d.HoldCampaign(in.CampaignID)
	if err != nil {
		return sendCampaignOut{}, err
	}
	mark, err := markOf(*p)
	if err != nil {
		return sendCampaignOut{}, err
	}
	if campaign.Status == shop.CampaignPaused {
		p.Stop, p.Note = "paused", fmt.Sprintf("The campaign was paused after %s.", mark.progress(in))
		return mark.result(d, campaign), nil
	}
	if p.Done, err = mark.advance(c, d, campaign, in); err != nil {
		return sendCampaignOut{}, err
	}
	p.Percent, p.Note = int(100*mark.Sent/in.ExpectedRecipients), mark.progress(in)
	p.Checkpoint, err = json.Marshal(mark)
	return mark.result(d, campaign), err
}

func markOf(p tools.Progress) (m sendMark, err error) {
	if len(p.Checkpoint) == 0 {
		return m, nil
	}
	if err := json.Unmarshal(p.Checkpoint, &m); err != nil {
		return m, fmt.Errorf("reading how far the send has come: %w", err)
	}
	return m, nil
}

func (m sendMark) progress(in sendCampaignIn) string {
	return fmt.Sprintf("%s of %s sent", shop.Thousands(m.Sent), shop.Thousands(in.ExpectedRecipients))
}

func (m sendMark) result(d *shop.Desk, campaign shop.Campaign) sendCampaignOut {
	return sendCampaignOut{CampaignID: campaign.ID, Cost: d.Cost(campaign, m.Sent), SentTo: m.Sent}
}

// advance begins the send when the mark is still at its start, and does the next batch. What was changed since the last
// step stops it.
func (m *sendMark) advance(c *tools.Call, d *shop.Desk, campaign shop.Campaign, in sendCampaignIn) (done bool, err error) {
	if m.Batch == 0 {
		campaign.Version, campaign.SenderID = in.ExpectedVersion, c.Principal.ID
		err = d.BeginSend(campaign)
	}
	if err == nil {
		done, err = m.batch(d, campaign, in.ExpectedRecipients)
	}
	switch {
	case errors.Is(err, shop.ErrChanged):
		err = tools.Refuse(tools.StaleExpectation, "Look at it with dtc_preview_campaign.", "The campaign is not as it was any more.")
	case errors.Is(err, shop.ErrArchived):
		err = errArchived()
	}
	return done, err
}

// batch sends the next batch of at most most customers in all, and ends the send when there is nobody left.
func (m *sendMark) batch(d *shop.Desk, campaign shop.Campaign, most int64) (done bool, err error) {
	m.Batch++
	last, n, err := d.SendBatch(campaign, m.After, m.Batch, int(min(shop.BatchSize, most-m.Sent)))
	if err != nil {
		return false, err
	}
	m.After, m.Sent = last, m.Sent+n
	if last != "" && m.Sent < most {
		return false, nil
	}
	return true, d.EndSend(campaign.ID, shop.CampaignSent)
}

// pauseSend leaves no campaign behind as sending when its job has stopped. A job that has not taken its first step has
// begun nothing; the campaign may be another job's.
func pauseSend(c *tools.Call, in sendCampaignIn, p tools.Progress) error {
	if len(p.Checkpoint) == 0 {
		return nil
	}
	d, err := desk(c)
	if err == nil {
		err = d.EndSend(in.CampaignID, shop.CampaignPaused)
	}
	if errors.Is(err, shop.ErrChanged) {
		return nil // somebody else ended it
	}
	return err
}
