-- +goose Up

-- What a write did, so that it can be taken back: the call's bytes, its result and what was there before. state 'final' is
-- of an effect that cannot be, and says why.
CREATE TABLE effects (
	id                 TEXT   NOT NULL PRIMARY KEY,
	merchant_id        TEXT   NOT NULL,
	principal_id       TEXT   NOT NULL,
	call_id            TEXT   NOT NULL,
	job_id             TEXT   NOT NULL, -- '' when the call was done at once
	tool               TEXT   NOT NULL,
	tool_schema_sha256 TEXT   NOT NULL,
	args               TEXT   NOT NULL, -- canonical JSON
	resource           TEXT   NOT NULL,
	level              TEXT   NOT NULL, -- as the call was rated
	summary            TEXT   NOT NULL,
	changes            TEXT   NOT NULL, -- JSON array
	result             TEXT   NOT NULL, -- JSON
	image              TEXT   NOT NULL, -- JSON, the tool's own
	state              TEXT   NOT NULL CHECK (state IN ('open', 'undone', 'final')),
	why                TEXT   NOT NULL,
	created_at         BIGINT NOT NULL,
	undo_until         BIGINT,
	undone_at          BIGINT,
	undone_by          TEXT   NOT NULL DEFAULT ''
);
CREATE INDEX effects_by_principal ON effects (merchant_id, principal_id, created_at);
CREATE INDEX effects_by_age ON effects (created_at);
CREATE INDEX effects_by_job ON effects (job_id) WHERE job_id <> '';

-- Who has been handed text that outsiders wrote, until when that counts, and by which call last.
CREATE TABLE taints (
	principal_id TEXT   NOT NULL PRIMARY KEY,
	merchant_id  TEXT   NOT NULL,
	tool         TEXT   NOT NULL,
	call_id      TEXT   NOT NULL,
	until        BIGINT NOT NULL
);

-- One row: the key that seals the cursors of pages. Migration 16 puts it here.
CREATE TABLE page_keys (
	id     TEXT   NOT NULL PRIMARY KEY,
	secret TEXT   NOT NULL -- hex
);
