-- +goose Up

-- What happened, one row an event. body is the entry's exact JSON and what is hashed; the columns beside it repeat its
-- first members for filters ('' where the entry has none). Migration 00003 has the database refuse any change.
CREATE TABLE audit_entries (
	id       TEXT   NOT NULL PRIMARY KEY,
	at       BIGINT NOT NULL,
	merchant TEXT   NOT NULL,
	event    TEXT   NOT NULL,
	call_id  TEXT   NOT NULL,
	job_id   TEXT   NOT NULL,
	actor    TEXT   NOT NULL,
	tool     TEXT   NOT NULL,
	body     TEXT   NOT NULL
);
CREATE INDEX audit_entries_by_call ON audit_entries (call_id) WHERE call_id <> '';
CREATE INDEX audit_entries_by_job ON audit_entries (job_id) WHERE job_id <> '';

-- Entries that have no number yet. Inserted with the entry, deleted with the numbering: a transaction that commits late
-- is still here, where a high-water mark would have passed it by.
CREATE TABLE audit_pending (
	entry_id TEXT NOT NULL PRIMARY KEY
);

-- The order of the record: gapless from 1. The primary key is what keeps two sequencers from forking it.
CREATE TABLE audit_sequence (
	seq      BIGINT NOT NULL PRIMARY KEY,
	entry_id TEXT   NOT NULL UNIQUE
);

-- The Merkle tree: the hashes that entry seq completed, leaf first, 64 hex digits a level.
CREATE TABLE audit_tree (
	seq    BIGINT NOT NULL PRIMARY KEY,
	hashes TEXT   NOT NULL
);

-- Signed roots; note is a c2sp.org/tlog-checkpoint.
CREATE TABLE audit_checkpoints (
	size BIGINT NOT NULL PRIMARY KEY,
	note TEXT   NOT NULL,
	at   BIGINT NOT NULL
);

-- Personal values, of which entries hold only salted digests. The one part of the record that may be forgotten.
CREATE TABLE audit_values (
	entry_id TEXT NOT NULL,
	name     TEXT NOT NULL,
	salt     TEXT NOT NULL,
	value    TEXT NOT NULL,
	PRIMARY KEY (entry_id, name)
);

-- Public keys that have signed checkpoints, for whoever fetches them; to be trusted they must be known from elsewhere.
CREATE TABLE audit_keys (
	key TEXT   NOT NULL PRIMARY KEY,
	at  BIGINT NOT NULL
);

-- Who does a thing that one process at a time should do.
CREATE TABLE leases (
	name  TEXT   NOT NULL PRIMARY KEY,
	owner TEXT   NOT NULL,
	until BIGINT NOT NULL
);
