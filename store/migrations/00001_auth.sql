-- +goose Up

-- A merchant is a tenant: every other row belongs to exactly one.
CREATE TABLE merchants (
	id         TEXT   NOT NULL PRIMARY KEY,
	name       TEXT   NOT NULL UNIQUE,
	created_at BIGINT NOT NULL
);

-- Keys of agents. The secret itself is never stored: secret_sha256 is its only trace.
CREATE TABLE agent_keys (
	id                TEXT   NOT NULL PRIMARY KEY,
	merchant_id       TEXT   NOT NULL REFERENCES merchants (id),
	name              TEXT   NOT NULL,
	secret_sha256     TEXT   NOT NULL UNIQUE,
	hint              TEXT   NOT NULL, -- the first characters, so that a person can tell keys apart
	scopes            TEXT   NOT NULL, -- JSON array of scopes
	requires_approval BIGINT NOT NULL CHECK (requires_approval IN (0, 1)),
	ceiling           TEXT   NOT NULL, -- L0 to L7
	created_at        BIGINT NOT NULL,
	expires_at        BIGINT,
	revoked_at        BIGINT
);
CREATE INDEX agent_keys_by_merchant ON agent_keys (merchant_id, created_at);

-- People who decide. Their tokens are kept as agents' keys are.
CREATE TABLE people (
	id            TEXT   NOT NULL PRIMARY KEY,
	merchant_id   TEXT   NOT NULL REFERENCES merchants (id),
	name          TEXT   NOT NULL,
	secret_sha256 TEXT   NOT NULL UNIQUE,
	hint          TEXT   NOT NULL,
	created_at    BIGINT NOT NULL,
	revoked_at    BIGINT
);
CREATE UNIQUE INDEX people_by_name ON people (merchant_id, name) WHERE revoked_at IS NULL;
