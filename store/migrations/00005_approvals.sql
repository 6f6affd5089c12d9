-- +goose Up

-- A job is a call that outlives its answer. args are the canonical bytes that were judged, shown and bound; they are
-- what runs. The principal is looked up anew when it runs; principal_id only says whose job it is.
CREATE TABLE jobs (
	id                  TEXT   NOT NULL PRIMARY KEY,
	merchant_id         TEXT   NOT NULL REFERENCES merchants (id),
	call_id             TEXT   NOT NULL,
	principal_id        TEXT   NOT NULL,
	chain               TEXT   NOT NULL, -- JSON array
	transport           TEXT   NOT NULL,
	tool                TEXT   NOT NULL,
	tool_schema_sha256  TEXT   NOT NULL,
	args                TEXT   NOT NULL,
	args_sha256         TEXT   NOT NULL,
	idempotency_key     TEXT   NOT NULL,
	resource            TEXT   NOT NULL,
	policy_version      BIGINT NOT NULL, -- under which it was accepted
	policy_rule         TEXT   NOT NULL,
	approval_id         TEXT   NOT NULL, -- '' when nobody had to be asked
	status              TEXT   NOT NULL CHECK (status IN
		('pending_approval', 'queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired', 'indeterminate')),
	reason              TEXT   NOT NULL,
	why                 TEXT   NOT NULL,
	summary             TEXT   NOT NULL,
	progress_percent    BIGINT NOT NULL,
	checkpoint          TEXT   NOT NULL,
	result              TEXT   NOT NULL,
	run_after           BIGINT NOT NULL,
	attempts            BIGINT NOT NULL,
	lease_owner         TEXT   NOT NULL,
	lease_until         BIGINT NOT NULL,
	cancel_requested_at BIGINT,
	created_at          BIGINT NOT NULL,
	updated_at          BIGINT NOT NULL
);
CREATE INDEX jobs_by_principal ON jobs (merchant_id, principal_id, id);
CREATE INDEX jobs_queued ON jobs (run_after, id) WHERE status = 'queued';
CREATE INDEX jobs_running ON jobs (lease_until) WHERE status = 'running';

-- An approval is the question that a job waits for. All but its state is fixed when it is asked.
CREATE TABLE approvals (
	id             TEXT   NOT NULL PRIMARY KEY,
	merchant_id    TEXT   NOT NULL REFERENCES merchants (id),
	job_id         TEXT   NOT NULL UNIQUE REFERENCES jobs (id),
	state          TEXT   NOT NULL CHECK (state IN
		('pending', 'approved', 'consumed', 'rejected', 'cancelled', 'expired', 'invalidated')),
	class          TEXT   NOT NULL,
	needs          TEXT   NOT NULL,
	binding        TEXT   NOT NULL, -- canonical JSON
	binding_sha256 TEXT   NOT NULL,
	preview        TEXT   NOT NULL, -- JSON, as shown
	agent_reason   TEXT   NOT NULL, -- the agent's words, unchecked
	asked_by       TEXT   NOT NULL, -- the key's name when it asked
	created_at     BIGINT NOT NULL,
	expires_at     BIGINT NOT NULL,
	decided_at     BIGINT,
	execute_before BIGINT           -- an approval that is not used by then lapses
);
CREATE INDEX approvals_open ON approvals (merchant_id, created_at) WHERE state IN ('pending', 'approved');

-- Votes are only ever added: one a person.
CREATE TABLE approval_votes (
	approval_id TEXT   NOT NULL REFERENCES approvals (id),
	person_id   TEXT   NOT NULL,
	person_name TEXT   NOT NULL,
	decision    TEXT   NOT NULL CHECK (decision IN ('approve', 'deny')),
	reason      TEXT   NOT NULL,
	seen_sha256 TEXT   NOT NULL, -- the binding the person saw; '' when the channel states none
	channel     TEXT   NOT NULL,
	at          BIGINT NOT NULL,
	PRIMARY KEY (approval_id, person_id)
);
