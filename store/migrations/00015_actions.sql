-- Actions that agents ask for through dtc_request_action: who may, and what those of the shipped providers leave.

-- +goose Up

-- JSON array of the actions that the key may ask for: provider:name, provider:*, or *.
ALTER TABLE agent_keys ADD COLUMN actions TEXT NOT NULL DEFAULT '[]';

-- Postage for one parcel of an order. Void is for good.
CREATE TABLE shipping_labels (
    merchant_id  TEXT   NOT NULL,
    label_id     TEXT   NOT NULL,
    order_no     TEXT   NOT NULL,
    carrier      TEXT   NOT NULL CHECK (carrier IN ('royal_mail', 'dpd', 'dhl', 'ups')),
    weight_grams BIGINT NOT NULL CHECK (weight_grams BETWEEN 1 AND 30000),
    cost_minor   BIGINT NOT NULL CHECK (cost_minor > 0),
    status       TEXT   NOT NULL CHECK (status IN ('made', 'void')),
    created_at   BIGINT NOT NULL,
    created_by   TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, label_id)
);
CREATE INDEX shipping_labels_order ON shipping_labels (merchant_id, order_no, created_at);

-- Pieces that were taken off the shelf. While they are held they are on no variant's on_hand.
CREATE TABLE quarantine (
    merchant_id TEXT   NOT NULL,
    recall_id   TEXT   NOT NULL,
    sku         TEXT   NOT NULL,
    pieces      BIGINT NOT NULL CHECK (pieces > 0),
    reason_code TEXT   NOT NULL CHECK (reason_code IN ('safety', 'contamination', 'labelling', 'quality', 'supplier_notice')),
    status      TEXT   NOT NULL CHECK (status IN ('held', 'returned')), -- returned: to the shelf
    created_at  BIGINT NOT NULL,
    created_by  TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, recall_id)
);
CREATE INDEX quarantine_sku ON quarantine (merchant_id, sku, created_at);

-- A month's sales for the books, as they were when it was exported. The same sums are exported once.
CREATE TABLE accounting_exports (
    merchant_id TEXT   NOT NULL,
    export_id   TEXT   NOT NULL,
    month       TEXT   NOT NULL, -- YYYY-MM
    csv         TEXT   NOT NULL,
    csv_rows    BIGINT NOT NULL CHECK (csv_rows > 0), -- without the heading
    sha256      TEXT   NOT NULL, -- of csv
    net_minor   BIGINT NOT NULL,
    created_at  BIGINT NOT NULL,
    created_by  TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, export_id),
    UNIQUE (merchant_id, month, sha256)
);
