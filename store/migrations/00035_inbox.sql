-- +goose Up

-- What waits, soonest over first, and what was decided, latest first: the two ends of an approver's page.
CREATE INDEX approvals_pending ON approvals (merchant_id, expires_at, id) WHERE state = 'pending';
CREATE INDEX approvals_decided ON approvals (merchant_id, decided_at) WHERE decided_at IS NOT NULL;
-- The page of jobs.
CREATE INDEX jobs_by_status ON jobs (merchant_id, status, id);
