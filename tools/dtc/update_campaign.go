package dtc

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// An updateCampaignIn leaves as it is what it leaves out.
type updateCampaignIn struct {
	CampaignID      string `json:"campaign_id" jsonschema:"maxLength=40"`
	ExpectedVersion int64  `json:"expected_version"`
	Name            string `json:"name,omitempty" jsonschema:"minLength=1,maxLength=80"`
	SegmentID       string `json:"segment_id,omitempty" jsonschema:"minLength=1,maxLength=40"`
	Subject         string `json:"subject,omitempty" jsonschema:"minLength=1,maxLength=120"`
	Body            string `json:"body,omitempty" jsonschema:"minLength=1,maxLength=20000"`
	Tried
}

type updateCampaignOut struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
}

var updateCampaign = tools.Define(tools.Spec{
	Name: "dtc_update_campaign", Path: "campaigns.update", Title: "Change a draft campaign",
	Description: "Changes a draft, or a campaign paused before its send began; what is left out stays. State the version of " +
		"dtc_preview_campaign. Calls off a waiting send.",
	Scope: "marketing:write", Risk: tools.Risk{Undo: 1, Blast: 1}, Resource: "campaign:/campaign_id",
	Undo:    "dtc_undo restores the version before, unless it has been changed or sent since",
	Routes:  []tools.Route{{Method: "PATCH", Path: "/campaigns/{campaign_id}"}},
	Example: `{"campaign_id":"cmp_01M7N0B8C0E00B6TPF692NJ97E","expected_version":1,"subject":"A clean page for the new year"}`,
}, tools.Func[updateCampaignIn, updateCampaignOut]{
	Preview: previewUpdate, Write: updateText, Undo: tools.Reversible(keepText, restoreText),
})

// campaigns reads the campaign as it is and makes what it is to be.
func (in updateCampaignIn) campaigns(c *tools.Call) (d *shop.Desk, was, is shop.Campaign, err error) {
	if d, err = desk(c); err != nil {
		return nil, was, is, err
	}
	if was, err = d.Campaign(in.CampaignID); err != nil {
		return nil, was, is, err
	}
	if err := in.check(was); err != nil {
		return nil, was, is, err
	}
	is = was
	for _, f := range []struct {
		field *string
		to    string
	}{{&is.Name, in.Name}, {&is.SegmentID, in.SegmentID}, {&is.Subject, in.Subject}, {&is.Body, in.Body}} {
		if f.to != "" {
			*f.field = f.to
		}
	}
	if is == was {
		return nil, was, is, tools.Refuse(tools.Conflict, "Name a field with another value: name, segment_id, subject or body.", "The campaign reads like this already.")
	}
	return d, was, is, checkText(is)
}

// check refuses a campaign that is not as the caller saw it, or whose text has gone out.
func (in updateCampaignIn) check(was shop.Campaign) error {
	switch {
	case was.Version != in.ExpectedVersion:
		return staleCampaign(was)
	case was.Status == shop.CampaignScheduled:
		return tools.Refuse(tools.Conflict, "Stop it with dtc_pause, then change it.", "The campaign is scheduled.")
	case !was.NotBegun():
		return tools.Refuse(tools.Conflict, "Make a new campaign with dtc_create_campaign.", "The campaign is %s and its send has begun: its text stays.", was.Status)
	}
	return nil
}

func staleCampaign(is shop.Campaign) error {
	return tools.Stale("The campaign has been changed since it was looked at.", map[string]any{"expected_version": is.Version, "status": is.Status})
}

// previewUpdate shows the new text whole, as it would go out, and whom it would reach now.
func previewUpdate(c *tools.Call, in updateCampaignIn) (tools.Preview, error) {
	d, was, is, err := in.campaigns(c)
	if err != nil {
		return tools.Preview{}, err
	}
	plan, err := planSend(d, is)
	if err != nil {
		return tools.Preview{}, err
	}
	waits, _, err := c.Jobs.Open(c.Tx, c.Principal, sendCampaign.Name, campaignResource(was.ID))
	if err != nil {
		return tools.Preview{}, err
	}
	p := tools.Preview{Content: is.Text(), Warnings: plan.warnings(), Version: strconv.FormatInt(was.Version, 10)}
	if waits {
		p.Warnings = append(p.Warnings, "A send of it waits, which will not run after this.")
	}
	p.Changes, err = textChanges(d, was, is)
	fields := make([]string, len(p.Changes))
	for i, change := range p.Changes {
		fields[i] = change.Field
	}
	p.Summary = fmt.Sprintf("Change %s of the %s “%s”, which would now reach %s for %s", strings.Join(fields, ", "),
		channelWord(is.Channel), was.Name, count(plan.reach.Recipients, "customer"), plan.cost)
	return p, err
}

// textChanges lists the fields that differ.
func textChanges(d *shop.Desk, was, is shop.Campaign) ([]tools.Change, error) {
	from, err := segmentWords(d, was.SegmentID)
	if err != nil {
		return nil, err
	}
	to, err := segmentWords(d, is.SegmentID)
	if err != nil {
		return nil, err
	}
	var changes []tools.Change
	for _, f := range []tools.Change{
		{Field: "name", From: was.Name, To: is.Name},
		{Field: "segment", From: from, To: to},
		{Field: "subject", From: was.Subject, To: is.Subject},
		{Field: "body", From: was.Body, To: is.Body},
	} {
		if f.From != f.To {
			f.Object = campaignObject(was)
			f.From, f.To = excerpts(f.From, f.To)
			changes = append(changes, f)
		}
	}
	return changes, nil
}

func segmentWords(d *shop.Desk, id string) (string, error) {
	if id == "" {
		return "everybody who agreed", nil
	}
	s, err := d.Segment(id)
	return fmt.Sprintf("%s (%s)", s.Name, id), err
}

// excerptSize is how many characters of a long text a change shows, and excerptLead how many of them come before the
// first difference.
const (
	excerptSize = 160
	excerptLead = 40
)

// excerpts shortens two texts to where they begin to differ. The whole new text stands in the content of the preview.
func excerpts(from, to string) (fromPart, toPart string) {
	a, b := []rune(from), []rune(to)
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	start := max(0, same-excerptLead)
	if max(len(a), len(b)) <= excerptSize {
		start = 0
	}
	return excerpt(a, start), excerpt(b, start)
}

func excerpt(text []rune, start int) string {
	end := min(len(text), start+excerptSize)
	part := string(text[start:end])
	if start > 0 {
		part = "…" + part
	}
	if end < len(text) {
		part += "…"
	}
	return part
}

// updateText writes on the condition that the campaign is still as it was read.
func updateText(c *tools.Call, in updateCampaignIn) (updateCampaignOut, error) {
	d, _, is, err := in.campaigns(c)
	if err != nil {
		return updateCampaignOut{}, err
	}
	version, err := d.Rewrite(is)
	if errors.Is(err, shop.ErrChanged) {
		if is, err = d.Campaign(in.CampaignID); err == nil {
			err = staleCampaign(is)
		}
	}
	return updateCampaignOut{ID: in.CampaignID, Version: version}, err
}

// A campaignText is what an undo puts back.
type campaignText struct {
	Name      string `json:"name"`
	SegmentID string `json:"segment_id"`
	Subject   string `json:"subject"`
	Body      string `json:"body"`
}

func keepText(c *tools.Call, in updateCampaignIn) (campaignText, error) {
	d, err := desk(c)
	if err != nil {
		return campaignText{}, err
	}
	was, err := d.Campaign(in.CampaignID)
	return campaignText{was.Name, was.SegmentID, was.Subject, was.Body}, err
}

// restoreText puts the text back unless somebody has changed, paused or sent the campaign since.
func restoreText(c *tools.Call, _ updateCampaignIn, out updateCampaignOut, was campaignText) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	_, err = d.Rewrite(shop.Campaign{
		ID: out.ID, Version: out.Version, Name: was.Name, SegmentID: was.SegmentID, Subject: was.Subject, Body: was.Body,
	})
	return err
}
