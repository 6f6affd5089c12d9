-- What analytics read: sums that are kept up to date by whatever books a refund, so that no question adds up orders.

-- +goose Up

-- Sales by product, summed from the first day to the end of this one: a period's sales are the row of its last day, or
-- the latest before it, minus that of the day before its first. A year costs what a day costs. It replaces the sums by day, which
-- had to be added up.
-- A product has a row for each day on which something of it was sold or given back. The product '' takes refunds that
-- name no line.
DROP TABLE sales_daily;
CREATE TABLE product_sales (
    merchant_id     TEXT   NOT NULL,
    product_code    TEXT   NOT NULL,
    day             TEXT   NOT NULL,
    orders          BIGINT NOT NULL,
    units           BIGINT NOT NULL,
    gross_minor     BIGINT NOT NULL, -- qty * price as sold, before discounts
    refunds_minor   BIGINT NOT NULL, -- goods only
    PRIMARY KEY (merchant_id, product_code, day)
);

-- Sales by category, as the products' are now, a day each: few enough to be added up. The category '' takes refunds that
-- name no line.
CREATE TABLE category_sales (
    merchant_id   TEXT   NOT NULL,
    day           TEXT   NOT NULL,
    category      TEXT   NOT NULL,
    orders        BIGINT NOT NULL, -- with something of the category
    units         BIGINT NOT NULL,
    gross_minor   BIGINT NOT NULL,
    refunds_minor BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, day, category)
);

-- A cohort is the customers who first ordered in one month; months are store-local, 'YYYY-MM'.
CREATE TABLE cohort_months (
    merchant_id TEXT   NOT NULL,
    cohort      TEXT   NOT NULL,
    month       TEXT   NOT NULL,
    customers   BIGINT NOT NULL, -- those of the cohort who ordered in this month
    orders      BIGINT NOT NULL,
    net_minor   BIGINT NOT NULL, -- below zero where more is given back in a month than is sold
    PRIMARY KEY (merchant_id, cohort, month)
);

-- What led to an order, made up by the loader; an order without a row came directly.
CREATE TABLE order_touches (
    merchant_id TEXT   NOT NULL,
    order_no    TEXT   NOT NULL,
    touch_no    BIGINT NOT NULL CHECK (touch_no > 0), -- 1, 2, … the earliest first
    channel     TEXT   NOT NULL CHECK (channel IN ('email', 'sms', 'ads', 'organic', 'direct')),
    campaign_id TEXT   NOT NULL DEFAULT '', -- of messages or of ads; empty: no campaign
    PRIMARY KEY (merchant_id, order_no, touch_no)
);

-- Sales by what is credited with them: each model credits every order once. Summed over a day they are the day's sales.
CREATE TABLE attribution_days (
    merchant_id        TEXT   NOT NULL,
    model              TEXT   NOT NULL CHECK (model IN ('last_touch', 'first_touch', 'linear')),
    day                TEXT   NOT NULL,
    channel            TEXT   NOT NULL,
    campaign_id        TEXT   NOT NULL,
    orders_thousandths BIGINT NOT NULL, -- a shared order counts in parts
    net_minor          BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, model, day, channel, campaign_id)
);
CREATE INDEX attribution_days_campaign ON attribution_days (merchant_id, model, campaign_id, day);

-- Which campaigns went out in a period.
CREATE INDEX campaigns_sent ON campaigns (merchant_id, sent_at);
