-- +goose Up

-- Everything that stands above a sub-token: its merchant, the key or JWT agent at the head of its chain, every sub-token between. Chains never
-- change, so neither do these rows; a page of all that is below somebody is one range of them.
CREATE TABLE sub_token_above (
	above_id     TEXT NOT NULL, -- mer_…, key_…, jwt_… or sub_…
	sub_token_id TEXT NOT NULL REFERENCES sub_tokens (id),
	PRIMARY KEY (above_id, sub_token_id)
);
CREATE INDEX sub_token_above_by_sub_token ON sub_token_above (sub_token_id);

INSERT INTO sub_token_above (above_id, sub_token_id)
WITH RECURSIVE chain (above_id, sub_token_id) AS (
	SELECT parent_id, id FROM sub_tokens
	UNION ALL
	SELECT t.parent_id, c.sub_token_id FROM chain c JOIN sub_tokens t ON t.id = c.above_id
)
SELECT above_id, sub_token_id FROM chain
UNION ALL SELECT merchant_id, id FROM sub_tokens;

DROP INDEX sub_tokens_by_parent;
DROP INDEX sub_tokens_by_merchant;
CREATE INDEX sub_tokens_live ON sub_tokens (parent_id, expires_at) WHERE revoked_at IS NULL; -- to count them
CREATE INDEX sub_tokens_by_end ON sub_tokens (expires_at, id); -- to forget them
