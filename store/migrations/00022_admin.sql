-- +goose Up

-- Lists of keys and people are read by pages in this order.
DROP INDEX agent_keys_by_merchant;
CREATE INDEX agent_keys_by_merchant ON agent_keys (merchant_id, created_at, id);
CREATE INDEX agent_keys_active ON agent_keys (merchant_id, created_at, id) WHERE revoked_at IS NULL;
CREATE INDEX agent_keys_revoked ON agent_keys (merchant_id, created_at, id) WHERE revoked_at IS NOT NULL;
CREATE INDEX people_by_merchant ON people (merchant_id, created_at, id);
CREATE INDEX people_active ON people (merchant_id, created_at, id) WHERE revoked_at IS NULL;
CREATE INDEX people_revoked ON people (merchant_id, created_at, id) WHERE revoked_at IS NOT NULL;
