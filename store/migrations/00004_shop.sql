-- The embedded shop: what the dtc_* tools act on. Owned by the room shop.
--
-- Money is BIGINT minor units of shops.currency. Times are unix microseconds; days are TEXT 'YYYY-MM-DD' in the
-- store's own time zone (Europe/London), months 'YYYY-MM'. JSON is TEXT.
-- The CHECKs carry the money rules: whatever a bug in Go asks for, nothing is refunded beyond what was paid, no
-- discount gives away more than its cap, no stock goes below zero.
-- Children of orders have no foreign keys: a merchant is loaded by the hundred thousand rows, and the loader has
-- already checked each reference, with file and line.

-- +goose Up

-- One row per merchant that has a shop. Only a shop whose source says "demo" may ever be replaced by a load.
CREATE TABLE shops (
    merchant_id TEXT   NOT NULL PRIMARY KEY,
    currency    TEXT   NOT NULL,
    source      TEXT   NOT NULL CHECK (source IN ('generated', 'import', 'live')),
    seed        BIGINT,             -- of a generated shop
    attribution TEXT   NOT NULL,    -- whose data it is and under which licence; shown wherever the data is loaded
    shifted_weeks BIGINT NOT NULL DEFAULT 0, -- how far the load moved the dates; source_placed_at has the original
    data_until  BIGINT NOT NULL,    -- the last event the sales tables know of
    loaded_at   BIGINT NOT NULL
);

CREATE TABLE products (
    merchant_id  TEXT   NOT NULL,
    product_code TEXT   NOT NULL,
    title        TEXT   NOT NULL CHECK (title <> ''),
    description  TEXT   NOT NULL DEFAULT '',
    category     TEXT   NOT NULL,
    status       TEXT   NOT NULL CHECK (status IN ('active', 'archived')),
    tags         TEXT   NOT NULL DEFAULT '[]', -- JSON array of strings
    version      BIGINT NOT NULL DEFAULT 1,
    PRIMARY KEY (merchant_id, product_code)
);
CREATE INDEX products_title ON products (merchant_id, title, product_code);
CREATE INDEX products_category ON products (merchant_id, category);

CREATE TABLE variants (
    merchant_id  TEXT   NOT NULL,
    sku          TEXT   NOT NULL,
    product_code TEXT   NOT NULL,
    title        TEXT   NOT NULL CHECK (title <> ''),
    option_name  TEXT   NOT NULL DEFAULT '', -- "Red", "Large"; empty when the product has one variant
    price_minor  BIGINT NOT NULL CHECK (price_minor >= 0),
    on_hand      BIGINT NOT NULL CHECK (on_hand >= 0),
    version      BIGINT NOT NULL DEFAULT 1,
    PRIMARY KEY (merchant_id, sku)
);
CREATE INDEX variants_product ON variants (merchant_id, product_code, sku);

CREATE TABLE customers (
    merchant_id       TEXT   NOT NULL,
    customer_no       TEXT   NOT NULL,
    country           TEXT   NOT NULL,
    email             TEXT   NOT NULL,
    phone             TEXT   NOT NULL DEFAULT '', -- empty: none known
    email_consent_at  BIGINT,                     -- NULL: may not be written to
    sms_consent_at    BIGINT,
    contact_synthetic BIGINT NOT NULL CHECK (contact_synthetic IN (0, 1)), -- 1: made up by the loader
    tags              TEXT   NOT NULL DEFAULT '[]',
    note              TEXT   NOT NULL DEFAULT '', -- the customer's own words: never trusted
    last_contacted_at BIGINT,                     -- last campaign message
    version           BIGINT NOT NULL DEFAULT 1,
    PRIMARY KEY (merchant_id, customer_no),
    CHECK (sms_consent_at IS NULL OR phone <> '')
);

CREATE TABLE orders (
    merchant_id      TEXT   NOT NULL,
    order_no         TEXT   NOT NULL,
    customer_no      TEXT   NOT NULL,
    placed_at        BIGINT NOT NULL,
    source_placed_at BIGINT NOT NULL, -- as in the source; equals placed_at unless the load moved the dates
    ship_country     TEXT   NOT NULL,
    status           TEXT   NOT NULL CHECK (status IN ('open', 'fulfilled', 'part_refunded', 'refunded', 'cancelled')),
    items            BIGINT NOT NULL CHECK (items > 0), -- pieces, not lines
    subtotal_minor   BIGINT NOT NULL CHECK (subtotal_minor >= 0), -- sum of qty * unit_price_minor
    shipping_minor   BIGINT NOT NULL CHECK (shipping_minor >= 0),
    discount_minor   BIGINT NOT NULL CHECK (discount_minor >= 0 AND discount_minor <= subtotal_minor),
    total_minor      BIGINT NOT NULL CHECK (total_minor = subtotal_minor + shipping_minor - discount_minor),
    refunded_minor   BIGINT NOT NULL DEFAULT 0 CHECK (refunded_minor >= 0 AND refunded_minor <= total_minor),
    customer_note    TEXT   NOT NULL DEFAULT '', -- the customer's own words: never trusted
    version          BIGINT NOT NULL DEFAULT 1,
    PRIMARY KEY (merchant_id, order_no),
    CHECK (status <> 'part_refunded' OR (refunded_minor > 0 AND refunded_minor < total_minor)),
    CHECK (status <> 'refunded' OR refunded_minor = total_minor)
);
CREATE INDEX orders_placed ON orders (merchant_id, placed_at, order_no);
CREATE INDEX orders_customer ON orders (merchant_id, customer_no, placed_at);
CREATE INDEX orders_total ON orders (merchant_id, total_minor, order_no);

CREATE TABLE order_lines (
    merchant_id      TEXT   NOT NULL,
    order_no         TEXT   NOT NULL,
    line             BIGINT NOT NULL CHECK (line > 0), -- 1, 2, … within the order
    sku              TEXT   NOT NULL,
    title            TEXT   NOT NULL, -- as sold
    qty              BIGINT NOT NULL CHECK (qty > 0),
    unit_price_minor BIGINT NOT NULL CHECK (unit_price_minor >= 0),
    qty_refunded     BIGINT NOT NULL DEFAULT 0 CHECK (qty_refunded >= 0 AND qty_refunded <= qty),
    qty_shipped      BIGINT NOT NULL DEFAULT 0 CHECK (qty_shipped >= 0 AND qty_shipped <= qty),
    PRIMARY KEY (merchant_id, order_no, line)
);
-- Who bought this SKU: the segments' question.
CREATE INDEX order_lines_sku ON order_lines (merchant_id, sku, order_no);

CREATE TABLE order_events (
    merchant_id TEXT   NOT NULL,
    order_no    TEXT   NOT NULL,
    event_no    BIGINT NOT NULL CHECK (event_no > 0), -- 1, 2, … within the order
    at          BIGINT NOT NULL,
    what        TEXT   NOT NULL, -- "placed", "shipped", "refunded £12.30"
    actor       TEXT   NOT NULL, -- "customer", "staff", an agent's name
    PRIMARY KEY (merchant_id, order_no, event_no)
);

CREATE TABLE refunds (
    merchant_id  TEXT   NOT NULL,
    refund_no    TEXT   NOT NULL,
    order_no     TEXT   NOT NULL,
    refunded_at  BIGINT NOT NULL,
    amount_minor BIGINT NOT NULL CHECK (amount_minor > 0),
    cause        TEXT   NOT NULL CHECK (cause IN ('damaged', 'not_received', 'wrong_item', 'changed_mind', 'goodwill',
                                                  'duplicate', 'fraud', 'unknown')),
    reason       TEXT   NOT NULL DEFAULT '',
    actor        TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, refund_no)
);
CREATE INDEX refunds_order ON refunds (merchant_id, order_no, refunded_at);

-- Which pieces a refund is for. A refund may name none (goodwill), or lines worth less than its amount.
CREATE TABLE refund_lines (
    merchant_id  TEXT   NOT NULL,
    refund_no    TEXT   NOT NULL,
    line         BIGINT NOT NULL, -- of the order
    qty          BIGINT NOT NULL CHECK (qty > 0),
    amount_minor BIGINT NOT NULL CHECK (amount_minor >= 0),
    PRIMARY KEY (merchant_id, refund_no, line)
);

CREATE TABLE discounts (
    merchant_id          TEXT   NOT NULL,
    discount_id          TEXT   NOT NULL,
    code                 TEXT   NOT NULL CHECK (code <> '' AND code = upper(code)),
    percent_off          BIGINT NOT NULL CHECK (percent_off BETWEEN 1 AND 90),
    skus                 TEXT   NOT NULL DEFAULT '[]', -- JSON array; empty: every SKU
    max_uses             BIGINT NOT NULL CHECK (max_uses > 0),
    uses                 BIGINT NOT NULL DEFAULT 0 CHECK (uses >= 0 AND uses <= max_uses),
    max_given_away_minor BIGINT NOT NULL CHECK (max_given_away_minor > 0),
    given_away_minor     BIGINT NOT NULL DEFAULT 0 CHECK (given_away_minor >= 0 AND given_away_minor <= max_given_away_minor),
    start_on             TEXT   NOT NULL, -- first and last day, both included
    end_on               TEXT   NOT NULL,
    status               TEXT   NOT NULL CHECK (status IN ('active', 'paused', 'ended')),
    version              BIGINT NOT NULL DEFAULT 1,
    created_at           BIGINT NOT NULL,
    created_by           TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, discount_id),
    UNIQUE (merchant_id, code),
    CHECK (start_on <= end_on)
);

-- A segment is a rule, evaluated when it is used: nobody stays in one after opting out or buying again.
CREATE TABLE segments (
    merchant_id TEXT   NOT NULL,
    segment_id  TEXT   NOT NULL,
    name        TEXT   NOT NULL CHECK (name <> ''), -- "test-…": people of the shop's own, for trial sends
    rule        TEXT   NOT NULL, -- JSON, shop.Rule
    created_at  BIGINT NOT NULL,
    created_by  TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, segment_id),
    UNIQUE (merchant_id, name)
);

CREATE TABLE campaigns (
    merchant_id      TEXT   NOT NULL,
    campaign_id      TEXT   NOT NULL,
    name             TEXT   NOT NULL CHECK (name <> ''),
    channel          TEXT   NOT NULL CHECK (channel IN ('email', 'sms')),
    segment_id       TEXT,             -- NULL: everybody who consented to the channel
    subject          TEXT   NOT NULL DEFAULT '',
    body             TEXT   NOT NULL,
    status           TEXT   NOT NULL CHECK (status IN ('draft', 'scheduled', 'sending', 'sent', 'paused')),
    scheduled_at     BIGINT,
    sent_at          BIGINT,           -- when the last batch went out
    sent_to          BIGINT NOT NULL DEFAULT 0 CHECK (sent_to >= 0),
    opened           BIGINT NOT NULL DEFAULT 0 CHECK (opened >= 0 AND opened <= sent_to),
    clicked          BIGINT NOT NULL DEFAULT 0 CHECK (clicked >= 0 AND clicked <= sent_to),
    opted_out        BIGINT NOT NULL DEFAULT 0 CHECK (opted_out >= 0 AND opted_out <= sent_to),
    attributed_minor BIGINT NOT NULL DEFAULT 0 CHECK (attributed_minor >= 0),
    version          BIGINT NOT NULL DEFAULT 1,
    created_at       BIGINT NOT NULL,
    created_by       TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, campaign_id),
    CHECK (status <> 'draft' OR sent_to = 0)
);
CREATE INDEX campaigns_created ON campaigns (merchant_id, created_at, campaign_id);

-- What is said to many people at once: the text as it was when the send began, whatever happens to the campaign.
-- mailing_id is the campaign's id, or a notice's own.
CREATE TABLE mailings (
    merchant_id TEXT   NOT NULL,
    mailing_id  TEXT   NOT NULL,
    kind        TEXT   NOT NULL CHECK (kind IN ('campaign', 'refund_notice')),
    channel     TEXT   NOT NULL CHECK (channel IN ('email', 'sms')),
    subject     TEXT   NOT NULL DEFAULT '',
    body        TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, mailing_id)
);

-- One row per customer and mailing: a send that is resumed or repeated reaches nobody twice, by this key.
-- The rows of one batch are inserted in one transaction; the carrier hands a batch over whole.
CREATE TABLE deliveries (
    merchant_id TEXT   NOT NULL,
    mailing_id  TEXT   NOT NULL,
    customer_no TEXT   NOT NULL,
    batch       BIGINT NOT NULL CHECK (batch > 0),
    address     TEXT   NOT NULL CHECK (address <> ''), -- e-mail address or phone number
    created_at  BIGINT NOT NULL,
    carried_at  BIGINT, -- NULL: waits for the carrier
    PRIMARY KEY (merchant_id, mailing_id, customer_no)
);
CREATE INDEX deliveries_waiting ON deliveries (created_at, merchant_id, mailing_id, batch) WHERE carried_at IS NULL;

CREATE TABLE tickets (
    merchant_id TEXT   NOT NULL,
    ticket_id   TEXT   NOT NULL,
    customer_no TEXT   NOT NULL,
    order_no    TEXT,
    queue       TEXT   NOT NULL CHECK (queue IN ('returns', 'delivery', 'product', 'review', 'privacy')),
    status      TEXT   NOT NULL CHECK (status IN ('open', 'waiting', 'closed')),
    opened_at   BIGINT NOT NULL,
    version     BIGINT NOT NULL DEFAULT 1,
    PRIMARY KEY (merchant_id, ticket_id)
);
CREATE INDEX tickets_opened ON tickets (merchant_id, opened_at, ticket_id);

CREATE TABLE ticket_messages (
    merchant_id TEXT   NOT NULL,
    ticket_id   TEXT   NOT NULL,
    message_no  BIGINT NOT NULL CHECK (message_no > 0),
    author      TEXT   NOT NULL CHECK (author IN ('customer', 'staff')),
    body        TEXT   NOT NULL, -- of a customer: never trusted
    at          BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, ticket_id, message_no)
);

-- Sales, added up. The sums are by store-local day: what was sold by the day of the order, what was given back by the
-- day of the refund. country is where the order was shipped to. The three tables hold the same money, cut differently;
-- gross, refunds and units summed over any of them agree.

-- By SKU. The row with sku '' takes refunds that name no line.
-- product_orders counts the orders in which this SKU is the first of its product, category_orders those in which it is
-- the first of its category: summed over a product's or a category's SKUs they count each order once.
CREATE TABLE sales_daily (
    merchant_id     TEXT   NOT NULL,
    day             TEXT   NOT NULL,
    sku             TEXT   NOT NULL,
    country         TEXT   NOT NULL,
    units           BIGINT NOT NULL,
    gross_minor     BIGINT NOT NULL, -- qty * price as sold, before discounts
    product_orders  BIGINT NOT NULL,
    category_orders BIGINT NOT NULL,
    units_refunded  BIGINT NOT NULL,
    refunds_minor   BIGINT NOT NULL, -- goods only
    PRIMARY KEY (merchant_id, day, sku, country)
);

-- By order: what no SKU has of its own besides the sums. Small, so a whole year is read in a moment.
CREATE TABLE sales_totals (
    merchant_id            TEXT   NOT NULL,
    day                    TEXT   NOT NULL,
    country                TEXT   NOT NULL,
    orders                 BIGINT NOT NULL,
    units                  BIGINT NOT NULL,
    gross_minor            BIGINT NOT NULL,
    discount_minor         BIGINT NOT NULL,
    shipping_minor         BIGINT NOT NULL,
    units_refunded         BIGINT NOT NULL,
    refunds_minor          BIGINT NOT NULL, -- goods only: net = gross - discount - refunds
    shipping_refunds_minor BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, day, country)
);

-- By month, for best sellers.
CREATE TABLE sales_monthly (
    merchant_id    TEXT   NOT NULL,
    month          TEXT   NOT NULL,
    sku            TEXT   NOT NULL,
    units          BIGINT NOT NULL,
    gross_minor    BIGINT NOT NULL,
    units_refunded BIGINT NOT NULL,
    refunds_minor  BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, month, sku)
);
CREATE INDEX sales_monthly_sku ON sales_monthly (merchant_id, sku);
