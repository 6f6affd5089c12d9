-- +goose Up

-- revision goes up with every change of who may do what; whoever makes one holds the row, so that two never cross.
ALTER TABLE merchants ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;

-- What a key is limited to beside its scopes, and who answers for it.
ALTER TABLE agent_keys ADD COLUMN owner_id TEXT REFERENCES people (id); -- NULL: a key of the operator's own
ALTER TABLE agent_keys ADD COLUMN tools TEXT NOT NULL DEFAULT '[]'; -- JSON array of names and patterns; empty: all
ALTER TABLE agent_keys ADD COLUMN resources TEXT NOT NULL DEFAULT '[]'; -- JSON array of type:id and type:*; empty: all
ALTER TABLE agent_keys ADD COLUMN networks TEXT NOT NULL DEFAULT '[]'; -- JSON array of CIDRs; empty: all
ALTER TABLE agent_keys ADD COLUMN per_minute BIGINT NOT NULL DEFAULT 0; -- calls; 0: no limit
ALTER TABLE agent_keys ADD COLUMN burst BIGINT NOT NULL DEFAULT 0;
ALTER TABLE agent_keys ADD COLUMN depth BIGINT NOT NULL DEFAULT 3; -- how many sub-tokens deep it may delegate
ALTER TABLE agent_keys ADD COLUMN version BIGINT NOT NULL DEFAULT 1; -- goes up with every change of what it may do
ALTER TABLE agent_keys ADD COLUMN old_sha256 TEXT; -- of the secret before a rotation, good until old_until
ALTER TABLE agent_keys ADD COLUMN old_until BIGINT;
CREATE UNIQUE INDEX agent_keys_by_old_secret ON agent_keys (old_sha256) WHERE old_sha256 IS NOT NULL;
CREATE INDEX agent_keys_by_owner ON agent_keys (owner_id);

-- version goes up with every change of a person's rights: whoever holds the row holds them.
ALTER TABLE people ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

-- What a role lets its people do, and lets them give to agents.
CREATE TABLE roles (
	merchant_id TEXT NOT NULL REFERENCES merchants (id),
	name        TEXT NOT NULL,
	scopes      TEXT NOT NULL, -- JSON array of scopes
	PRIMARY KEY (merchant_id, name)
);

CREATE TABLE person_roles (
	person_id   TEXT NOT NULL REFERENCES people (id),
	merchant_id TEXT NOT NULL,
	role        TEXT NOT NULL,
	PRIMARY KEY (person_id, role),
	FOREIGN KEY (merchant_id, role) REFERENCES roles (merchant_id, name)
);
CREATE INDEX person_roles_by_role ON person_roles (merchant_id, role);

-- A sub-token is what a principal has given to somebody else: never more than its own reach.
CREATE TABLE sub_tokens (
	id            TEXT   NOT NULL PRIMARY KEY,
	merchant_id   TEXT   NOT NULL REFERENCES merchants (id),
	parent_id     TEXT   NOT NULL, -- key_…, jwt_… or sub_…
	name          TEXT   NOT NULL,
	audience      TEXT   NOT NULL, -- who it was made for, in the words of whoever made it
	secret_sha256 TEXT   NOT NULL UNIQUE,
	hint          TEXT   NOT NULL,
	scopes        TEXT   NOT NULL,
	actions       TEXT   NOT NULL,
	tools         TEXT   NOT NULL,
	resources     TEXT   NOT NULL,
	networks      TEXT   NOT NULL,
	ceiling       TEXT   NOT NULL,
	per_minute    BIGINT NOT NULL,
	burst         BIGINT NOT NULL,
	depth         BIGINT NOT NULL,
	version       BIGINT NOT NULL DEFAULT 1,
	created_at    BIGINT NOT NULL,
	expires_at    BIGINT NOT NULL,
	revoked_at    BIGINT
);
CREATE INDEX sub_tokens_by_parent ON sub_tokens (parent_id, created_at);
CREATE INDEX sub_tokens_by_merchant ON sub_tokens (merchant_id, created_at);

-- The agents that an issuer of JWTs has vouched for. A row is made when one is first seen.
CREATE TABLE jwt_agents (
	id            TEXT   NOT NULL PRIMARY KEY,
	merchant_id   TEXT   NOT NULL REFERENCES merchants (id),
	issuer        TEXT   NOT NULL,
	subject       TEXT   NOT NULL,
	name          TEXT   NOT NULL,
	owner_id      TEXT REFERENCES people (id),
	scopes        TEXT   NOT NULL, -- of the newest token seen
	ceiling       TEXT   NOT NULL,
	requires_approval BIGINT NOT NULL CHECK (requires_approval IN (0, 1)),
	version       BIGINT NOT NULL DEFAULT 1,
	first_seen_at BIGINT NOT NULL,
	last_seen_at  BIGINT NOT NULL,
	revoked_at    BIGINT,
	UNIQUE (merchant_id, issuer, subject)
);
CREATE INDEX jwt_agents_by_owner ON jwt_agents (owner_id);

-- How often a principal was let in and turned away. It may lag behind the record by a second, and is no proof of anything.
CREATE TABLE principal_usage (
	principal_id TEXT   NOT NULL PRIMARY KEY,
	merchant_id  TEXT   NOT NULL,
	uses         BIGINT NOT NULL,
	refusals     BIGINT NOT NULL,
	last_used_at BIGINT NOT NULL
);

-- The state of a rate limit: the theoretical arrival time of GCRA (ITU-T I.371), in unix microseconds.
CREATE TABLE rate_limits (
	principal_id TEXT   NOT NULL PRIMARY KEY,
	merchant_id  TEXT   NOT NULL,
	tat          BIGINT NOT NULL
);

-- The merchants and people of earlier versions: every person could decide about what waits.
-- +goose StatementBegin
INSERT INTO roles (merchant_id, name, scopes)
SELECT m.id, 'manager', '["approvals:read","approvals:resolve"]' FROM merchants m;
-- +goose StatementEnd
INSERT INTO person_roles (person_id, merchant_id, role) SELECT id, merchant_id, 'manager' FROM people;
