-- The catalogue: words to search by, what products are sorted by, and the histories of stock and prices. Owned by the
-- room shop.

-- +goose Up

-- Which words a thing is found by, in lower case. A search is a range of words, all that begin with what is looked for,
-- so they are compared by their bytes whatever the database's collation is. kind says what id is of.
CREATE TABLE search_words (
    merchant_id TEXT NOT NULL,
    kind        TEXT NOT NULL, -- 'product', …
    word        TEXT COLLATE "binary" NOT NULL,
    id          TEXT NOT NULL,
    PRIMARY KEY (merchant_id, kind, word, id)
);
CREATE INDEX search_words_of ON search_words (merchant_id, kind, id);

-- What products are sorted by, kept up to date by whatever changes it: pieces sold and not given back over all time, the
-- lowest and the highest price of the variants.
ALTER TABLE products ADD COLUMN sold BIGINT NOT NULL DEFAULT 0;
ALTER TABLE products ADD COLUMN low_minor BIGINT NOT NULL DEFAULT 0;
ALTER TABLE products ADD COLUMN high_minor BIGINT NOT NULL DEFAULT 0;
CREATE INDEX products_sold ON products (merchant_id, sold, product_code);
CREATE INDEX products_low ON products (merchant_id, low_minor, product_code);
CREATE INDEX products_high ON products (merchant_id, high_minor, product_code);
CREATE INDEX products_in_category ON products (merchant_id, LOWER(category), product_code);

-- What a piece costs the shop; 0: not known. A demo's costs are made up.
ALTER TABLE variants ADD COLUMN cost_minor BIGINT NOT NULL DEFAULT 0 CHECK (cost_minor >= 0);
CREATE INDEX variants_on_hand ON variants (merchant_id, on_hand, product_code);

-- Stock that was booked in or out by hand. Sales and returns are in the orders.
CREATE TABLE stock_moves (
    merchant_id TEXT   NOT NULL,
    sku         TEXT   NOT NULL,
    move_id     TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    delta       BIGINT NOT NULL CHECK (delta <> 0),
    cause       TEXT   NOT NULL CHECK (cause IN ('received', 'damaged', 'stock_count', 'returned', 'lost', 'undo')),
    on_hand     BIGINT NOT NULL CHECK (on_hand >= 0), -- after it
    actor       TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, sku, move_id)
);

-- Prices that were set together, and one row for each of them. A batch that undoes another one names it.
CREATE TABLE price_batches (
    merchant_id TEXT   NOT NULL,
    batch_id    TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    undoes      TEXT,
    reason      TEXT   NOT NULL,
    actor       TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, batch_id)
);

CREATE TABLE price_changes (
    merchant_id TEXT   NOT NULL,
    batch_id    TEXT   NOT NULL,
    sku         TEXT   NOT NULL,
    old_minor   BIGINT NOT NULL,
    new_minor   BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, batch_id, sku)
);
