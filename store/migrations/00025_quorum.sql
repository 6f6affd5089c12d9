-- +goose Up

-- Whose consent a request takes (JSON), bound by rule_sha256 of its binding. '' is of an earlier version: one person who may decide.
ALTER TABLE approvals ADD COLUMN rule TEXT NOT NULL DEFAULT '';

-- A vote that decides alone. A person has one vote; while the request is pending a yes may become a no or an override, and nothing else.
ALTER TABLE approval_votes ADD COLUMN overrides BIGINT NOT NULL DEFAULT 0 CHECK (overrides IN (0, 1));
