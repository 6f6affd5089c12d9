-- +goose Up

-- The kill switch: the writes of agents are stopped from frozen_at until lifted_at. Rows are never deleted. A subject is any link of a
-- chain, and stops all that stands below it; '' stops every agent of the merchant.
CREATE TABLE freezes (
	id          TEXT   NOT NULL PRIMARY KEY, -- frz_…
	merchant_id TEXT   NOT NULL REFERENCES merchants (id),
	subject_id  TEXT   NOT NULL, -- key_…, sub_…, jwt_…, per_…; '': all
	reason      TEXT   NOT NULL, -- agents are told
	frozen_by   TEXT   NOT NULL, -- as in a chain
	frozen_at   BIGINT NOT NULL,
	lift_reason TEXT   NOT NULL DEFAULT '',
	lifted_by   TEXT   NOT NULL DEFAULT '',
	lifted_at   BIGINT
);
CREATE UNIQUE INDEX freezes_open ON freezes (merchant_id, subject_id) WHERE lifted_at IS NULL;
CREATE INDEX freezes_by_time ON freezes (merchant_id, id);

-- A job that a worker found frozen is left alone until a freeze of its merchant is lifted.
ALTER TABLE jobs ADD COLUMN halted_at BIGINT;
CREATE INDEX jobs_halted ON jobs (merchant_id, id) WHERE halted_at IS NOT NULL;
