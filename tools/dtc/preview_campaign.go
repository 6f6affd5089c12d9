package dtc

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type previewCampaignIn struct {
	CampaignID string `json:"campaign_id" jsonschema:"maxLength=40"`
}

// A previewCampaignOut is the campaign with what sending it now would mean. Recipients, NoConsent and JustReached make up
// the whole segment.
type previewCampaignOut struct {
	shop.Campaign
	Recipients  int64      `json:"recipients"`
	NoConsent   int64      `json:"left_out_no_consent"`
	JustReached int64      `json:"left_out_contacted_recently"`
	Cost        shop.Money `json:"cost"`
	Subject     string     `json:"subject,omitempty"`
	Body        string     `json:"body"`
	Warnings    []string   `json:"warnings,omitempty"`
	Cut
}

var previewCampaign = tools.Define(tools.Spec{
	Name: "dtc_preview_campaign", Path: "campaigns.preview", Title: "Preview a campaign",
	Description: "Shows a campaign as it would go out now: text, recipients, who is left out (no consent, or written to lately), cost, " +
		"warnings. Sends nothing; dtc_send_campaign needs its figures.",
	Scope: "marketing:read", Risk: tools.Risk{DataOut: 1}, Resource: "campaign:/campaign_id", Undo: nothing,
	Routes:  []tools.Route{{Method: "GET", Path: "/campaigns/{campaign_id}/preview"}},
	Example: `{"campaign_id":"cmp_01M7T54PC0E009TJKYDTMFF4B4"}`,
}, tools.Func[previewCampaignIn, previewCampaignOut]{
	Read: readPreview, Asks: askPreview,
	Rows: func(out previewCampaignOut) []tools.Object { return []tools.Object{sendObject(out.Campaign)} },
})

// readPreview works for a campaign in any state: of one that is sent it tells whom a repeat would reach.
func readPreview(c *tools.Call, in previewCampaignIn) (previewCampaignOut, error) {
	d, err := desk(c)
	if err != nil {
		return previewCampaignOut{}, err
	}
	campaign, err := d.Campaign(in.CampaignID)
	if err != nil {
		return previewCampaignOut{}, err
	}
	plan, err := planSend(d, campaign)
	if err != nil {
		return previewCampaignOut{}, err
	}
	out := previewCampaignOut{
		Campaign: campaign, Recipients: plan.reach.Recipients, NoConsent: plan.reach.NoConsent, JustReached: plan.reach.JustReached,
		Cost: plan.cost, Subject: campaign.Subject, Warnings: plan.warnings(),
	}
	return out, out.fitBody(campaign.Body)
}

func askPreview(c *tools.Call, in previewCampaignIn) {
	d, _ := desk(c)
	_, _ = d.Campaign(in.CampaignID)
}

const moreBody = "The body is cut here; dtc_send_campaign with dry_run shows it in full."

// fitBody shows as much of the body as there is room for beside the rest of the answer.
func (out *previewCampaignOut) fitBody(body string) error {
	rest, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("measuring the answer: %w", err)
	}
	var whole bool
	out.Body, whole, err = fitText(body, maxAnswer-len(rest)-2*len(moreBody))
	if !whole {
		out.Cut = Cut{true, moreBody}
	}
	return err
}

// A sendPlan is what sending a campaign would do now.
type sendPlan struct {
	desk     *shop.Desk
	campaign shop.Campaign
	segment  shop.Segment // empty: everybody who agreed to the channel
	reach    shop.Reach
	cost     shop.Money
}

// planSend counts afresh every time; neither a preview nor a send trusts a count made before.
func planSend(d *shop.Desk, campaign shop.Campaign) (sendPlan, error) {
	p := sendPlan{desk: d, campaign: campaign}
	var err error
	if campaign.SegmentID != "" {
		if p.segment, err = d.Segment(campaign.SegmentID); err != nil {
			return p, err
		}
		if unsent := campaign.Status == shop.CampaignDraft || campaign.Status == shop.CampaignScheduled; unsent && !p.segment.ArchivedAt.IsZero() {
			return p, errArchived()
		}
	}
	if p.reach, err = d.Reach(campaign); err != nil {
		return p, err
	}
	p.cost = d.Cost(campaign, p.reach.Recipients)
	return p, nil
}

func errArchived() error {
	return tools.Refuse(tools.Conflict, "Choose another segment, or make one with dtc_create_segment.", "The campaign's segment is archived.")
}

// atMost is the plan for no more customers than people have agreed to.
func (p sendPlan) atMost(recipients int64) sendPlan {
	p.reach.Recipients = min(p.reach.Recipients, recipients)
	p.cost = p.desk.Cost(p.campaign, p.reach.Recipients)
	return p
}

// campaignObject names a campaign in previews. It has no id yet while it is being made.
func campaignObject(c shop.Campaign) string {
	if c.ID == "" {
		return fmt.Sprintf("campaign “%s”", c.Name)
	}
	return "campaign " + c.ID
}

func channelWord(channel string) string {
	if channel == shop.SMS {
		return "SMS"
	}
	return "e-mail"
}

// What the warnings look for in a text. They are hints for a person, not a filter: missing one harms less than a wall of
// false ones.
var (
	optOut   = regexp.MustCompile(`(?i)\bstop\b|\bunsubscribe\b|\bopt[ -]?out\b`)
	linkHost = regexp.MustCompile(`(?i)\bhttps?://([a-z0-9.-]+)`)
	unfilled = regexp.MustCompile(`\{\{[^{}]*\}\}|\{[a-zA-Z_]+\}|%[a-zA-Z_]+%|\[[A-Z_ ]{2,}\]`)
)

// warnings are what a person should know before the campaign goes out. They quote nothing of its text but the hosts of
// its links.
func (p sendPlan) warnings() []string {
	c := p.campaign
	var w []string
	if c.SegmentID == "" {
		w = append(w, fmt.Sprintf("It has no segment: it goes to everybody who agreed to %s, %s now.",
			channelWord(c.Channel), count(p.reach.Recipients, "customer")))
	}
	if left := p.leftOut(); left != "" {
		w = append(w, left)
	}
	if parts := shop.SMSParts(c.Body); c.Channel == shop.SMS && parts > 1 {
		w = append(w, fmt.Sprintf("The text takes %d SMS, and each of them is paid for.", parts))
	}
	if !optOut.MatchString(c.Body) {
		w = append(w, "The text does not say how to opt out.")
	}
	if hosts := hostsIn(c.Text()); len(hosts) > 0 {
		w = append(w, "It links to "+strings.Join(hosts, ", ")+".")
	}
	if unfilled.MatchString(c.Text()) {
		w = append(w, "The text holds a placeholder. It goes out as it stands: nothing is filled in.")
	}
	return w
}

// leftOut says who of the segment gets nothing, and why.
func (p sendPlan) leftOut() string {
	var left []string
	if n := p.reach.NoConsent; n > 0 {
		left = append(left, count(n, "customer")+" without consent to "+channelWord(p.campaign.Channel))
	}
	if n := p.reach.JustReached; n > 0 {
		left = append(left, count(n, "customer")+" who were written to within the last "+lasting(p.desk.Rest))
	}
	if len(left) == 0 {
		return ""
	}
	return "Left out: " + strings.Join(left, " and ") + "."
}

// hostsIn lists the hosts that a text links to: a link may read like one place and lead to another.
func hostsIn(text string) []string {
	var hosts []string
	for _, m := range linkHost.FindAllStringSubmatch(text, -1) {
		hosts = append(hosts, strings.ToLower(m[1]))
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
