package shop

import "github.com/dtcgate/dtcgate/store"

func (w *writer) marketing(c *Contents) {
	t := w.sheet("segments", "segment_id", "name", "rule", "created_at", "created_by")
	for _, s := range c.Segments {
		t.add(s.ID, s.Name, jsonText(s.Rule), store.Micros(s.CreatedAt), s.CreatedBy)
	}
	t.flush()
	w.campaigns(c.Campaigns)
	w.discounts(c.Discounts)
}

// campaigns writes the campaigns, and for each that has gone out the text that it went out with.
func (w *writer) campaigns(campaigns []Campaign) {
	t := w.sheet("campaigns", "campaign_id", "name", "channel", "segment_id", "subject", "body", "status", "scheduled_at",
		"sent_at", "sent_to", "opened", "clicked", "opted_out", "attributed_minor", "created_at", "created_by")
	m := w.sheet("mailings", "mailing_id", "kind", "channel", "subject", "body", "created_at")
	for _, c := range campaigns {
		t.add(c.ID, c.Name, c.Channel, orNull(c.SegmentID), c.Subject, c.Body, c.Status, store.Micros(c.ScheduledAt),
			store.Micros(c.SentAt), c.SentTo, c.Opened, c.Clicked, c.OptedOut, c.AttributedRevenue.AmountMinor,
			store.Micros(c.CreatedAt), c.CreatedBy)
		if !c.SentAt.IsZero() {
			m.add(c.ID, KindCampaign, c.Channel, c.Subject, c.Body, store.Micros(c.SentAt))
		}
	}
	t.flush()
	m.flush()
}

func (w *writer) deliveries(deliveries []Delivery) {
	t := w.sheet("deliveries", "mailing_id", "customer_no", "batch", "address", "created_at", "carried_at")
	for _, d := range deliveries {
		t.add(d.MailingID, d.CustomerNo, d.Batch, d.Address, store.Micros(d.CreatedAt), store.Micros(d.CarriedAt))
	}
	t.flush()
}

func (w *writer) discounts(discounts []Discount) {
	t := w.sheet("discounts", "discount_id", "code", "percent_off", "skus", "max_uses", "uses", "max_given_away_minor",
		"given_away_minor", "start_on", "end_on", "status", "created_at", "created_by")
	for _, d := range discounts {
		t.add(d.ID, d.Code, d.PercentOff, jsonText(d.SKUs), d.MaxUses, d.Uses, d.MaxGivenAway.AmountMinor,
			d.GivenAway.AmountMinor, d.StartOn, d.EndOn, d.Status, store.Micros(d.CreatedAt), d.CreatedBy)
	}
	t.flush()
}
