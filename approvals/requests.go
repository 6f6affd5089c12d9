package approvals

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// Park stores a job and the question it waits for. The request's JobID, hashes, words and times are filled in here.
func Park(tx *store.Tx, j Job, r Request) (Request, error) {
	if err := r.bind(); err != nil {
		return Request{}, err
	}
	r.ID, r.JobID, r.Merchant, r.State, r.Version = store.NewID("apr", tx.Now), j.JobID, j.Merchant, Pending, 1
	r.CreatedAt, r.ExpiresAt, r.Votes = tx.Now, tx.Now.Add(r.Rule.timeToDecide()), []Vote{}
	r.Needs = r.Rule.Needs()
	r.Missing = r.Needs
	if latest := j.RunAfter.Add(TimeToRun); !j.RunAfter.IsZero() && latest.Before(r.ExpiresAt) {
		r.ExpiresAt = latest // a yes that comes later would be to another time than the one shown
	}
	j.ApprovalID, j.Status = r.ID, tools.JobPending
	var err error
	if r.Supersedes, err = asksAgain(tx, r); err != nil {
		return Request{}, err
	}
	if err := insertJob(tx, j); err != nil {
		return Request{}, err
	}
	if err := insertRequest(tx, r); err != nil {
		return Request{}, err
	}
	return r, record(tx, j, "approval.requested", func(e *audit.Entry) {
		e.Binding, e.Customers = r.BindingHash, r.Preview.Customers
		if r.Preview.Money != nil {
			e.MoneyMinor, e.Currency = r.Preview.Money.AmountMinor, r.Preview.Money.Currency
		}
	})
}

func insertRequest(tx *store.Tx, r Request) error {
	var parts [5]string
	for i, part := range []any{r.Binding, r.Preview, r.Rule, notNil(r.Facts), notNil(r.Claims)} {
		raw, err := json.Marshal(part)
		if err != nil {
			return fmt.Errorf("writing the request: %w", err)
		}
		parts[i] = string(raw)
	}
	_, err := tx.Exec(`INSERT INTO approvals (id, merchant_id, job_id, state, class, needs, rule, binding, binding_sha256, preview, facts, claims,
			agent_reason, asked_by, agent_id, tool, resource, question_sha256, supersedes, created_at, expires_at, escalate_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)`,
		r.ID, r.Merchant, r.JobID, string(r.State), string(r.Class), r.Needs, parts[2], parts[0], r.BindingHash, parts[1], parts[3], parts[4],
		r.AgentReason, r.AskedBy, r.AgentID, r.Binding.Tool, r.Binding.Resource, r.Question, r.Supersedes,
		store.Micros(r.CreatedAt), store.Micros(r.ExpiresAt), store.Micros(r.EscalateAt()))
	if err != nil {
		return fmt.Errorf("storing the request: %w", err)
	}
	return nil
}

// notNil is list, and an empty one for none: as JSON it is [] and never null.
func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// Told is what the agent is told about the question that its call became.
func (r Request) Told() *tools.Approval {
	told := &tools.Approval{ApprovalID: r.ID, Rule: r.Rule.Name, Needs: r.Needs, ExpiresAt: r.ExpiresAt, Fingerprint: r.Fingerprint}
	if r.Missing != r.Needs {
		told.NeedsNow = r.Missing
	}
	return told
}

// Find gives a request by its own id or its job's. One of another merchant is store.ErrNotFound.
func Find(tx *store.Tx, merchant, id string) (Request, error) {
	if _, ok := store.IDTime(id); !ok { // no text that PostgreSQL would refuse
		return Request{}, store.ErrNotFound
	}
	r, err := store.One(tx, scanRequest,
		`SELECT `+requestColumns+` FROM approvals WHERE merchant_id = $1 AND (id = $2 OR job_id = $2)`, merchant, id)
	if err != nil {
		return Request{}, err
	}
	return r, r.count(tx, voters{})
}

// List gives a merchant's open requests, oldest first, so that a flood of new ones hides no old one; or all requests,
// newest first. The votes of decided ones are left out.
func List(tx *store.Tx, merchant string, all bool, limit int) ([]Request, error) {
	which := ` AND state = 'pending' ORDER BY created_at, id`
	if all {
		which = ` ORDER BY created_at DESC, id DESC`
	}
	found, err := store.All(tx, scanRequest, `SELECT `+requestColumns+` FROM approvals WHERE merchant_id = $1`+which+` LIMIT $2`, merchant, limit)
	if err != nil {
		return nil, err
	}
	var pending []string
	for _, r := range found {
		if r.State == Pending {
			pending = append(pending, r.ID)
		}
	}
	if len(pending) == 0 {
		return found, nil
	}
	in, args := among(pending)
	return found, countAll(tx, found, in, args)
}

// CountPending is how many of a merchant's requests wait for people.
func CountPending(tx *store.Tx, merchant string) (n int64, err error) {
	if err = tx.QueryRow(`SELECT COUNT(*) FROM approvals WHERE merchant_id = $1 AND state = 'pending'`, merchant).Scan(&n); err != nil {
		err = fmt.Errorf("counting what waits for people: %w", err)
	}
	return n, err
}

// Expire lapses up to limit requests whose time is over. It gives how many it looked at, and the jobs that it ended. Times are compared with tx.Now, so that a
// request lapses at the same moment for the sweeper, for votes and for the worker.
func Expire(tx *store.Tx, limit int) (looked int, ended []Job, err error) {
	due, err := store.All(tx, scanRequest, `SELECT `+requestColumns+` FROM approvals
		WHERE (state = 'pending' AND expires_at <= $1) OR (state = 'approved' AND execute_before <= $1) ORDER BY created_at, id LIMIT $2`,
		store.Micros(tx.Now), limit)
	if err != nil {
		return 0, nil, fmt.Errorf("reading requests that are due: %w", err)
	}
	for _, r := range due {
		j, lapsed, err := Lapse(tx, r)
		if err != nil {
			return 0, nil, err
		}
		if lapsed {
			ended = append(ended, j)
		}
	}
	return len(due), ended, nil
}

// Overdue reports whether the time to decide about r, or to use its approval, is over.
func (r Request) Overdue(now time.Time) bool {
	return r.State == Pending && !now.Before(r.ExpiresAt) || r.State == Approved && !now.Before(r.ExecuteBefore)
}

// Lapse ends an overdue request and its job, which it gives. When somebody was quicker it changes nothing, and lapsed is false.
func Lapse(tx *store.Tx, r Request) (j Job, lapsed bool, err error) {
	r, err = happen(tx, r, Event{Act: ActLapse})
	if err != nil {
		return j, false, ignore(r, err)
	}
	j, err = findJob(tx, r.JobID)
	return j, err == nil, err
}

// ignore takes an event that came too late, or too early, for none.
func ignore(_ Request, err error) error {
	if errors.Is(err, ErrDecided) || errors.Is(err, ErrNotYet) || errors.Is(err, ErrExpired) {
		return nil
	}
	return err
}

// Consume uses up the approval of a job that is about to run, whose row the transaction holds, or answers ErrDecided when it is not there to be
// used. The job itself is moved by whoever runs it.
func Consume(tx *store.Tx, j Job, r Request) error {
	j.Status = tools.JobQueued
	_, err := happenTo(tx, j, r, Event{Act: ActConsume})
	return err
}

// Invalidate ends a job that was approved but may not run any more, because of what changed since.
func Invalidate(tx *store.Tx, j Job, code tools.Code, why string, changed ...tools.Change) error {
	if j.ApprovalID == "" {
		return moveJob(tx, j, move{from: tools.JobQueued, to: tools.JobCancelled, reason: "invalidated", why: why, by: byItself})
	}
	_, err := happen(tx, Request{ID: j.ApprovalID, JobID: j.JobID, Merchant: j.Merchant}, Event{Act: ActInvalidate, Changed: changed, Why: why, Code: string(code)})
	return err
}

// one turns the result of a compare-and-set into an error: none when one row changed.
func one(n int64, err, lost error) error {
	switch {
	case err != nil:
		return fmt.Errorf("changing a state: %w", err)
	case n == 0:
		return lost
	}
	return nil
}

// actor is who asked for the job, as in a chain.
func (j Job) actor() string {
	if len(j.Chain) > 0 {
		return j.Chain[0]
	}
	return "key:" + j.PrincipalID
}

// record appends what happened to a job, has it told, and wakes who waits for the job to move. The actor is the job's own principal
// unless fill names another.
func record(tx *store.Tx, j Job, event string, fill func(*audit.Entry)) error {
	e := audit.Entry{
		Merchant: j.Merchant, Event: event, CallID: j.CallID, Transport: j.Transport,
		Actor: j.actor(), Chain: j.Chain, PolicyVersion: j.Policy, PolicyRule: j.Rule, Tool: j.Tool, Resource: j.Resource,
		JobID: j.JobID, ApprovalID: j.ApprovalID, IdempotencyKey: j.Idempotency,
	}
	if fill != nil {
		fill(&e)
	}
	if _, err := audit.Append(tx, e); err != nil {
		return fmt.Errorf("recording %s: %w", event, err)
	}
	if strings.HasPrefix(event, "job.") && event != "job.progress" {
		tx.Tell("job:" + j.JobID)
	}
	if event == "job.queued" {
		tx.Tell(QueueBell)
	}
	return announce(tx, j, event)
}

// above is who stands behind an actor: of one of a chain, all from there on; of anybody else nobody.
func above(chain []string, actor string) []string {
	if at := slices.Index(chain, actor); at >= 0 {
		return chain[at:]
	}
	return []string{actor}
}

// byItself is the actor of what happens because of time or of changed facts.
const byItself = "gate"

const requestColumns = `id, merchant_id, job_id, state, class, needs, rule, binding, binding_sha256, preview, facts, claims, agent_reason, asked_by, agent_id,
	question_sha256, supersedes, created_at, expires_at, level, decided_at, execute_before, changed, version`

func scanRequest(row store.Row) (Request, error) {
	r := Request{Votes: []Vote{}}
	var rule, binding, preview, facts, said, changed string
	err := row.Scan(&r.ID, &r.Merchant, &r.JobID, &r.State, &r.Class, &r.Needs, &rule, &binding, &r.BindingHash, &preview, &facts, &said, &r.AgentReason,
		&r.AskedBy, &r.AgentID, &r.Question, &r.Supersedes, store.At(&r.CreatedAt), store.At(&r.ExpiresAt), &r.Level, store.At(&r.DecidedAt),
		store.At(&r.ExecuteBefore), &changed, &r.Version)
	if err != nil {
		return Request{}, err
	}
	r.Fingerprint = Fingerprint(r.BindingHash)
	err = errors.Join(json.Unmarshal([]byte(binding), &r.Binding), json.Unmarshal([]byte(preview), &r.Preview), readRule(rule, &r),
		list(facts, &r.Facts), list(said, &r.Claims), list(changed, &r.Changed))
	if err != nil {
		return Request{}, fmt.Errorf("reading request %s: %w", r.ID, err)
	}
	return r, nil
}

// list reads a stored list; most are empty.
func list[T any](text string, into *[]T) error {
	if text == "[]" {
		return nil
	}
	return json.Unmarshal([]byte(text), into)
}

// readRule reads the rule of a request whose binding is read. A request of an earlier version stored none.
func readRule(text string, r *Request) error {
	if text == "" {
		r.Rule = onePerson(r.Binding.PolicyRule)
		return nil
	}
	return json.Unmarshal([]byte(text), &r.Rule)
}
