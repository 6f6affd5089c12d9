package approvals

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// An Execution is how a job acts on a system outside of the database. Its row is there before the first attempt begins, so that a job without
// one has never sent anything.
type Execution struct {
	ID        string    // what the outside system is given: the same on every attempt
	Sends     int64     // attempts that were begun
	SentAt    time.Time // the first of them
	Probes    int64     // since the job became indeterminate
	DecidedBy string    // as in a chain; "" while nobody had to
}

// probeAfter is when the outside system is asked about an indeterminate job, each time counted from the time before.
var probeAfter = []time.Duration{time.Minute, 9 * time.Minute, 50 * time.Minute, 5 * time.Hour, 18 * time.Hour}

// ExecutionID names the execution of a job: a hash over what was approved, or of a job that nobody had to be asked about over what was called.
func ExecutionID(j Job, binding string) string {
	about, what := j.ApprovalID, binding
	if about == "" {
		about, what = j.JobID, j.ArgsHash
	}
	sum := sha256.Sum256([]byte("dtcgate-exec-v1\x00" + about + "\x00" + what))
	return hex.EncodeToString(sum[:16])
}

// FindExecution gives the execution of a job, or store.ErrNotFound when it has never been about to send anything.
func FindExecution(tx *store.Tx, job string) (Execution, error) {
	return store.One(tx, scanExecution, `SELECT `+executionColumns+` FROM executions WHERE job_id = $1`, job)
}

const executionColumns = `execution_id, sends, sent_at, probes, decided_by`

func scanExecution(r store.Row) (x Execution, err error) {
	return x, r.Scan(&x.ID, &x.Sends, store.At(&x.SentAt), &x.Probes, &x.DecidedBy)
}

// Intend puts on record that worker, who holds the running job, is about to send it. The attempt begins once this is committed.
func Intend(tx *store.Tx, j Job, worker, execution string) error {
	if err := Renew(tx, j.JobID, worker); err != nil {
		return err
	}
	_, err := tx.Exec(`INSERT INTO executions (job_id, execution_id, sends, sent_at, probes, decided_by) VALUES ($1, $2, 1, $3, 0, '')
		ON CONFLICT (job_id) DO UPDATE SET sends = executions.sends + 1`, j.JobID, execution, store.Micros(tx.Now))
	if err != nil {
		return fmt.Errorf("storing the intent to send: %w", err)
	}
	return record(tx, j, "job.progress", func(e *audit.Entry) { e.Reason = "Sending it to the outside system as execution " + execution + "." })
}

// Renew is the sign of life of a worker that holds a running job. A job that is held by another is ErrLeaseLost.
func Renew(tx *store.Tx, id, worker string) error { return leaseFor(tx, id, worker, worker, LeaseTime) }

// Yield lets go of a running job, for anybody to take it up after some time.
func Yield(tx *store.Tx, j Job, wait time.Duration) error {
	if wait <= 0 {
		tx.Tell(QueueBell)
	}
	return leaseFor(tx, j.JobID, j.Owner, "", wait)
}

func leaseFor(tx *store.Tx, id, worker, next string, d time.Duration) error {
	n, err := tx.Exec(`UPDATE jobs SET lease_owner = $1, lease_until = $2 WHERE id = $3 AND status = 'running' AND lease_owner = $4`,
		next, store.Micros(tx.Now.Add(d)), id, worker)
	return one(n, err, ErrLeaseLost)
}

// Doubt makes a running job indeterminate: nobody knows whether it happened. With probe the outside system is asked again later.
func Doubt(tx *store.Tx, j Job, why string, probe bool) error {
	return inDoubt(tx, j, tools.JobRunning, why, probe)
}

func inDoubt(tx *store.Tx, j Job, from tools.JobStatus, why string, probe bool) error {
	m := move{from: from, to: tools.JobIndeterminate, reason: "outcome_unknown", why: why, by: byItself}
	if err := moveJob(tx, j, m); err != nil || !probe {
		return err
	}
	_, err := tx.Exec(`UPDATE executions SET next_probe_at = $1 WHERE job_id = $2`, store.Micros(tx.Now.Add(probeAfter[0])), j.JobID)
	return err
}

// Unsent ends a running job that somebody asked to stop, and that nothing was done of at the outside system.
func Unsent(tx *store.Tx, j Job) error {
	return moveJob(tx, j, move{from: tools.JobRunning, to: tools.JobCancelled, reason: "cancelled", why: "The caller stopped it. Nothing was done at the outside system."})
}

// A Finding is what somebody found out about an indeterminate job.
type Finding struct {
	Known   tools.Known // Happened or DidNotHappen
	By      string      // as in a chain
	Why     string      // in words, with who says so
	Reason  string      // theirs, where a person says so
	Channel string      // by which a person says so
	Result  []byte      // where it is known
}

// ByItself decides where the outside system could tell.
const ByItself = byItself

// Ends is the state in which a finding leaves its job.
func (f Finding) Ends() tools.JobStatus {
	if f.Known == tools.Happened {
		return tools.JobSucceeded
	}
	return tools.JobFailed
}

// Reconcile ends an indeterminate job by what was found out. Of two who do so at once the second gets ErrDecided.
func Reconcile(tx *store.Tx, j Job, f Finding) error {
	to, reason, percent := f.Ends(), "", int64(100)
	if f.Known == tools.DidNotHappen {
		reason, percent = string(tools.DidNotHappen), 0
	}
	n, err := tx.Exec(`UPDATE jobs SET status = $1, reason = $2, why = $3, result = $4, progress_percent = $5, updated_at = $6 WHERE id = $7 AND status = 'indeterminate'`,
		string(to), reason, f.Why, string(f.Result), percent, store.Micros(tx.Now), j.JobID)
	if err := one(n, err, ErrDecided); err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE executions SET decided_by = $1, next_probe_at = NULL WHERE job_id = $2`, f.By, j.JobID); err != nil {
		return fmt.Errorf("storing who decided: %w", err)
	}
	return record(tx, j, "job.reconciled", func(e *audit.Entry) {
		e.Actor, e.Chain, e.Status, e.Code = f.By, []string{f.By}, string(to), reason
		if f.Reason != "" {
			e.Transport, e.Personal = f.Channel, map[string]string{"reason": f.Reason}
		}
	})
}

const toProbe = ` FROM jobs WHERE status = 'indeterminate' AND id IN (SELECT job_id FROM executions WHERE next_probe_at <= $1)`

// ProbeDue reports whether the outside system is to be asked about an indeterminate job. It only reads.
func ProbeDue(tx *store.Tx) (bool, error) {
	n, err := store.One(tx, func(r store.Row) (n int, err error) { return n, r.Scan(&n) },
		`SELECT COUNT(*) FROM (SELECT id`+toProbe+` LIMIT 1) AS first`, store.Micros(tx.Now))
	return n > 0, err
}

// NextProbe takes the next indeterminate job that is due to be asked about, and sets the time for the time after. ok is false when there is none.
func NextProbe(tx *store.Tx) (j Job, x Execution, ok bool, err error) {
	j, err = store.One(tx, scanJob, `SELECT `+jobColumns+toProbe+` ORDER BY id LIMIT 1`+tx.SkipLocked(), store.Micros(tx.Now))
	if errors.Is(err, store.ErrNotFound) {
		return j, x, false, nil
	}
	if err == nil {
		x, err = FindExecution(tx, j.JobID)
	}
	if err != nil {
		return j, x, false, fmt.Errorf("taking a job to ask about: %w", err)
	}
	var next any // none after the last
	if at := x.Probes + 1; at < int64(len(probeAfter)) {
		next = store.Micros(tx.Now.Add(probeAfter[at]))
	}
	n, err := tx.Exec(`UPDATE executions SET probes = $1, probed_at = $2, next_probe_at = $3 WHERE job_id = $4 AND probes = $5`,
		x.Probes+1, store.Micros(tx.Now), next, j.JobID, x.Probes)
	return j, x, n == 1 && err == nil, err
}

// Doubtful lists a merchant's indeterminate jobs, oldest first: those that a person should decide about.
func Doubtful(tx *store.Tx, merchant string, limit int) ([]Job, error) {
	return store.All(tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE merchant_id = $1 AND status = 'indeterminate' ORDER BY id LIMIT $2`, merchant, limit)
}

// Recent lists a merchant's jobs, newest first.
func Recent(tx *store.Tx, merchant string, limit int) ([]Job, error) {
	return store.All(tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE merchant_id = $1 ORDER BY id DESC LIMIT $2`, merchant, limit)
}
