-- What is known of a customer at a glance, segments that are put away, and the answer to "what do you hold about me".

-- +goose Up

-- Sums over the customer's orders, kept up to date by whatever changes an order (shop.Desk.recount). Cancelled orders do
-- not count, but for first_order_at: since when somebody is a customer does not change.
ALTER TABLE customers ADD COLUMN orders BIGINT NOT NULL DEFAULT 0;
ALTER TABLE customers ADD COLUMN spent_minor BIGINT NOT NULL DEFAULT 0; -- refunds taken off
ALTER TABLE customers ADD COLUMN last_order_at BIGINT NOT NULL DEFAULT 0; -- 0: none
ALTER TABLE customers ADD COLUMN first_order_at BIGINT NOT NULL DEFAULT 0;
-- When the customer's personal values were removed. Number, country and sums stay.
ALTER TABLE customers ADD COLUMN erased_at BIGINT;

UPDATE customers SET
    orders = (SELECT COUNT(*) FROM orders o
        WHERE o.merchant_id = customers.merchant_id AND o.customer_no = customers.customer_no AND o.status <> 'cancelled'),
    spent_minor = (SELECT CAST(COALESCE(SUM(o.total_minor - o.refunded_minor), 0) AS BIGINT) FROM orders o
        WHERE o.merchant_id = customers.merchant_id AND o.customer_no = customers.customer_no AND o.status <> 'cancelled'),
    last_order_at = (SELECT COALESCE(MAX(o.placed_at), 0) FROM orders o
        WHERE o.merchant_id = customers.merchant_id AND o.customer_no = customers.customer_no AND o.status <> 'cancelled'),
    first_order_at = (SELECT COALESCE(MIN(o.placed_at), 0) FROM orders o
        WHERE o.merchant_id = customers.merchant_id AND o.customer_no = customers.customer_no);

CREATE INDEX customers_newest ON customers (merchant_id, first_order_at, customer_no);
CREATE INDEX customers_spent ON customers (merchant_id, spent_minor, customer_no);
CREATE INDEX customers_orders ON customers (merchant_id, orders, customer_no);
CREATE INDEX customers_last_order ON customers (merchant_id, last_order_at, customer_no);

-- Who has a tag: the same as customers.tags, the other way round. Tags are in lower case here.
CREATE TABLE customer_tags (
    merchant_id TEXT   NOT NULL,
    tag         TEXT   NOT NULL,
    customer_no TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, tag, customer_no)
);
CREATE INDEX customer_tags_customer ON customer_tags (merchant_id, customer_no);

-- A segment that is put away is used by no campaign any more. Its name stays taken.
ALTER TABLE segments ADD COLUMN archived_at BIGINT;
CREATE INDEX campaigns_segment ON campaigns (merchant_id, segment_id, status);

-- All that the shop holds about one customer, put together once and kept for a few days. The body waits here until it
-- is written as a file; the token that opens it is stored as its hash only.
CREATE TABLE dossiers (
    merchant_id  TEXT   NOT NULL,
    dossier_id   TEXT   NOT NULL,
    customer_no  TEXT   NOT NULL,
    token_sha256 TEXT   NOT NULL UNIQUE,
    body         TEXT   NOT NULL, -- '' once the file is written
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    written_at   BIGINT, -- NULL: waits for the file
    PRIMARY KEY (merchant_id, dossier_id)
);
CREATE INDEX dossiers_customer ON dossiers (merchant_id, customer_no);
CREATE INDEX dossiers_waiting ON dossiers (created_at) WHERE written_at IS NULL;
CREATE INDEX dossiers_expiry ON dossiers (expires_at);

-- How what is about one customer is found, to be shown or erased.
CREATE INDEX deliveries_customer ON deliveries (merchant_id, customer_no);
CREATE INDEX tickets_customer ON tickets (merchant_id, customer_no);
CREATE INDEX jobs_by_resource ON jobs (merchant_id, resource);
CREATE INDEX effects_by_resource ON effects (merchant_id, resource);
CREATE INDEX idempotency_by_job ON idempotency (job_id) WHERE job_id <> '';

-- What an entry is about, beside its personal values, so that those about a customer can be erased. The entry itself says
-- it too, in its body, which never changes.
ALTER TABLE audit_values ADD COLUMN merchant TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_values ADD COLUMN about TEXT NOT NULL DEFAULT '';
CREATE INDEX audit_values_about ON audit_values (merchant, about) WHERE about <> '';
