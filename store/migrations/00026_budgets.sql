-- +goose Up

-- How much of a budget a subject has used up in one period. reserved belongs to calls that wait or run (budget_holds), spent to those that are done.
-- allowed is the limit under which something was last taken: nothing is taken beyond it, and the CHECK is there for the day on which a statement forgets.
CREATE TABLE budget_counters (
	merchant_id TEXT   NOT NULL REFERENCES merchants (id),
	budget      TEXT   COLLATE "binary" NOT NULL, -- as the policy names it: limits.budgets.NAME, profiles.NAME.ceiling.money
	subject     TEXT   COLLATE "binary" NOT NULL, -- whose calls count together: key:…, merchant:…
	unit        TEXT   COLLATE "binary" NOT NULL, -- money:GBP (in minor units), customers, calls
	from_at     BIGINT NOT NULL,
	until_at    BIGINT NOT NULL,                  -- the first moment after the period
	allowed     BIGINT NOT NULL,
	reserved    BIGINT NOT NULL CHECK (reserved >= 0),
	spent       BIGINT NOT NULL CHECK (spent >= 0),
	PRIMARY KEY (merchant_id, budget, subject, unit, from_at),
	CHECK (reserved <= allowed - spent) -- so and not as a sum, which could be too large for the type
);
CREATE INDEX budget_counters_ended ON budget_counters (until_at); -- to forget them

-- What a call has taken of a counter: reserved until settled_at is set. Of a call that ends without an effect the rows are deleted.
CREATE TABLE budget_holds (
	merchant_id TEXT   NOT NULL,
	call_id     TEXT   NOT NULL,
	budget      TEXT   COLLATE "binary" NOT NULL,
	subject     TEXT   COLLATE "binary" NOT NULL,
	unit        TEXT   COLLATE "binary" NOT NULL,
	from_at     BIGINT NOT NULL,
	amount      BIGINT NOT NULL CHECK (amount > 0),
	settled_at  BIGINT,
	PRIMARY KEY (merchant_id, call_id, budget, subject, unit, from_at)
);
CREATE INDEX budget_holds_settled ON budget_holds (settled_at) WHERE settled_at IS NOT NULL; -- to forget them
