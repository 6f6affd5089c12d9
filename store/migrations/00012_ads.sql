-- Ads: accounts with the platforms, campaigns in them, and what each spent and brought a day. Owned by the room shop.
--
-- No platform stands behind them: spend, clicks and orders are made up (shop/ad_spend.go says how), and every answer
-- that tells of them says so. A row of ad_days is a day that is over. The days of an active campaign after spent_until
-- have no row yet; they are worked out when they are asked for, and written down by whoever changes the campaign next.

-- +goose Up

-- version goes up with every change in the account's campaigns too: its row is the lock that their sum hangs on.
CREATE TABLE ad_accounts (
    merchant_id     TEXT   NOT NULL,
    ad_account_id   TEXT   NOT NULL,
    platform        TEXT   NOT NULL CHECK (platform IN ('meta', 'google', 'tiktok')),
    name            TEXT   NOT NULL CHECK (name <> ''),
    month_cap_minor BIGINT NOT NULL CHECK (month_cap_minor > 0), -- all campaigns together, in a calendar month
    status          TEXT   NOT NULL CHECK (status IN ('pending_sign_in', 'connected', 'disconnected')),
    owner_id        TEXT   NOT NULL, -- the principal that connected it; '' for staff
    version         BIGINT NOT NULL DEFAULT 1,
    created_at      BIGINT NOT NULL,
    created_by      TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, ad_account_id)
);
CREATE INDEX ad_accounts_created ON ad_accounts (merchant_id, created_at, ad_account_id);

-- A campaign whose end_on is past has ended, also while its status still says active.
CREATE TABLE ad_campaigns (
    merchant_id        TEXT   NOT NULL,
    ad_campaign_id     TEXT   NOT NULL,
    ad_account_id      TEXT   NOT NULL,
    name               TEXT   NOT NULL CHECK (name <> ''),
    objective          TEXT   NOT NULL CHECK (objective IN ('sales', 'traffic', 'awareness')),
    headline           TEXT   NOT NULL,
    body               TEXT   NOT NULL,
    sku                TEXT   NOT NULL, -- what it shows
    countries          TEXT   NOT NULL, -- JSON array
    daily_budget_minor BIGINT NOT NULL CHECK (daily_budget_minor >= 0),
    start_on           TEXT   NOT NULL, -- first and last day, both included
    end_on             TEXT   NOT NULL,
    status             TEXT   NOT NULL CHECK (status IN ('active', 'paused', 'ended')),
    spent_until        TEXT   NOT NULL, -- days up to this one are in ad_days, or nothing was spent on them
    owner_id           TEXT   NOT NULL, -- the principal that launched it; '' for staff
    version            BIGINT NOT NULL DEFAULT 1,
    created_at         BIGINT NOT NULL,
    created_by         TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, ad_campaign_id),
    CHECK (start_on <= end_on)
);
CREATE INDEX ad_campaigns_running ON ad_campaigns (merchant_id, ad_account_id, status, end_on);
CREATE INDEX ad_campaigns_created ON ad_campaigns (merchant_id, ad_account_id, created_at, ad_campaign_id);

CREATE TABLE ad_days (
    merchant_id      TEXT   NOT NULL,
    ad_campaign_id   TEXT   NOT NULL,
    day              TEXT   NOT NULL,
    ad_account_id    TEXT   NOT NULL,
    budget_minor     BIGINT NOT NULL, -- of the day
    spent_minor      BIGINT NOT NULL CHECK (spent_minor >= 0 AND spent_minor <= budget_minor),
    clicks           BIGINT NOT NULL CHECK (clicks >= 0),
    orders           BIGINT NOT NULL CHECK (orders >= 0), -- that are taken to have come of it
    attributed_minor BIGINT NOT NULL CHECK (attributed_minor >= 0), -- what those orders' goods came to
    PRIMARY KEY (merchant_id, ad_campaign_id, day)
);
CREATE INDEX ad_days_account ON ad_days (merchant_id, ad_account_id, day);

-- Is there anybody in this country?
CREATE INDEX customers_in_country ON customers (merchant_id, country, customer_no);
