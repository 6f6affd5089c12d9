-- Tickets that are worked on, drafts of replies, and the pages of the store front. Owned by the room shop.

-- +goose Up

-- What a review gives; 0: it is none.
ALTER TABLE tickets ADD COLUMN stars BIGINT NOT NULL DEFAULT 0 CHECK (stars BETWEEN 0 AND 5);
-- How many messages and waiting drafts a ticket has. Whoever adds one moves the count, and holds the ticket's row by it.
ALTER TABLE tickets ADD COLUMN messages BIGINT NOT NULL DEFAULT 0;
ALTER TABLE tickets ADD COLUMN drafts BIGINT NOT NULL DEFAULT 0 CHECK (drafts BETWEEN 0 AND 20);
ALTER TABLE tickets ADD COLUMN closed_by TEXT NOT NULL DEFAULT '';
UPDATE tickets SET messages = (SELECT COUNT(*) FROM ticket_messages m
    WHERE m.merchant_id = tickets.merchant_id AND m.ticket_id = tickets.ticket_id);
CREATE INDEX tickets_queue ON tickets (merchant_id, queue, opened_at, ticket_id);
CREATE INDEX tickets_status ON tickets (merchant_id, status, opened_at, ticket_id);
CREATE INDEX tickets_queue_status ON tickets (merchant_id, queue, status, opened_at, ticket_id);

-- Who of the staff, or which agent for them, wrote a message; empty for a customer's.
ALTER TABLE ticket_messages ADD COLUMN written_by TEXT NOT NULL DEFAULT '';

-- A draft waits for staff and reaches nobody. It stops waiting when it is taken back or when the ticket gets a reply.
CREATE TABLE ticket_drafts (
    merchant_id TEXT   NOT NULL,
    ticket_id   TEXT   NOT NULL,
    draft_id    TEXT   NOT NULL,
    body        TEXT   NOT NULL CHECK (body <> ''),
    advice      TEXT   NOT NULL DEFAULT '', -- for staff only
    created_at  BIGINT NOT NULL,
    created_by  TEXT   NOT NULL,
    deleted_at  BIGINT,
    replied_at  BIGINT,
    PRIMARY KEY (merchant_id, ticket_id, draft_id)
);
CREATE INDEX ticket_drafts_waiting ON ticket_drafts (merchant_id, ticket_id, created_at, draft_id)
    WHERE deleted_at IS NULL AND replied_at IS NULL;

-- The pages as visitors see them.
CREATE TABLE pages (
    merchant_id  TEXT   NOT NULL,
    page         TEXT   NOT NULL CHECK (page <> ''), -- the last part of its address
    title        TEXT   NOT NULL CHECK (title <> ''),
    body         TEXT   NOT NULL, -- Markdown
    version      BIGINT NOT NULL DEFAULT 1,
    published_at BIGINT NOT NULL,
    published_by TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, page)
);

-- Every version that was ever published, the current one too. Rows are only added.
CREATE TABLE page_versions (
    merchant_id  TEXT   NOT NULL,
    page         TEXT   NOT NULL,
    version      BIGINT NOT NULL CHECK (version > 0),
    title        TEXT   NOT NULL,
    body         TEXT   NOT NULL,
    published_at BIGINT NOT NULL,
    published_by TEXT   NOT NULL,
    PRIMARY KEY (merchant_id, page, version)
);
