package shop

import (
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// NotBegun reports whether no send of the campaign has begun, so that its text may still change and nobody has it.
func (c Campaign) NotBegun() bool {
	return c.Status == CampaignDraft || c.Status == CampaignPaused && c.SenderID == "" && c.SentTo == 0
}

// notBegun is NotBegun in SQL.
const notBegun = "(status = 'draft' OR (status = 'paused' AND sender_id = '' AND sent_to = 0))"

// Rewrite gives a campaign that has not begun the name, segment and text of c, unless it has changed since it had c's
// version. It gives the new version.
func (d *Desk) Rewrite(c Campaign) (version int64, err error) {
	err = changed(d.tx.Exec(`UPDATE campaigns SET name = $1, segment_id = $2, subject = $3, body = $4, version = version + 1
		WHERE merchant_id = $5 AND campaign_id = $6 AND version = $7 AND archived_at IS NULL AND `+notBegun,
		c.Name, orNull(c.SegmentID), c.Subject, c.Body, d.merchant, c.ID, c.Version))
	if err != nil {
		return 0, fmt.Errorf("rewriting the campaign: %w", err)
	}
	return c.Version + 1, nil
}

// ArchiveDraft takes a draft back, unless it has changed since it had that version.
func (d *Desk) ArchiveDraft(id string, version int64) error {
	err := changed(d.tx.Exec(`UPDATE campaigns SET archived_at = $1, version = version + 1
		WHERE merchant_id = $2 AND campaign_id = $3 AND version = $4 AND status = 'draft' AND archived_at IS NULL`,
		store.Micros(d.tx.Now), d.merchant, id, version))
	if err != nil {
		return fmt.Errorf("archiving the draft: %w", err)
	}
	return nil
}
