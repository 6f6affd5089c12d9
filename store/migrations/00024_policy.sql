-- +goose Up

-- What operators say about their agents, one row a version. Migration 00028 has the database refuse any change.
CREATE TABLE policies (
	merchant_id TEXT   NOT NULL REFERENCES merchants (id),
	version     BIGINT NOT NULL,
	sha256      TEXT   NOT NULL,
	source      TEXT   NOT NULL, -- the document, as it was published
	author      TEXT   NOT NULL, -- who published it, as in a chain
	note        TEXT   NOT NULL,
	diff        TEXT   NOT NULL, -- from the version before
	created_at  BIGINT NOT NULL,
	PRIMARY KEY (merchant_id, version)
);

-- The version in force; 0 until there is one, and then nothing is allowed.
ALTER TABLE merchants ADD COLUMN policy_version BIGINT NOT NULL DEFAULT 0;

-- The profile in the policy that bounds an agent. Keys of before had none and went by their scopes alone; they go on so.
ALTER TABLE agent_keys ADD COLUMN profile TEXT NOT NULL DEFAULT '';
UPDATE agent_keys SET profile = 'admin';
ALTER TABLE jwt_agents ADD COLUMN profile TEXT NOT NULL DEFAULT '';
UPDATE jwt_agents SET profile = 'admin';
