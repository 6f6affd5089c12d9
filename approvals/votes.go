package approvals

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// Cast counts a person's vote. A denial ends the request at once; an approval ends it when the votes satisfy its rule by now, and until
// then it stays pending. The caller has judged that the person may vote; everything that depends on the votes is judged here, in the
// transaction that counts.
//
// The job's row is taken first and the votes are read after it, so that of two people who vote at once the second sees the first. A
// person has one vote: while the request is pending a yes may become a no or an override. The same again is ErrVoted, unless the roles
// of those who voted have become enough since.
func Cast(tx *store.Tx, r Request, v Vote) error {
	if err := tx.Lock(`SELECT id FROM jobs WHERE id = $1`, r.JobID); err != nil {
		return fmt.Errorf("holding the job: %w", err)
	}
	r, err := Find(tx, r.Merchant, r.ID)
	if err == nil {
		err = r.takes(tx.Now, v)
	}
	if err != nil {
		return err
	}
	j, err := findJob(tx, r.JobID)
	if err != nil {
		return err
	}
	again := r.Heard(v)
	if !again {
		if r, err = putVote(tx, j, r, v); err != nil {
			return err
		}
	}
	if v.Decision == Deny {
		return reject(tx, j, r, v)
	}
	enough, err := Satisfied(tx, r, r.Rule)
	switch {
	case err != nil:
		return err
	case enough:
		return approve(tx, j, r, v)
	case again:
		return ErrVoted
	}
	return nil
}

// takes says why r takes no vote, or not this one.
func (r Request) takes(now time.Time, v Vote) error {
	switch {
	case r.State == Expired || r.State == Pending && r.Overdue(now):
		return ErrExpired
	case r.State != Pending:
		return ErrDecided
	case v.Seen != "" && v.Seen != r.BindingHash:
		return ErrOtherHash
	case !r.Intact():
		return ErrAltered
	}
	return nil
}

// Heard reports whether the same person has said the same before.
func (r Request) Heard(v Vote) bool {
	return slices.ContainsFunc(r.Votes, func(old Vote) bool {
		return old.PersonID == v.PersonID && old.Decision == v.Decision && old.Override == v.Override && (v.Seen == "" || v.Seen == r.BindingHash)
	})
}

// putVote stores and records a vote, and gives the request with it.
func putVote(tx *store.Tx, j Job, r Request, v Vote) (Request, error) {
	v.At = tx.Now
	n, err := tx.Exec(`INSERT INTO approval_votes (approval_id, person_id, person_name, decision, overrides, reason, seen_sha256, channel, at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (approval_id, person_id) DO UPDATE SET decision = excluded.decision, overrides = excluded.overrides,
			reason = excluded.reason, seen_sha256 = excluded.seen_sha256, channel = excluded.channel, at = excluded.at
		WHERE approval_votes.decision = 'approve' AND approval_votes.overrides = 0 AND (excluded.decision = 'deny' OR excluded.overrides = 1)`,
		r.ID, v.PersonID, v.Person, string(v.Decision), flag(v.Override), v.Reason, v.Seen, v.Channel, store.Micros(v.At))
	if err != nil {
		return r, fmt.Errorf("storing the vote: %w", err)
	}
	if n == 0 {
		return r, ErrVoted
	}
	r.Votes = append(slices.DeleteFunc(slices.Clone(r.Votes), func(old Vote) bool { return old.PersonID == v.PersonID }), v)
	events := []string{"approval.vote"}
	if v.Override {
		events = append(events, "approval.overridden")
	}
	for _, event := range events {
		if err := recordVote(tx, j, r, v, event); err != nil {
			return r, err
		}
	}
	return r, nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func approve(tx *store.Tx, j Job, r Request, v Vote) error {
	if err := moveJob(tx, j, move{from: tools.JobPending, to: tools.JobQueued, by: "person:" + v.PersonID}); err != nil {
		return err
	}
	before := tx.Now
	if j.RunAfter.After(before) {
		before = j.RunAfter
	}
	n, err := tx.Exec(`UPDATE approvals SET state = 'approved', decided_at = $1, execute_before = $2 WHERE id = $3 AND state = 'pending'`,
		store.Micros(tx.Now), store.Micros(before.Add(TimeToRun)), r.ID)
	if err := one(n, err, ErrDecided); err != nil {
		return err
	}
	return recordVote(tx, j, r, v, "approval.approved")
}

func reject(tx *store.Tx, j Job, r Request, v Vote) error {
	why := fmt.Sprintf("%s denied it. Do not send the same request again; ask what would be acceptable, or leave it.", v.Person)
	if v.Reason != "" {
		why = fmt.Sprintf("%s denied it: %q. Do not send the same request again; change what was objected to, or leave it.", v.Person, v.Reason)
	}
	denied := move{from: tools.JobPending, to: tools.JobCancelled, reason: "denied", why: why, by: "person:" + v.PersonID}
	if err := moveJob(tx, j, denied); err != nil {
		return err
	}
	if err := closeRequest(tx, r.ID, Pending, Rejected); err != nil {
		return err
	}
	return recordVote(tx, j, r, v, "approval.rejected")
}

// Satisfied reports whether the votes on r satisfy a rule: its own, or one that asks for more by now. Only people count whose right and role
// hold at this moment, and they are kept so until the transaction ends.
func Satisfied(tx *store.Tx, r Request, rule Rule) (bool, error) {
	lacks, err := r.weigh(rule, func(person string) (voter, error) {
		p, err := auth.HoldLive(tx, r.Merchant, person)
		return voterOf(tx, p, err)
	})
	return err == nil && lacks.met(), err
}

// Would is Satisfied for a reader, who keeps nobody from changing.
func Would(tx *store.Tx, r Request, rule Rule) (bool, error) {
	known := voters{}
	lacks, err := r.weigh(rule, func(person string) (voter, error) { return known.read(tx, r.Merchant, person) })
	return err == nil && lacks.met(), err
}

// weigh gives what the votes lack to satisfy a rule, where the voters are as read tells.
func (r Request) weigh(rule Rule, read func(person string) (voter, error)) (shortfall, error) {
	var yes [][]string
	var overridden bool
	counted := map[string]bool{}
	for _, v := range r.Votes {
		if v.Decision != Approve {
			return shortfall{people: rule.least()}, nil
		}
		if counted[v.PersonID] || r.Bars(rule, v) {
			continue
		}
		counted[v.PersonID] = true
		p, err := read(v.PersonID)
		switch {
		case err != nil:
			return shortfall{}, err
		case v.Override && rule.Override && p.overrides:
			overridden = true
		case p.decides && rule.Admits(p.roles, v.At.Sub(r.CreatedAt)):
			yes = append(yes, p.roles)
		}
	}
	if overridden {
		return shortfall{}, nil
	}
	return rule.short(yes), nil
}

// Bars reports whether a vote on r cannot count under a rule, because the person is among those r was made for. Who answers for the agent,
// the last of its chain, may decide where one person is enough, and overrides nothing. Who asked in person never decides.
func (r Request) Bars(rule Rule, v Vote) bool {
	at := slices.Index(r.Binding.Chain, "person:"+v.PersonID)
	answers := at > 0 && at == len(r.Binding.Chain)-1
	return at >= 0 && (!answers || v.Override || rule.least() > 1)
}

// A voter is what somebody who voted holds now. One who may not decide any more holds nothing.
type voter struct {
	decides, overrides bool
	roles              []string
}

func voterOf(tx *store.Tx, p auth.Principal, err error) (voter, error) {
	if errors.Is(err, auth.ErrUnknownCredential) {
		return voter{}, nil
	}
	if err != nil || p.Kind != auth.KindPerson || !p.Has(auth.ApprovalsResolve) {
		return voter{}, err
	}
	roles, err := auth.RolesOf(tx, p.ID)
	return voter{decides: true, overrides: p.Has(auth.ApprovalsOverride), roles: roles}, err
}

// voters are those who were read already, by id.
type voters map[string]voter

// read gives a voter as a reader sees one, who keeps nobody from changing.
func (known voters) read(tx *store.Tx, merchant, person string) (voter, error) {
	if v, ok := known[person]; ok {
		return v, nil
	}
	p, err := auth.Live(tx, person)
	if err == nil && p.Merchant != merchant {
		p = auth.Principal{}
	}
	v, err := voterOf(tx, p, err)
	if err == nil {
		known[person] = v
	}
	return v, err
}

// count reads the votes on r and, while it is pending, says who is missing as things are.
func (r *Request) count(tx *store.Tx, known voters) (err error) {
	r.Votes, err = store.All(tx, scanVote, `SELECT person_id, person_name, decision, overrides, reason, seen_sha256, channel, at
		FROM approval_votes WHERE approval_id = $1 ORDER BY at, person_id`, r.ID)
	if err != nil || r.State != Pending {
		return err
	}
	lacks, err := r.weigh(r.Rule, func(person string) (voter, error) { return known.read(tx, r.Merchant, person) })
	if r.Missing = lacks.words(r.Rule.Voters(tx.Now.Sub(r.CreatedAt))); lacks.met() {
		r.Missing = "nobody new: the roles of those who voted have changed, and one of them says yes again"
	}
	return err
}

func scanVote(row store.Row) (Vote, error) {
	var v Vote
	var overrides int64
	err := row.Scan(&v.PersonID, &v.Person, &v.Decision, &overrides, &v.Reason, &v.Seen, &v.Channel, store.At(&v.At))
	v.Override = overrides == 1
	return v, err
}

func recordVote(tx *store.Tx, j Job, r Request, v Vote, event string) error {
	return record(tx, j, event, func(e *audit.Entry) {
		e.Actor, e.Chain = "person:"+v.PersonID, []string{"person:" + v.PersonID}
		e.Transport, e.Binding, e.Status = v.Channel, r.BindingHash, string(v.Decision)
		e.Personal = map[string]string{"reason": v.Reason}
	})
}
