-- +goose Up

-- How a job acts on a system outside of the database, from the first intent to do so. execution_id is what that system is given.
CREATE TABLE executions (
	job_id        TEXT   NOT NULL PRIMARY KEY REFERENCES jobs (id),
	execution_id  TEXT   NOT NULL UNIQUE,
	sends         BIGINT NOT NULL, -- attempts that were begun
	sent_at       BIGINT NOT NULL, -- the first of them
	probes        BIGINT NOT NULL, -- since its job became indeterminate
	probed_at     BIGINT,
	next_probe_at BIGINT,          -- none when nobody will ask any more
	decided_by    TEXT   NOT NULL  -- as in a chain: who said what became of it; '' when its own worker did
);
CREATE INDEX executions_to_probe ON executions (next_probe_at) WHERE next_probe_at IS NOT NULL;
CREATE INDEX jobs_indeterminate ON jobs (merchant_id, id) WHERE status = 'indeterminate';
