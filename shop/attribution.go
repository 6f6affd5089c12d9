package shop

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/dtcgate/dtcgate/store"
)

// A View is what attribution is told by.
type View string

// The views.
const (
	ByChannel  View = "channel"
	ByCampaign View = "campaign"
	ByFunnel   View = "funnel"
)

// An AttributionQuestion asks for the attribution of some days.
type AttributionQuestion struct {
	From, To string // days, both included
	View     View
	Model    Model
}

// Attribution is what a channel or a campaign is credited with, and what the campaigns sent in the period came to: those
// members are nil where there are none.
type Attribution struct {
	Key     string  `json:"key"`
	Label   string  `json:"label"`
	Reached *int64  `json:"reached,omitempty"`
	Opened  *int64  `json:"opened,omitempty"`
	Clicked *int64  `json:"clicked,omitempty"`
	Orders  float64 `json:"orders"` // a shared order counts in parts, to the thousandth
	Net     Money   `json:"net"`
	Cost    *Money  `json:"cost,omitempty"`
}

// NoCampaign is the key of what no campaign is credited with.
const NoCampaign = "none"

// A tally is what one row is made of.
type tally struct {
	creditSum
	campaigns, reached, opened, clicked, cost int64
}

func (t *tally) add(o tally) {
	t.orders += o.orders
	t.net += o.net
	t.campaigns += o.campaigns
	t.reached += o.reached
	t.opened += o.opened
	t.clicked += o.clicked
	t.cost += o.cost
}

// Attributed answers q: rows from the largest net down, and their total. By channel and by campaign the rows share the
// sales of the period, so that they add up to what Sales tells. The funnel has a row for each campaign sent in the period,
// with all that it has been credited with since.
func (d *Desk) Attributed(q AttributionQuestion) (rows []Attribution, total Attribution, err error) {
	sent, err := d.sentIn(q)
	if err != nil {
		return nil, total, err
	}
	credited, err := d.credits(q)
	if err != nil {
		return nil, total, err
	}
	var all tally
	rows = []Attribution{}
	byKey := map[string]*tally{}
	for _, tallies := range []map[Touch]tally{sent, credited} {
		for touch, t := range tallies {
			at(byKey, q.View.key(touch)).add(t)
			all.add(t)
		}
	}
	for key, t := range byKey {
		rows = append(rows, d.attribution(key, *t))
	}
	slices.SortFunc(rows, func(a, b Attribution) int {
		return cmp.Or(cmp.Compare(b.Net.AmountMinor, a.Net.AmountMinor), cmp.Compare(a.Key, b.Key))
	})
	total = d.attribution("total", all)
	total.Label = q.From + " to " + q.To
	return rows, total, nil
}

// key is the row that a touch belongs to.
func (v View) key(t Touch) string {
	switch {
	case v == ByChannel:
		return t.Channel
	case t.CampaignID == "":
		return NoCampaign
	}
	return t.CampaignID
}

func (d *Desk) attribution(key string, t tally) Attribution {
	a := Attribution{Key: key, Label: key, Orders: float64(t.orders) / wholeOrder, Net: d.money(t.net)}
	if t.campaigns > 0 {
		cost := d.money(t.cost)
		a.Reached, a.Opened, a.Clicked, a.Cost = &t.reached, &t.opened, &t.clicked, &cost
	}
	return a
}

// sentIn tells of the campaigns whose last message went out in the period. A text message is paid for as it went out,
// whatever has become of the campaign's text.
func (d *Desk) sentIn(q AttributionQuestion) (map[Touch]tally, error) {
	from, to, err := q.instants()
	if err != nil {
		return nil, err
	}
	sent := map[Touch]tally{}
	_, err = store.All(d.tx, func(r store.Row) (struct{}, error) {
		var c Campaign
		err := r.Scan(&c.ID, &c.Channel, &c.SentTo, &c.Opened, &c.Clicked, &c.Body)
		sent[Touch{c.Channel, c.ID}] = tally{
			campaigns: 1, reached: c.SentTo, opened: c.Opened, clicked: c.Clicked, cost: d.Cost(c, c.SentTo).AmountMinor,
		}
		return struct{}{}, err
	}, `SELECT c.campaign_id, c.channel, c.sent_to, c.opened, c.clicked, CASE WHEN c.channel = 'sms' THEN COALESCE(m.body, c.body) ELSE '' END
		FROM campaigns c LEFT JOIN mailings m ON m.merchant_id = c.merchant_id AND m.mailing_id = c.campaign_id
		WHERE c.merchant_id = $1 AND c.sent_at >= $2 AND c.sent_at < $3`, d.merchant, from, to)
	if err != nil {
		return nil, fmt.Errorf("finding what was sent: %w", err)
	}
	return sent, nil
}

// instants are when the period begins and when it is over.
func (q AttributionQuestion) instants() (from, to any, err error) {
	begin, err := Midnight(q.From)
	if err != nil {
		return nil, nil, err
	}
	end, err := dayAfter(q.To)
	return store.Micros(begin), store.Micros(end), err
}

// What is credited on the days of a period, and to the campaigns sent on them.
const (
	creditsOfDays = `SELECT channel, campaign_id, CAST(SUM(orders_thousandths) AS BIGINT), CAST(SUM(net_minor) AS BIGINT)
		FROM attribution_days WHERE merchant_id = $1 AND model = $2 AND day BETWEEN $3 AND $4 GROUP BY channel, campaign_id`
	creditsOfSent = `SELECT a.channel, a.campaign_id, CAST(SUM(a.orders_thousandths) AS BIGINT), CAST(SUM(a.net_minor) AS BIGINT)
		FROM campaigns c JOIN attribution_days a ON a.merchant_id = c.merchant_id AND a.model = $2 AND a.campaign_id = c.campaign_id
		WHERE c.merchant_id = $1 AND c.sent_at >= $3 AND c.sent_at < $4 GROUP BY a.channel, a.campaign_id`
)

func (d *Desk) credits(q AttributionQuestion) (map[Touch]tally, error) {
	text, from, to := creditsOfDays, any(q.From), any(q.To)
	if q.View == ByFunnel {
		var err error
		if from, to, err = q.instants(); err != nil {
			return nil, err
		}
		text = creditsOfSent
	}
	credited := map[Touch]tally{}
	_, err := store.All(d.tx, func(r store.Row) (struct{}, error) {
		var touch Touch
		var sum creditSum
		err := r.Scan(&touch.Channel, &touch.CampaignID, &sum.orders, &sum.net)
		credited[touch] = tally{creditSum: sum}
		return struct{}{}, err
	}, text, d.merchant, string(q.Model), from, to)
	if err != nil {
		return nil, fmt.Errorf("adding up what was credited: %w", err)
	}
	return credited, nil
}

// NameCampaigns labels rows that are keyed by campaign with the campaigns' names.
func (d *Desk) NameCampaigns(rows []Attribution) error {
	if len(rows) == 0 {
		return nil
	}
	keys := make([]string, len(rows))
	for i, r := range rows {
		keys[i] = r.Key
	}
	q := sqlText("SELECT campaign_id, name FROM campaigns WHERE merchant_id = ? AND campaign_id IN ("+marks(len(keys))+")",
		append([]any{d.merchant}, values(keys)...)...).
		add(" UNION ALL SELECT ad_campaign_id, name FROM ad_campaigns WHERE merchant_id = ? AND ad_campaign_id IN ("+marks(len(keys))+")",
			append([]any{d.merchant}, values(keys)...)...)
	names := map[string]string{NoCampaign: "no campaign"}
	_, err := store.All(d.tx, func(r store.Row) (struct{}, error) {
		var id, name string
		err := r.Scan(&id, &name)
		names[id] = name
		return struct{}{}, err
	}, q.sql(), q.args...)
	for i := range rows {
		if name := names[rows[i].Key]; name != "" {
			rows[i].Label = name
		}
	}
	if err != nil {
		return fmt.Errorf("naming the campaigns: %w", err)
	}
	return nil
}
