-- Notes on orders, parcels, and what a list of orders is filtered and sorted by. Owned by the room shop.

-- +goose Up

-- What is said to customers, as before but for its kind: the kinds stand in Go (shop/carrier.go), because a list in a
-- CHECK cannot grow without making the table anew, on either engine.
CREATE TABLE mailings_of_any_kind (
    merchant_id TEXT   NOT NULL,
    mailing_id  TEXT   NOT NULL,
    kind        TEXT   NOT NULL CHECK (kind <> ''),
    channel     TEXT   NOT NULL CHECK (channel IN ('email', 'sms')),
    subject     TEXT   NOT NULL DEFAULT '',
    body        TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, mailing_id)
);
INSERT INTO mailings_of_any_kind (merchant_id, mailing_id, kind, channel, subject, body, created_at)
    SELECT merchant_id, mailing_id, kind, channel, subject, body, created_at FROM mailings;
DROP TABLE mailings;
ALTER TABLE mailings_of_any_kind RENAME TO mailings;

-- Pieces of qty_refunded that went back on the shelf. Only what was shipped was ever taken from it.
ALTER TABLE order_lines ADD COLUMN qty_restocked BIGINT NOT NULL DEFAULT 0
    CHECK (qty_restocked >= 0 AND qty_restocked <= qty_shipped AND qty_restocked <= qty_refunded);

-- What was written down about an order. Nothing here is deleted: a note that was taken back is hidden.
CREATE TABLE order_notes (
    merchant_id TEXT   NOT NULL,
    order_no    TEXT   NOT NULL,
    note_id     TEXT   NOT NULL,
    text        TEXT   NOT NULL CHECK (text <> ''),
    tags        TEXT   NOT NULL DEFAULT '[]', -- JSON array of strings
    author      TEXT   NOT NULL, -- an agent's name
    at          BIGINT NOT NULL,
    hidden_at   BIGINT,          -- NULL: shown
    PRIMARY KEY (merchant_id, order_no, note_id)
);

-- One row per parcel. The pieces are taken from variants.on_hand when it goes out.
CREATE TABLE shipments (
    merchant_id TEXT   NOT NULL,
    shipment_no TEXT   NOT NULL,
    order_no    TEXT   NOT NULL,
    shipped_at  BIGINT NOT NULL,
    carrier     TEXT   NOT NULL CHECK (carrier IN ('royal_mail', 'dpd', 'dhl', 'ups', 'other')),
    tracking_no TEXT   NOT NULL DEFAULT '',
    reason      TEXT   NOT NULL,
    actor       TEXT   NOT NULL,
    undone_at   BIGINT, -- NULL: it went out
    PRIMARY KEY (merchant_id, shipment_no)
);
CREATE INDEX shipments_order ON shipments (merchant_id, order_no, shipped_at);

CREATE TABLE shipment_lines (
    merchant_id TEXT   NOT NULL,
    shipment_no TEXT   NOT NULL,
    line        BIGINT NOT NULL, -- of the order
    qty         BIGINT NOT NULL CHECK (qty > 0),
    PRIMARY KEY (merchant_id, shipment_no, line)
);

-- Lists of orders by status or country, each in both of the orders a list has.
CREATE INDEX orders_status ON orders (merchant_id, status, placed_at, order_no);
CREATE INDEX orders_status_total ON orders (merchant_id, status, total_minor, order_no);
CREATE INDEX orders_country ON orders (merchant_id, LOWER(ship_country), placed_at, order_no);
CREATE INDEX orders_country_total ON orders (merchant_id, LOWER(ship_country), total_minor, order_no);
