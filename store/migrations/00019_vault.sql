-- What opens outside systems, by person and provider (package auth/vault).

-- +goose Up

-- One grant of a person at a provider. The tokens stand in ciphertext alone; version counts its changes and is part of what the
-- ciphertext is bound to. A revoked or broken connection holds none.
CREATE TABLE connections (
	id          TEXT   NOT NULL PRIMARY KEY, -- con_…
	merchant_id TEXT   NOT NULL REFERENCES merchants (id),
	person_id   TEXT   NOT NULL REFERENCES people (id),
	provider    TEXT   NOT NULL,
	state       TEXT   NOT NULL CHECK (state IN ('connected', 'broken', 'revoked')),
	account     TEXT   NOT NULL, -- what the provider calls the account; '' when it does not say
	scopes      TEXT   NOT NULL, -- JSON array, as granted
	ciphertext  TEXT   NOT NULL, -- base64
	key_id      TEXT   NOT NULL, -- of the master key that sealed it
	version     BIGINT NOT NULL CHECK (version > 0),
	expires_at  BIGINT,          -- of the access token; NULL: never
	refresh_at  BIGINT,          -- when the timer takes it up; NULL: there is nothing to refresh
	lease_owner TEXT   NOT NULL DEFAULT '', -- who is asking the provider just now
	lease_until BIGINT,
	attempts    BIGINT NOT NULL DEFAULT 0,  -- failures since the last success
	last_error  TEXT   NOT NULL DEFAULT '', -- a code of ours, never the provider's text
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	revoked_at  BIGINT
);
CREATE UNIQUE INDEX connections_live ON connections (merchant_id, person_id, provider) WHERE state <> 'revoked';
CREATE INDEX connections_by_merchant ON connections (merchant_id, created_at);
CREATE INDEX connections_due ON connections (refresh_at) WHERE state = 'connected';
CREATE INDEX connections_by_key ON connections (key_id, id) WHERE ciphertext <> '';
CREATE INDEX connections_revoked ON connections (revoked_at) WHERE state = 'revoked';

-- A person who was sent to a provider and has not come back yet: one for each session and provider.
CREATE TABLE connection_ceremonies (
	session_id   TEXT   NOT NULL, -- ses_…: who comes back with the state must come with it
	provider     TEXT   NOT NULL,
	merchant_id  TEXT   NOT NULL,
	person_id    TEXT   NOT NULL,
	state_sha256 TEXT   NOT NULL UNIQUE,
	verifier     TEXT   NOT NULL, -- of PKCE, sealed
	created_at   BIGINT NOT NULL,
	expires_at   BIGINT NOT NULL,
	used_at      BIGINT,
	PRIMARY KEY (session_id, provider)
);
CREATE INDEX connection_ceremonies_by_age ON connection_ceremonies (expires_at);
