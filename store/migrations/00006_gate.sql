-- +goose Up

-- What a principal's write answered, so that a repeat is answered alike and acts once. The row is written in the
-- transaction of the effect it stands for.
CREATE TABLE idempotency (
	merchant_id  TEXT   NOT NULL,
	principal_id TEXT   NOT NULL,
	key          TEXT   NOT NULL,
	tool         TEXT   NOT NULL,
	args_sha256  TEXT   NOT NULL,
	call_id      TEXT   NOT NULL,
	job_id       TEXT   NOT NULL, -- '' when the call was done at once
	status       TEXT   NOT NULL,
	body         TEXT   NOT NULL, -- the answer's exact bytes
	created_at   BIGINT NOT NULL,
	PRIMARY KEY (merchant_id, principal_id, key)
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);
