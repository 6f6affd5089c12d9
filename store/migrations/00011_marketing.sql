-- Marketing by agents: whose a campaign or a discount is, so that its maker can always stop it, and what was taken back.

-- +goose Up

-- The principal that made it; '' for staff.
ALTER TABLE campaigns ADD COLUMN owner_id TEXT NOT NULL DEFAULT '';
-- The principal that began to send it; '' while nobody has.
ALTER TABLE campaigns ADD COLUMN sender_id TEXT NOT NULL DEFAULT '';
-- A draft that was taken back: no list shows it and nothing can be done with it.
ALTER TABLE campaigns ADD COLUMN archived_at BIGINT;
ALTER TABLE discounts ADD COLUMN owner_id TEXT NOT NULL DEFAULT '';

-- The lists of campaigns, all and by status.
DROP INDEX campaigns_created;
CREATE INDEX campaigns_created ON campaigns (merchant_id, created_at, campaign_id) WHERE archived_at IS NULL;
CREATE INDEX campaigns_status ON campaigns (merchant_id, status, created_at, campaign_id) WHERE archived_at IS NULL;

-- Which calls about an object have not ended.
CREATE INDEX jobs_open ON jobs (merchant_id, resource) WHERE status IN ('pending_approval', 'queued', 'running');
