-- Who is told what happens to requests and jobs: signed webhooks (package approvals/notify).

-- +goose Up

-- What opens or signs something outside and is nobody's grant: the secrets of webhooks, in ciphertext alone. version counts the changes
-- of a secret and is part of what the ciphertext is bound to (package auth/vault).
CREATE TABLE vault_secrets (
	id          TEXT   NOT NULL PRIMARY KEY, -- of what it belongs to
	merchant_id TEXT   NOT NULL REFERENCES merchants (id),
	ciphertext  TEXT   NOT NULL, -- base64
	key_id      TEXT   NOT NULL, -- of the master key that sealed it
	version     BIGINT NOT NULL CHECK (version > 0)
);
CREATE INDEX vault_secrets_by_key ON vault_secrets (key_id, id);

-- Where a merchant is told. Rows are never deleted: one that was removed is disabled, and has no secret.
CREATE TABLE webhook_endpoints (
	id           TEXT   NOT NULL PRIMARY KEY, -- whk_…
	merchant_id  TEXT   NOT NULL REFERENCES merchants (id),
	url          TEXT   NOT NULL,
	types        TEXT   NOT NULL, -- of messages it is told: ' approval.requested approval.resolved ', with a space before and after each
	old_until    BIGINT,          -- until then messages are signed with the secret before, too
	created_by   TEXT   NOT NULL, -- as in a chain
	created_at   BIGINT NOT NULL,
	failing_at   BIGINT,          -- since when messages were given up, with none delivered after it
	disabled_at  BIGINT,
	disabled_why TEXT   NOT NULL DEFAULT '' CHECK (disabled_why IN ('', 'removed', 'gone'))
);
CREATE INDEX webhook_endpoints_live ON webhook_endpoints (merchant_id, id) WHERE disabled_at IS NULL;

-- What is to be told to whom: a row for each message and endpoint. There is no text in it: the body is made when it is sent, from what is
-- so then. No foreign key: who asks for a payment does not wait for the lock of a sender.
CREATE TABLE outbox (
	endpoint_id TEXT   NOT NULL,
	id          TEXT   NOT NULL, -- msg_…: one for all endpoints, and for every attempt
	merchant_id TEXT   NOT NULL,
	type        TEXT   NOT NULL,
	subject_id  TEXT   NOT NULL, -- what it is about, of approval_id and job_id
	approval_id TEXT   NOT NULL, -- '' when nobody had to be asked
	job_id      TEXT   NOT NULL,
	state       TEXT   NOT NULL CHECK (state IN ('waiting', 'sent', 'superseded', 'dead')),
	attempts    BIGINT NOT NULL, -- begun
	next_at     BIGINT NOT NULL,
	lease_owner TEXT   NOT NULL, -- who is sending it just now
	lease_until BIGINT,
	last_status BIGINT NOT NULL, -- HTTP status of the last answer; 0: there was none
	last_error  TEXT   NOT NULL, -- a code of ours, never the endpoint's text
	created_at  BIGINT NOT NULL,
	ended_at    BIGINT,
	PRIMARY KEY (endpoint_id, id)
);
CREATE INDEX outbox_due ON outbox (endpoint_id, next_at) WHERE state = 'waiting';
CREATE INDEX outbox_of_subject ON outbox (endpoint_id, subject_id) WHERE state = 'waiting';
CREATE INDEX outbox_ended ON outbox (ended_at) WHERE state <> 'waiting';

-- Whom a service may speak for: a person has linked the service's key, and the name by which the service knows them, to themselves.
CREATE TABLE person_links (
	id          TEXT   NOT NULL PRIMARY KEY, -- plk_…
	merchant_id TEXT   NOT NULL REFERENCES merchants (id),
	key_id      TEXT   NOT NULL REFERENCES agent_keys (id),
	external_id TEXT   NOT NULL, -- the person's id as the service knows it
	person_id   TEXT   NOT NULL REFERENCES people (id),
	created_by  TEXT   NOT NULL, -- as in a chain
	created_at  BIGINT NOT NULL,
	revoked_at  BIGINT,
	revoked_by  TEXT   NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX person_links_live ON person_links (key_id, external_id) WHERE revoked_at IS NULL;
CREATE INDEX person_links_by_person ON person_links (merchant_id, person_id, id);
