package dtc

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A createCampaignIn has no class: a draft made twice harms nobody.
type createCampaignIn struct {
	Name      string `json:"name" jsonschema:"minLength=1,maxLength=80"`
	Channel   string `json:"channel" jsonschema:"enum=email,enum=sms"`
	SegmentID string `json:"segment_id,omitempty" jsonschema:"maxLength=40,description=All who agreed if left out"`
	Subject   string `json:"subject,omitempty" jsonschema:"maxLength=120,description=Required for email\\, refused for sms"`
	Body      string `json:"body" jsonschema:"minLength=1,maxLength=20000,description=Plain text; nothing is filled in"`
	Tried
}

type createCampaignOut struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
}

var createCampaign = tools.Define(tools.Spec{
	Name: "dtc_create_campaign", Path: "campaigns.create", Title: "Create a campaign",
	Description: "Makes a draft of an e-mail or SMS campaign; reaches nobody. Then use dtc_preview_campaign and dtc_send_campaign. An " +
		"SMS over 160 plain characters costs as several. Say in the text how to opt out.",
	Scope: "marketing:write", Risk: tools.Risk{Undo: 1}, Resource: "campaign:+",
	Undo:    "dtc_undo archives the draft while nobody has changed or sent it",
	Routes:  []tools.Route{{Method: "POST", Path: "/campaigns", Status: 201, Accept: otherSpellings}},
	Example: `{"name":"Soap is back","channel":"sms","body":"Rose Clay soap is back. Reply STOP to opt out."}`,
}, tools.Func[createCampaignIn, createCampaignOut]{
	Preview: previewCreate, Write: create, Asks: askCreate, Undo: tools.Reversible(keepNothing[createCampaignIn], uncreate),
})

// keepNothing is for what is undone by taking away what was made: the result says all that it needs.
func keepNothing[In any](*tools.Call, In) (struct{}, error) { return struct{}{}, nil }

// otherSpellings takes the members that the first users of the REST surface send. A body that has both spellings keeps
// the other one too, and is refused for it.
func otherSpellings(body map[string]json.RawMessage) {
	for other, own := range map[string]string{
		"type": "channel", "sms_message": "body", "email_body": "body", "email_subject": "subject",
	} {
		value, there := body[other]
		if _, taken := body[own]; !there || taken {
			continue
		}
		body[own] = value
		delete(body, other)
	}
	var channel string
	if json.Unmarshal(body["channel"], &channel) == nil {
		if lower, err := json.Marshal(strings.ToLower(channel)); err == nil {
			body["channel"] = lower
		}
	}
}

// checkText judges what no schema can: which fields belong to which channel.
func checkText(c shop.Campaign) error {
	switch {
	case c.Channel == shop.Email && c.Subject == "":
		return tools.Wrong("subject", "is missing", "the subject line, which e-mail needs", "New for spring")
	case c.Channel == shop.SMS && c.Subject != "":
		return tools.Wrong("subject", "does not belong to an SMS", "no subject for sms", nil)
	case !oneLine(c.Name):
		return tools.Wrong("name", "holds a character that is not printed", "one line of plain text", "Spring Launch")
	case !oneLine(c.Subject):
		return tools.Wrong("subject", "holds a character that is not printed", "one line of plain text", "New for spring")
	}
	return nil
}

// oneLine refuses what would end a line or hide in it: a name stands in the sentence that people approve, a subject in
// the head of an e-mail.
func oneLine(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) })
}

func (in createCampaignIn) campaign(c *tools.Call) shop.Campaign {
	return shop.Campaign{
		Name: in.Name, Channel: in.Channel, SegmentID: in.SegmentID, Subject: in.Subject, Body: in.Body,
		Status: shop.CampaignDraft, CreatedBy: c.Principal.Name, OwnerID: c.Principal.ID,
	}
}

// previewCreate counts whom the draft would reach, although it reaches nobody yet: a draft without a segment is for
// everybody, and whoever makes one should know how many that is. It names no customers and no money as an effect.
func previewCreate(c *tools.Call, in createCampaignIn) (tools.Preview, error) {
	draft := in.campaign(c)
	if err := checkText(draft); err != nil {
		return tools.Preview{}, err
	}
	d, err := desk(c)
	if err != nil {
		return tools.Preview{}, err
	}
	plan, err := planSend(d, draft)
	if err != nil {
		return tools.Preview{}, err
	}
	return tools.Preview{
		Summary: fmt.Sprintf("Make a draft of the %s “%s”, which would now reach %s for %s",
			channelWord(in.Channel), in.Name, count(plan.reach.Recipients, "customer"), plan.cost),
		Changes: []tools.Change{{Object: campaignObject(draft), Field: "status", To: shop.CampaignDraft}},
		Content: draft.Text(), Warnings: plan.warnings(),
	}, nil
}

// askCreate asks what previewCreate asks, or where there is a segment what comes before that is known.
func askCreate(c *tools.Call, in createCampaignIn) {
	d, _ := desk(c)
	_, _ = planSend(d, in.campaign(c))
}

func create(c *tools.Call, in createCampaignIn) (createCampaignOut, error) {
	d, err := desk(c)
	if err != nil {
		return createCampaignOut{}, err
	}
	made, err := d.AddCampaign(in.campaign(c))
	return createCampaignOut{ID: made.ID, Version: made.Version}, err
}

// uncreate archives the draft. Whoever has changed it since may need it.
func uncreate(c *tools.Call, _ createCampaignIn, out createCampaignOut, _ struct{}) error {
	d, err := desk(c)
	if err == nil {
		err = d.ArchiveDraft(out.ID, out.Version)
	}
	if errors.Is(err, shop.ErrChanged) {
		err = tools.Refuse(tools.Conflict, "Leave it: a draft reaches nobody. A send is stopped with dtc_pause.",
			"It is no longer the draft that was made: it has been changed, sent, paused or archived since.")
	}
	return err
}
