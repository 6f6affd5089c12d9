package approvals

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// Enqueue stores a job that waits for nobody.
func Enqueue(tx *store.Tx, j Job) error {
	j.Status = tools.JobQueued
	if err := insertJob(tx, j); err != nil {
		return err
	}
	return record(tx, j, "job.queued", nil)
}

func insertJob(tx *store.Tx, j Job) error {
	chain, err := json.Marshal(j.Chain)
	if err != nil {
		return fmt.Errorf("writing the chain: %w", err)
	}
	after := j.RunAfter
	if after.IsZero() {
		after = tx.Now
	}
	_, err = tx.Exec(`INSERT INTO jobs (id, merchant_id, call_id, principal_id, chain, transport, tool, tool_schema_sha256, args, args_sha256,
			idempotency_key, resource, policy_version, policy_rule, approval_id, status, reason, why, summary, progress_percent, checkpoint,
			result, run_after, attempts, lease_owner, lease_until, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, '', '', $17, 0, '', '', $18, 0, '', 0, $19, $19)`,
		j.JobID, j.Merchant, j.CallID, j.PrincipalID, string(chain), j.Transport, j.Tool, j.SchemaHash, string(j.Args), j.ArgsHash,
		j.Idempotency, j.Resource, j.Policy, j.Rule, j.ApprovalID, string(j.Status), j.Summary, store.Micros(after), store.Micros(tx.Now))
	if err != nil {
		return fmt.Errorf("storing the job: %w", err)
	}
	return nil
}

const due = `((status = 'queued' AND run_after <= $1) OR (status = 'running' AND lease_until <= $1)) AND halted_at IS NULL`

// notEnded are the states in which something may yet come of a job.
const notEnded = `('pending_approval', 'queued', 'running', 'indeterminate')`

// Due reports whether there is a job for a worker to claim. It only reads.
func Due(tx *store.Tx) (bool, error) {
	n, err := store.One(tx, func(r store.Row) (n int, err error) {
		return n, r.Scan(&n)
	}, `SELECT COUNT(*) FROM (SELECT id FROM jobs WHERE `+due+` LIMIT 1) AS first`, store.Micros(tx.Now))
	return n > 0, err
}

// Claim takes the next job that is due for worker: a queued one, or a running one whose lease ran out. ok is false when
// there is none. A queued job comes back still queued, with Status as it was, and is only held by the transaction until
// Start or a final transition; a running one is this worker's from now on.
func Claim(tx *store.Tx, worker string) (j Job, ok bool, err error) {
	j, err = store.One(tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE `+due+` ORDER BY run_after, id LIMIT 1`+tx.SkipLocked(), store.Micros(tx.Now))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return Job{}, false, nil
	case err != nil:
		return Job{}, false, fmt.Errorf("claiming a job: %w", err)
	case j.Status == tools.JobRunning:
		err = lease(tx, j, worker)
	}
	return j, err == nil, err
}

// Take is Claim for one queued job, in a transaction that had to take other locks first. ok is false when it waits no more, or another
// worker holds it.
func Take(tx *store.Tx, id string) (j Job, ok bool, err error) {
	j, err = store.One(tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE id = $1 AND status = 'queued' AND run_after <= $2 AND halted_at IS NULL`+tx.SkipLocked(), id, store.Micros(tx.Now))
	if errors.Is(err, store.ErrNotFound) {
		return Job{}, false, nil
	}
	if err != nil {
		return Job{}, false, fmt.Errorf("taking a job: %w", err)
	}
	return j, true, nil
}

// lease takes over a running job whose lease ran out.
func lease(tx *store.Tx, j Job, worker string) error {
	n, err := tx.Exec(`UPDATE jobs SET lease_owner = $1, lease_until = $2, attempts = attempts + 1, updated_at = $3
		WHERE id = $4 AND status = 'running' AND lease_until <= $3`,
		worker, store.Micros(tx.Now.Add(LeaseTime)), store.Micros(tx.Now), j.JobID)
	return one(n, err, ErrLeaseLost)
}

// Start moves a queued job to running under a lease of worker.
func Start(tx *store.Tx, j Job, worker string) error {
	n, err := tx.Exec(`UPDATE jobs SET status = 'running', lease_owner = $1, lease_until = $2, attempts = attempts + 1, updated_at = $3
		WHERE id = $4 AND status = 'queued'`,
		worker, store.Micros(tx.Now.Add(LeaseTime)), store.Micros(tx.Now), j.JobID)
	if err := one(n, err, ErrLeaseLost); err != nil {
		return err
	}
	return record(tx, j, "job.started", nil)
}

// Hold reads a running job that worker holds, for its next step. A job that is held by another is ErrLeaseLost.
func Hold(tx *store.Tx, id, worker string) (Job, error) {
	j, err := findJob(tx, id)
	if err == nil && (j.Status != tools.JobRunning || j.Owner != worker) {
		err = ErrLeaseLost
	}
	return j, err
}

// Advance stores a step's progress and what the job has done so far, and renews the lease, in the transaction of the
// step's effect.
func Advance(tx *store.Tx, j Job, worker string, p tools.Progress, result []byte) error {
	n, err := tx.Exec(`UPDATE jobs SET checkpoint = $1, progress_percent = $2, result = $3, lease_until = $4, updated_at = $5
		WHERE id = $6 AND status = 'running' AND lease_owner = $7`,
		string(p.Checkpoint), int64(p.Percent), string(result), store.Micros(tx.Now.Add(LeaseTime)), store.Micros(tx.Now), j.JobID, worker)
	if err := one(n, err, ErrLeaseLost); err != nil {
		return err
	}
	return record(tx, j, "job.progress", func(e *audit.Entry) { e.Reason = p.Note })
}

// Succeed ends a job with its result. from is the state it is known to be in: queued for a job that was claimed and done
// in one transaction, running for one that took several.
func Succeed(tx *store.Tx, j Job, from tools.JobStatus, result []byte) error {
	n, err := tx.Exec(`UPDATE jobs SET status = 'succeeded', progress_percent = 100, result = $1, updated_at = $2
		WHERE id = $3 AND status = $4 AND lease_owner = $5`, string(result), store.Micros(tx.Now), j.JobID, string(from), j.Owner)
	if err := one(n, err, ErrLeaseLost); err != nil {
		return err
	}
	return record(tx, j, "job.succeeded", nil)
}

// Fail ends a job with an error code and the reason in words.
func Fail(tx *store.Tx, j Job, from tools.JobStatus, code tools.Code, why string) error {
	return moveJob(tx, j, move{from: from, to: tools.JobFailed, reason: string(code), why: why})
}

// Stop ends a running job between two steps. What it has done until then stands, as its result.
func Stop(tx *store.Tx, j Job, reason, why string) error {
	return moveJob(tx, j, move{from: tools.JobRunning, to: tools.JobCancelled, reason: reason, why: why + " What was done until then stands."})
}

// A move takes a job from one state to another.
type move struct {
	from, to    tools.JobStatus
	reason, why string
	by          string // the actor; empty when it is the job's own principal
}

// moveJob is the compare-and-set of a job's state. It takes the lock of the job's row, and whatever changes a request as
// well does so afterwards: one order for all, so that no two transactions wait for each other.
func moveJob(tx *store.Tx, j Job, m move) error {
	n, err := tx.Exec(`UPDATE jobs SET status = $1, reason = $2, why = $3, updated_at = $4 WHERE id = $5 AND status = $6 AND lease_owner = $7`,
		string(m.to), m.reason, m.why, store.Micros(tx.Now), j.JobID, string(m.from), j.Owner)
	if err := one(n, err, ErrDecided); err != nil {
		return err
	}
	return record(tx, j, "job."+string(m.to), func(e *audit.Entry) {
		e.Status, e.Code = string(m.to), m.reason
		if m.by != "" {
			e.Actor, e.Chain = m.by, above(j.Chain, m.by)
		}
		if m.to == tools.JobFailed {
			e.Reason = m.why
		}
	})
}

// Postpone lets others go before a queued job that could not be judged, and longer each time.
func Postpone(tx *store.Tx, j Job) error {
	wait := min(time.Second<<min(j.Attempts, 6), time.Minute)
	_, err := tx.Exec(`UPDATE jobs SET run_after = $1, attempts = attempts + 1, updated_at = $2 WHERE id = $3 AND status = 'queued'`,
		store.Micros(tx.Now.Add(wait)), store.Micros(tx.Now), j.JobID)
	return err
}

// Queue is the jobs of the database, as the job tools reach them.
type Queue struct{}

var _ tools.Jobs = Queue{}

// Job gives one of p's own jobs.
func (Queue) Job(tx *store.Tx, p auth.Principal, id string) (tools.Job, error) {
	j, err := own(tx, p, id)
	if err != nil {
		return tools.Job{}, err
	}
	return j.asked(tx)
}

// asked gives j as its caller sees it: one that waits for people with whom it waits for, and one that was invalidated with what changed.
func (j Job) asked(tx *store.Tx) (tools.Job, error) {
	invalidated := j.Reason == "invalidated" && j.ApprovalID != ""
	if j.Status != tools.JobPending && !invalidated {
		return j.Job, nil
	}
	r, err := Find(tx, j.Merchant, j.ApprovalID)
	if err != nil {
		return tools.Job{}, fmt.Errorf("reading what %s waits for: %w", j.JobID, err)
	}
	if invalidated {
		j.Changed = r.Changed
	} else {
		j.Approval = r.Told()
	}
	return j.Job, nil
}

func own(tx *store.Tx, p auth.Principal, id string) (Job, error) {
	return store.One(tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE merchant_id = $1 AND principal_id = $2 AND id = $3`,
		p.Merchant, p.ID, id)
}

// Jobs gives a page of p's own jobs, newest first: ids sort by time.
func (Queue) Jobs(tx *store.Tx, p auth.Principal, f tools.JobFilter) ([]tools.Job, int, error) {
	where, args := ` WHERE merchant_id = $1 AND principal_id = $2`, []any{p.Merchant, p.ID}
	if f.Status != "" {
		where, args = where+` AND status = $3`, append(args, string(f.Status))
	}
	total, err := store.One(tx, func(r store.Row) (int, error) {
		var n int
		return n, r.Scan(&n)
	}, `SELECT COUNT(*) FROM jobs`+where, args...)
	if err != nil {
		return nil, 0, err
	}
	if f.Before != "" {
		args = append(args, f.Before)
		where += fmt.Sprintf(` AND id < $%d`, len(args))
	}
	args = append(args, f.Limit)
	found, err := store.All(tx, scanJob, `SELECT `+jobColumns+` FROM jobs`+where+fmt.Sprintf(` ORDER BY id DESC LIMIT $%d`, len(args)), args...)
	if err != nil {
		return nil, 0, err
	}
	jobs := make([]tools.Job, len(found))
	for i, j := range found {
		if jobs[i], err = j.asked(tx); err != nil {
			return nil, 0, err
		}
	}
	return jobs, total, nil
}

// Open reports whether a merchant's calls of a tool about a resource wait or run, and whether p made one of them.
func (Queue) Open(tx *store.Tx, p auth.Principal, tool, resource string) (open, own bool, err error) {
	askers, err := store.All(tx, func(r store.Row) (string, error) {
		var id string
		return id, r.Scan(&id)
	}, `SELECT principal_id FROM jobs WHERE merchant_id = $1 AND resource = $2 AND tool = $3
		AND status IN `+notEnded, p.Merchant, resource, tool)
	if err != nil {
		return false, false, fmt.Errorf("looking for open jobs: %w", err)
	}
	return len(askers) > 0, slices.Contains(askers, p.ID), nil
}

// CancelJob ends one of p's jobs, or of a sub-token's under p, that has not begun, or asks a running one to stop at its next step. A job
// that has ended is given as it is.
func (Queue) CancelJob(tx *store.Tx, p auth.Principal, id, reason string) (tools.Job, error) {
	if err := hold(tx, p, id); err != nil {
		return tools.Job{}, err
	}
	j, err := FindJob(tx, p.Merchant, id)
	if err != nil || j.Status.Final() {
		return j.Job, err
	}
	if j.Status == tools.JobRunning {
		err = askToStop(tx, j, p)
	} else {
		err = cancel(tx, j, p, reason)
	}
	if err != nil {
		return tools.Job{}, err
	}
	j, err = FindJob(tx, p.Merchant, id)
	return j.Job, err
}

// hold keeps everybody else from moving a job of p's, or of a sub-token under p, until the transaction ends.
func hold(tx *store.Tx, p auth.Principal, id string) error {
	n, err := tx.Exec(`UPDATE jobs SET updated_at = $1 WHERE merchant_id = $2 AND id = $4
			AND (principal_id = $3 OR EXISTS (SELECT 1 FROM sub_token_above s WHERE s.above_id = $3 AND s.sub_token_id = jobs.principal_id))`,
		store.Micros(tx.Now), p.Merchant, p.ID, id)
	return one(n, err, store.ErrNotFound)
}

func cancel(tx *store.Tx, j Job, p auth.Principal, reason string) error {
	who, by := "The caller", j.actor()
	if p.ID != j.PrincipalID {
		who, by = p.Name+", from which the caller comes,", p.Chain()[0]
	}
	why := who + " cancelled it before it began."
	if reason != "" {
		why = who + " cancelled it before it began: " + reason
	}
	if j.ApprovalID == "" {
		return moveJob(tx, j, move{from: j.Status, to: tools.JobCancelled, reason: "cancelled", why: why, by: by})
	}
	_, err := Cancel(tx, Request{ID: j.ApprovalID, JobID: j.JobID, Merchant: j.Merchant}, by, why)
	return err
}

func askToStop(tx *store.Tx, j Job, p auth.Principal) error {
	n, err := tx.Exec(`UPDATE jobs SET cancel_requested_at = $1, halted_at = NULL WHERE id = $2 AND status = 'running'`, store.Micros(tx.Now), j.JobID)
	if err := one(n, err, ErrDecided); err != nil {
		return err
	}
	return record(tx, j, "job.stop_asked", func(e *audit.Entry) { e.Actor, e.Chain = p.Chain()[0], p.Chain() })
}

// FindJob gives a merchant's job by id, whoever it belongs to.
func FindJob(tx *store.Tx, merchant, id string) (Job, error) {
	return store.One(tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE merchant_id = $1 AND id = $2`, merchant, id)
}

func findJob(tx *store.Tx, id string) (Job, error) {
	return store.One(tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE id = $1`, id)
}

const jobColumns = `id, merchant_id, call_id, principal_id, chain, transport, tool, tool_schema_sha256, args, args_sha256, idempotency_key,
	resource, policy_version, policy_rule, approval_id, status, reason, why, summary, progress_percent, checkpoint, result, run_after, attempts, lease_owner,
	cancel_requested_at, created_at, updated_at, COALESCE((SELECT MAX(e.id) FROM effects e WHERE e.job_id = jobs.id AND e.job_id <> '' AND e.state = 'open'), '')`

func scanJob(r store.Row) (Job, error) {
	var j Job
	var chain, args, checkpoint, result string
	var stop time.Time
	err := r.Scan(&j.JobID, &j.Merchant, &j.CallID, &j.PrincipalID, &chain, &j.Transport, &j.Tool, &j.SchemaHash, &args, &j.ArgsHash,
		&j.Idempotency, &j.Resource, &j.Policy, &j.Rule, &j.ApprovalID, &j.Status, &j.Reason, &j.Why, &j.Summary, &j.ProgressPercent, &checkpoint, &result,
		store.At(&j.RunAfter), &j.Attempts, &j.Owner, store.At(&stop), store.At(&j.CreatedAt), store.At(&j.UpdatedAt), &j.UndoID)
	if err != nil {
		return Job{}, err
	}
	j.Args, j.Checkpoint, j.StopAsked = []byte(args), []byte(checkpoint), !stop.IsZero()
	if result != "" {
		j.Result = json.RawMessage(result)
	}
	j.NextPollSeconds = pollAfter(j.Status)
	if err := json.Unmarshal([]byte(chain), &j.Chain); err != nil {
		return Job{}, fmt.Errorf("reading the chain of %s: %w", j.JobID, err)
	}
	return j, nil
}

// pollAfter is how many seconds a caller should wait before it asks again: people are slower than workers.
func pollAfter(s tools.JobStatus) int {
	switch s {
	case tools.JobPending:
		return 30
	case tools.JobQueued, tools.JobRunning:
		return 2
	case tools.JobIndeterminate:
		return 300
	}
	return 0
}

// Waiting counts the calls of a principal, and of all sub-tokens under it, that wait: for a person, for their time, for a worker. It walks
// what is open, and neither what was ever asked nor the sub-tokens.
func Waiting(tx *store.Tx, merchant, principal string) (n int, err error) {
	err = tx.QueryRow(`SELECT COUNT(*) FROM (
			SELECT j.principal_id AS asker FROM approvals a JOIN jobs j ON j.id = a.job_id WHERE a.merchant_id = $1 AND a.state IN ('pending', 'approved')
			UNION ALL SELECT principal_id FROM jobs WHERE merchant_id = $1 AND status = 'queued' AND approval_id = '') waiting
		WHERE asker = $2 OR EXISTS (SELECT 1 FROM sub_token_above s WHERE s.above_id = $2 AND s.sub_token_id = asker)`, merchant, principal).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting what waits: %w", err)
	}
	return n, nil
}
