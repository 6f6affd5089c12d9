-- +goose Up

-- The trust in an agent that has moved it: the key_… or jwt_… at the root of a chain, whose sub-tokens share it.
CREATE TABLE trust_scores (
	merchant_id TEXT   NOT NULL REFERENCES merchants (id),
	agent_id    TEXT   NOT NULL,
	score       BIGINT NOT NULL, -- billionths of a point, 0 to 100 points, at the time in changed_at; it decays from there
	room        BIGINT NOT NULL, -- billionths of a point that it may still earn, then; it fills from there
	changed_at  BIGINT NOT NULL,
	moves       BIGINT NOT NULL, -- the number of the newest of its moves
	PRIMARY KEY (merchant_id, agent_id)
);

-- What moved it, the newest of each agent.
CREATE TABLE trust_moves (
	merchant_id TEXT   NOT NULL,
	agent_id    TEXT   NOT NULL,
	number      BIGINT NOT NULL,
	kind        TEXT   NOT NULL,
	code        TEXT   NOT NULL, -- of a refusal
	count       BIGINT NOT NULL, -- how many successes one after the other this is about; of all else one
	score_before BIGINT NOT NULL, -- thousandths of a point
	score_after  BIGINT NOT NULL,
	first_at    BIGINT NOT NULL,
	last_at     BIGINT NOT NULL,
	call_id     TEXT   NOT NULL,
	by_id       TEXT   NOT NULL, -- who denied it or gave feedback, as in a chain: person:per_…
	note        TEXT   NOT NULL, -- what they said to it
	PRIMARY KEY (merchant_id, agent_id, number)
);
