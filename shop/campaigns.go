package shop

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dtcgate/dtcgate/store"
)

// Statuses of a campaign.
const (
	CampaignDraft     = "draft"
	CampaignScheduled = "scheduled"
	CampaignSending   = "sending"
	CampaignSent      = "sent"
	CampaignPaused    = "paused" // stopped before its send began or half-way; whom it reached is in deliveries
)

// Channels of a campaign.
const (
	Email = "email"
	SMS   = "sms"
)

// BatchSize is how many customers one step of a send reaches.
const BatchSize = 200

// What messages cost, in minor units of the shop's currency: an SMS is paid for by its parts, e-mail by the thousand.
const (
	smsPartMinor       = 4
	emailThousandMinor = 100
)

// ErrChanged means that what was to be changed is not as it was read any more.
var ErrChanged = errors.New("it has changed meanwhile")

// changed turns the row count of a compare-and-set into ErrChanged.
func changed(n int64, err error) error {
	if err == nil && n == 0 {
		return ErrChanged
	}
	return err
}

const campaignColumns = `campaign_id, name, channel, status, sent_to, opened, clicked, opted_out, attributed_minor, version,
	COALESCE(segment_id, '') AS segment_id, subject, body, scheduled_at, sent_at, created_at, created_by, owner_id, sender_id`

// scanCampaign reads campaignColumns, and more columns after them.
func (d *Desk) scanCampaign(r store.Row, more ...any) (Campaign, error) {
	c := Campaign{AttributedRevenue: d.money(0)}
	err := r.Scan(append([]any{
		&c.ID, &c.Name, &c.Channel, &c.Status, &c.SentTo, &c.Opened, &c.Clicked, &c.OptedOut, &c.AttributedRevenue.AmountMinor,
		&c.Version, &c.SegmentID, &c.Subject, &c.Body, store.At(&c.ScheduledAt), store.At(&c.SentAt), store.At(&c.CreatedAt), &c.CreatedBy,
		&c.OwnerID, &c.SenderID,
	}, more...)...)
	return c, err
}

// Campaign gives a campaign that is not archived.
func (d *Desk) Campaign(id string) (Campaign, error) {
	c, err := store.One(d.tx, func(r store.Row) (Campaign, error) { return d.scanCampaign(r) },
		"SELECT "+campaignColumns+" FROM campaigns WHERE merchant_id = $1 AND campaign_id = $2 AND archived_at IS NULL", d.merchant, id)
	if err != nil {
		return c, fmt.Errorf("finding the campaign: %w", err)
	}
	return c, nil
}

// Campaigns gives a page of the campaigns with a status, or of all, newest first.
func (d *Desk) Campaigns(status string, cut Cut) (Page[Campaign], error) {
	q := sqlText("SELECT "+campaignColumns+", created_at AS rank FROM campaigns WHERE merchant_id = ? AND archived_at IS NULL", d.merchant)
	if status != "" {
		q.add(" AND status = ?", status)
	}
	page, err := readPage(d.tx, listing{rows: q, by: []string{"rank", "campaign_id"}, desc: true}, cut,
		func(r store.Row) (Campaign, Place, error) {
			var p Place
			c, err := d.scanCampaign(r, &p.Rank)
			p.ID = c.ID
			return c, p, err
		})
	if err != nil {
		return page, fmt.Errorf("listing campaigns: %w", err)
	}
	return page, nil
}

var campaignInserted = []string{
	"merchant_id", "campaign_id", "name", "channel", "segment_id", "subject", "body", "status", "version", "created_at", "created_by", "owner_id",
}

// AddCampaign stores c as a new draft and gives it with its id.
func (d *Desk) AddCampaign(c Campaign) (Campaign, error) {
	c.ID, c.Status, c.Version, c.CreatedAt = store.NewID("cmp", d.tx.Now), CampaignDraft, 1, d.tx.Now
	err := d.tx.Insert("campaigns", campaignInserted, [][]any{{
		d.merchant, c.ID, c.Name, c.Channel, orNull(c.SegmentID), c.Subject, c.Body, c.Status, c.Version, store.Micros(c.CreatedAt), c.CreatedBy, c.OwnerID,
	}})
	if err != nil {
		return c, fmt.Errorf("storing the campaign: %w", err)
	}
	return c, nil
}

// Text is the campaign's message in full, as it goes out.
func (c Campaign) Text() string {
	if c.Subject == "" {
		return c.Body
	}
	return "Subject: " + c.Subject + "\n\n" + c.Body
}

// Cost is what it costs to send the campaign to so many customers. E-mail is rounded up for the whole mailing.
func (d *Desk) Cost(c Campaign, recipients int64) Money {
	if c.Channel == SMS {
		return d.money(recipients * SMSParts(c.Body) * smsPartMinor)
	}
	return d.money((recipients*emailThousandMinor + 999) / 1000)
}

// gsm are the characters that an SMS packs into 7 bits; gsmDouble take two places. Any other character makes the whole
// message one of 16-bit units.
const (
	gsm = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§" +
		"¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmDouble = "^{}\\[~]|€"
)

// SMSParts is how many SMS a text takes (GSM 03.38 and 03.40): 160 characters fit into one and 153 into each of several,
// or 70 and 67 when the text has characters outside the GSM alphabet.
func SMSParts(text string) int64 {
	places, one, each := 0, 160, 153
	for _, c := range text {
		switch {
		case strings.ContainsRune(gsm, c):
			places++
		case strings.ContainsRune(gsmDouble, c):
			places += 2
		default:
			one, each = 70, 67
		}
	}
	if one == 70 {
		places = utf16Units(text)
	}
	if places <= one {
		return 1
	}
	return int64((places + each - 1) / each)
}

// utf16Units is how many 16-bit units a text takes: two for what lies beyond them.
func utf16Units(text string) int {
	units := utf8.RuneCountInString(text)
	for _, c := range text {
		if c > 0xffff {
			units++
		}
	}
	return units
}

// BeginSend moves a campaign from draft to sending by c.SenderID, unless it has changed since it had c's version, and keeps
// the text that it goes out with.
func (d *Desk) BeginSend(c Campaign) error {
	err := changed(d.tx.Exec(`UPDATE campaigns SET status = $1, sender_id = $2, version = version + 1
		WHERE merchant_id = $3 AND campaign_id = $4 AND version = $5 AND status IN ('draft', 'scheduled') AND archived_at IS NULL`,
		CampaignSending, c.SenderID, d.merchant, c.ID, c.Version))
	if err != nil {
		return fmt.Errorf("beginning to send: %w", err)
	}
	if err := d.holdSegment(c.SegmentID); err != nil {
		return fmt.Errorf("beginning to send: %w", err)
	}
	return d.addMailing(c.ID, KindCampaign, c.Channel, c.Subject, c.Body)
}

// addMailing keeps a text as it goes out, whatever becomes of the campaign later.
func (d *Desk) addMailing(id, kind, channel, subject, body string) error {
	_, err := d.tx.Exec(`INSERT INTO mailings (merchant_id, mailing_id, kind, channel, subject, body, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, d.merchant, id, kind, channel, subject, body, store.Micros(d.tx.Now))
	if err != nil {
		return fmt.Errorf("storing the text: %w", err)
	}
	return nil
}

// SendBatch hands the next customers after one to the carrier, at most limit of them: those who agree to the channel at
// this moment. It gives the last customer it looked at, empty when there are no more, and how many it wrote to.
func (d *Desk) SendBatch(c Campaign, after string, batch int64, limit int) (last string, sent int64, err error) {
	next, err := d.nextRecipients(c, after, limit)
	if err != nil || len(next) == 0 {
		return "", 0, err
	}
	reached, err := d.touch(c.Channel, next)
	if err != nil {
		return "", 0, fmt.Errorf("taking a batch of recipients: %w", err)
	}
	if sent, err = d.deliver(c.ID, batch, reached); err != nil {
		return "", 0, fmt.Errorf("storing deliveries: %w", err)
	}
	err = changed(d.tx.Exec(`UPDATE campaigns SET sent_to = sent_to + $1, sent_at = $2
		WHERE merchant_id = $3 AND campaign_id = $4 AND status = 'sending'`, sent, store.Micros(d.tx.Now), d.merchant, c.ID))
	if err != nil {
		return "", 0, fmt.Errorf("counting a batch: %w", err)
	}
	return next[len(next)-1], sent, nil
}

// nextRecipients finds whom to write to next, in the database's order of customer numbers, which need not be Go's.
func (d *Desk) nextRecipients(c Campaign, after string, limit int) ([]string, error) {
	rule, err := d.rule(c.SegmentID)
	if err != nil {
		return nil, err
	}
	q := sqlText("SELECT c.customer_no FROM customers c WHERE c.merchant_id = ? AND c.customer_no > ? AND "+consents[c.Channel]+" AND "+rested,
		d.merchant, after, store.Micros(d.restedSince()))
	if err := d.belongs(q, rule); err != nil {
		return nil, err
	}
	q.add(" ORDER BY c.customer_no LIMIT ?", limit)
	next, err := store.All(d.tx, func(r store.Row) (string, error) {
		var no string
		return no, r.Scan(&no)
	}, q.sql(), q.args...)
	if err != nil {
		return nil, fmt.Errorf("finding recipients: %w", err)
	}
	return next, nil
}

// A recipient is whom a message goes to.
type recipient struct{ no, address string }

// touch notes that customers are being written to, and gives them with their addresses. It looks at their consent once
// more while it holds their rows, so that nobody is written to whose refusal came first. RETURNING goes without the alias,
// which SQLite does not know there.
func (d *Desk) touch(channel string, customers []string) ([]recipient, error) {
	if err := lock(d.tx, d.merchant, "customers", "customer_no IN ("+marks(len(customers))+")", values(customers)...); err != nil {
		return nil, err
	}
	q := sqlText("UPDATE customers AS c SET last_contacted_at = ? WHERE c.merchant_id = ? AND c.customer_no IN ("+marks(len(customers))+")",
		append([]any{store.Micros(d.tx.Now), d.merchant}, values(customers)...)...).
		add(" AND "+consents[channel]+" AND "+rested+" RETURNING customer_no, "+addresses[channel], store.Micros(d.restedSince()))
	return store.All(d.tx, func(r store.Row) (recipient, error) {
		var to recipient
		return to, r.Scan(&to.no, &to.address)
	}, q.sql(), q.args...)
}

// deliver stores one row a recipient; whoever has one already gets no second. It gives how many are new.
func (d *Desk) deliver(mailing string, batch int64, to []recipient) (int64, error) {
	if len(to) == 0 {
		return 0, nil
	}
	q := sqlText("INSERT INTO deliveries (merchant_id, mailing_id, customer_no, batch, address, created_at) VALUES ")
	for i, r := range to {
		if i > 0 {
			q.add(", ")
		}
		q.add("("+marks(6)+")", d.merchant, mailing, r.no, batch, r.address, store.Micros(d.tx.Now))
	}
	q.add(" ON CONFLICT DO NOTHING")
	return d.tx.Exec(q.sql(), q.args...)
}

// EndSend moves a campaign from sending to a final status, CampaignSent or CampaignPaused.
func (d *Desk) EndSend(id, status string) error {
	err := changed(d.tx.Exec("UPDATE campaigns SET status = $1, version = version + 1 WHERE merchant_id = $2 AND campaign_id = $3 AND status = 'sending'",
		status, d.merchant, id))
	if err != nil {
		return fmt.Errorf("ending the send: %w", err)
	}
	return nil
}
