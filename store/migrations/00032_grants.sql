-- +goose Up

-- Calls that people have agreed to beforehand. template says which (JSON), and sha256 seals it; what may be used up stands in it too, and each use is
-- held to that. max_uses, max_money_minor and max_customers are for the CHECK: the day on which a statement forgets.
CREATE TABLE grants (
	id              TEXT   PRIMARY KEY,
	merchant_id     TEXT   NOT NULL REFERENCES merchants (id),
	approval_id     TEXT   NOT NULL UNIQUE, -- in which people agreed
	agent_id        TEXT   NOT NULL,        -- at the root of a chain: key_…, jwt_…
	tool            TEXT   NOT NULL,
	resource        TEXT   NOT NULL,        -- that the call it was made from is about
	template        TEXT   NOT NULL,        -- '' when it was erased: it fits nothing any more
	sha256          TEXT   NOT NULL,
	until_at        BIGINT NOT NULL,
	max_uses        BIGINT NOT NULL,
	max_money_minor BIGINT NOT NULL,
	max_customers   BIGINT NOT NULL,
	uses            BIGINT NOT NULL DEFAULT 0,
	money_minor     BIGINT NOT NULL DEFAULT 0,
	customers       BIGINT NOT NULL DEFAULT 0,
	made_by         TEXT   NOT NULL,        -- as in a chain
	created_at      BIGINT NOT NULL,
	revoked_at      BIGINT,
	revoked_by      TEXT   NOT NULL DEFAULT '',
	CHECK (uses >= 0 AND uses <= max_uses),
	CHECK (money_minor >= 0 AND money_minor <= max_money_minor),
	CHECK (customers >= 0 AND customers <= max_customers)
);
CREATE INDEX grants_of ON grants (merchant_id, agent_id, tool, until_at); -- those that a call may use
CREATE INDEX grants_about ON grants (merchant_id, resource);              -- to erase what they tell
