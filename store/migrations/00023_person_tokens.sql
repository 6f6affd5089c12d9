-- +goose Up

-- What a person's token carries at most: the rights that its person had when it was made (JSON array of scopes). Somebody else has seen it, and gains
-- nothing when the person is given more. NULL: a token of an earlier version, which carries everything.
ALTER TABLE people ADD COLUMN token_scopes TEXT;
