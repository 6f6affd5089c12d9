-- +goose Up

-- Which programs can use this schema: those that know schema usable_from or a later one. A migration that only adds leaves it as it is; one that
-- takes away or makes stricter sets it to the first schema whose programs do without.
CREATE TABLE schema_usable (
	id          TEXT   NOT NULL PRIMARY KEY CHECK (id = 'schema'),
	usable_from BIGINT NOT NULL
);

INSERT INTO schema_usable (id, usable_from) VALUES ('schema', 40);
