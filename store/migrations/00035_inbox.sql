-- +goose Up

-- The approver's page: what waits, soonest over first, and what an agent asked for before.
CREATE INDEX approvals_pending ON approvals (merchant_id, expires_at, id) WHERE state = 'pending';
CREATE INDEX approvals_of_agent ON approvals (merchant_id, agent_id, id);
-- The page of jobs.
CREATE INDEX jobs_by_status ON jobs (merchant_id, status, id);
