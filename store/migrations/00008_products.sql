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
