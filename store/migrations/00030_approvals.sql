-- +goose Up

-- What people see beside the preview, what asks again, and how far a request has come.
ALTER TABLE approvals ADD COLUMN facts TEXT NOT NULL DEFAULT '[]'; -- JSON: what the server itself read, bound with the effect
ALTER TABLE approvals ADD COLUMN claims TEXT NOT NULL DEFAULT '[]'; -- JSON: the agent's reason, held to the record
ALTER TABLE approvals ADD COLUMN agent_id TEXT NOT NULL DEFAULT ''; -- the root of the chain that asks
ALTER TABLE approvals ADD COLUMN tool TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN resource TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN question_sha256 TEXT NOT NULL DEFAULT ''; -- what is asked, however it is worded
ALTER TABLE approvals ADD COLUMN supersedes TEXT NOT NULL DEFAULT ''; -- the request that this one asks again
ALTER TABLE approvals ADD COLUMN level BIGINT NOT NULL DEFAULT 0; -- steps of escalation that are taken
ALTER TABLE approvals ADD COLUMN escalate_at BIGINT; -- when the next one is due
ALTER TABLE approvals ADD COLUMN changed TEXT NOT NULL DEFAULT '[]'; -- JSON: what was not as it had been shown
ALTER TABLE approvals ADD COLUMN version BIGINT NOT NULL DEFAULT 1; -- goes up with every transition

-- Requests of earlier versions: who asked, and about what, stands in their jobs.
UPDATE approvals SET tool = (SELECT tool FROM jobs WHERE jobs.id = approvals.job_id),
	resource = (SELECT resource FROM jobs WHERE jobs.id = approvals.job_id),
	agent_id = (SELECT principal_id FROM jobs WHERE jobs.id = approvals.job_id);

CREATE INDEX approvals_by_question ON approvals (merchant_id, question_sha256, created_at);
CREATE INDEX approvals_by_agent ON approvals (merchant_id, agent_id, tool, resource, created_at);
CREATE INDEX approvals_pending_by_agent ON approvals (merchant_id, agent_id) WHERE state = 'pending';
CREATE INDEX approvals_pending_about ON approvals (merchant_id, resource) WHERE state = 'pending';
CREATE INDEX approvals_waiting ON approvals (merchant_id, created_at, id) WHERE state = 'pending';
CREATE INDEX approvals_escalating ON approvals (escalate_at) WHERE state = 'pending' AND escalate_at IS NOT NULL;
CREATE INDEX approvals_to_lapse ON approvals (expires_at) WHERE state = 'pending';
CREATE INDEX approvals_to_use ON approvals (execute_before) WHERE state = 'approved';
CREATE INDEX approvals_decided ON approvals (merchant_id, decided_at) WHERE decided_at IS NOT NULL;

-- A vote is one person's, perhaps in place of somebody who is away. One that was withdrawn stays, and counts no more.
ALTER TABLE approval_votes ADD COLUMN for_id TEXT NOT NULL DEFAULT '';
ALTER TABLE approval_votes ADD COLUMN for_name TEXT NOT NULL DEFAULT '';
ALTER TABLE approval_votes ADD COLUMN open_seconds BIGINT NOT NULL DEFAULT 0; -- for how long it was looked at; 0: not known
ALTER TABLE approval_votes ADD COLUMN acknowledged BIGINT NOT NULL DEFAULT 0 CHECK (acknowledged IN (0, 1)); -- what does not fit the record
ALTER TABLE approval_votes ADD COLUMN flag TEXT NOT NULL DEFAULT ''; -- hasty, many
ALTER TABLE approval_votes ADD COLUMN withdrawn_at BIGINT;
CREATE INDEX approval_votes_by_person ON approval_votes (person_id, at);

-- Who stands in for whom, from a day until a day. It goes one step: who stands in for somebody hands nothing on.
CREATE TABLE delegations (
	id          TEXT   NOT NULL PRIMARY KEY,
	merchant_id TEXT   NOT NULL REFERENCES merchants (id),
	absent_id   TEXT   NOT NULL REFERENCES people (id),
	deputy_id   TEXT   NOT NULL REFERENCES people (id),
	starts_at   BIGINT NOT NULL,
	ends_at     BIGINT NOT NULL,
	made_by     TEXT   NOT NULL, -- person:… or operator
	created_at  BIGINT NOT NULL,
	revoked_at  BIGINT
);
CREATE INDEX delegations_by_deputy ON delegations (deputy_id, ends_at);
CREATE INDEX delegations_by_absent ON delegations (merchant_id, absent_id, ends_at);
