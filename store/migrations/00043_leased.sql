-- +goose Up

-- Messages under way are few, whatever waits behind them: what is asked about them reads them alone. The next to send to an endpoint is the first of its
-- index. Without the two PostgreSQL reads all that waits once for each message that waits, as long as its statistics know of few. The index
-- of subjects begins with them, so that nothing looks for a subject in that of an endpoint.
CREATE INDEX outbox_leased ON outbox (endpoint_id, lease_until) WHERE state = 'waiting' AND lease_until IS NOT NULL;
DROP INDEX outbox_due;
CREATE INDEX outbox_due ON outbox (endpoint_id, next_at, id) WHERE state = 'waiting';
DROP INDEX outbox_of_subject;
CREATE INDEX outbox_of_subject ON outbox (subject_id, endpoint_id) WHERE state = 'waiting';
