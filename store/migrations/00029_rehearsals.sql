-- +goose Up

-- Rehearsals of drafts, one row each, written by the process that runs it while it does. One whose sign of life is old has died with its process.
CREATE TABLE policy_replays (
	id           TEXT   NOT NULL PRIMARY KEY, -- rpl_…
	merchant_id  TEXT   NOT NULL REFERENCES merchants (id),
	asked_by     TEXT   NOT NULL,             -- as in a chain
	status       TEXT   NOT NULL,             -- running, done, failed
	why          TEXT   NOT NULL,             -- it failed
	report       TEXT   NOT NULL,             -- so far; JSON
	created_at   BIGINT NOT NULL,
	alive_at     BIGINT NOT NULL
);
CREATE INDEX policy_replays_of ON policy_replays (merchant_id, created_at);

-- Drafts that run beside the policy in force: what they would say otherwise is recorded, and nothing else comes of it.
CREATE TABLE policy_shadows (
	merchant_id TEXT   NOT NULL PRIMARY KEY REFERENCES merchants (id),
	sha256      TEXT   NOT NULL,
	source      TEXT   NOT NULL,
	author      TEXT   NOT NULL, -- as in a chain
	note        TEXT   NOT NULL,
	created_at  BIGINT NOT NULL
);

-- The hash of the draft, beside the version in force, so that both are read at once; '' where there is none.
ALTER TABLE merchants ADD COLUMN policy_shadow TEXT NOT NULL DEFAULT '';
