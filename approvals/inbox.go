package approvals

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A Glance is as much of a pending request as it takes to tell who may vote on it, which is read for thousands of them.
type Glance struct {
	ID        string
	Rule      Rule
	Stored    string   // the rule as it is stored
	Chain     []string // only if the person who looks stands in it
	Class     tools.Class
	AskedBy   string
	CreatedAt time.Time
	ExpiresAt time.Time
	Said      Decision // by the person who looks
}

// Bars is that of a Request.
func (n Glance) Bars(v Vote) bool { return Request{Binding: Binding{Chain: n.Chain}}.Bars(n.Rule, v) }

// Glances says which pending requests somebody wants a glance at. What it leaves out fits all.
type Glances struct {
	Merchant, Person string
	Class            tools.Class
	AskedBy, Rule    string    // by name
	Not              []string  // stored rules whose requests are of no interest
	After            time.Time // what is over by then, and then up to AfterID, was looked at
	AfterID          string
	Limit            int
}

// Read gives the requests as the person sees them, those first whose time is over soonest.
func (g Glances) Read(tx *store.Tx) ([]Glance, error) {
	q := question{args: []any{g.Merchant, g.Person, `%"person:` + g.Person + `"%`}}
	if g.Class != "" {
		q.and(`a.class = %s`, string(g.Class))
	}
	if g.AskedBy != "" {
		q.and(`a.asked_by = %s`, g.AskedBy)
	}
	if g.Rule != "" {
		name, _ := json.Marshal(g.Rule)
		head := `{"name":` + string(name) + `,`
		q.and(fmt.Sprintf(`substr(a.rule, 1, %d) = %%s`, utf8.RuneCountInString(head)), head)
	}
	for _, rule := range g.Not {
		q.and(`a.rule <> %s`, rule)
	}
	if g.AfterID != "" {
		q.and(`a.expires_at >= %s`, store.Micros(g.After))
		q.and(`(a.expires_at > %s`, store.Micros(g.After))
		q.or(`a.id > %s)`, g.AfterID)
	}
	rules := map[string]Rule{} // few, each of many requests
	return store.All(tx, func(r store.Row) (Glance, error) { return scanGlance(r, rules) },
		`SELECT a.id, a.rule, a.class, a.asked_by, a.created_at, a.expires_at, COALESCE(v.decision, ''), CASE WHEN a.binding LIKE $3 THEN a.binding ELSE '' END
			FROM approvals a LEFT JOIN approval_votes v ON v.approval_id = a.id AND v.person_id = $2 AND v.withdrawn_at IS NULL
			WHERE a.merchant_id = $1 AND a.state = 'pending'`+q.where+fmt.Sprintf(` ORDER BY a.expires_at, a.id LIMIT %d`, g.Limit), q.args...)
}

// A question is a WHERE that grows.
type question struct {
	where string
	args  []any
}

func (q *question) and(condition string, arg any) { q.add(` AND `, condition, arg) }
func (q *question) or(condition string, arg any)  { q.add(` OR `, condition, arg) }

func (q *question) add(how, condition string, arg any) {
	q.args = append(q.args, arg)
	q.where += how + fmt.Sprintf(condition, fmt.Sprintf("$%d", len(q.args)))
}

func scanGlance(row store.Row, rules map[string]Rule) (Glance, error) {
	var n Glance
	var rule, binding string
	err := row.Scan(&n.ID, &rule, &n.Class, &n.AskedBy, store.At(&n.CreatedAt), store.At(&n.ExpiresAt), &n.Said, &binding)
	if err != nil {
		return n, err
	}
	n.Stored = rule
	var known bool
	if n.Rule, known = rules[rule]; !known {
		var of Request
		if err = readRule(rule, &of); err != nil {
			return n, fmt.Errorf("reading the rule of %s: %w", n.ID, err)
		}
		n.Rule, rules[rule] = of.Rule, of.Rule
	}
	if binding == "" {
		return n, nil
	}
	var b Binding
	if err := json.Unmarshal([]byte(binding), &b); err != nil {
		return n, fmt.Errorf("reading the binding of %s: %w", n.ID, err)
	}
	n.Chain = b.Chain
	return n, nil
}

// FindAll gives a merchant's requests with their votes in the order of ids, at most a page of them at once.
func FindAll(tx *store.Tx, merchant string, ids []string) ([]Request, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	in, args := among(ids)
	found, err := store.All(tx, scanRequest, `SELECT `+requestColumns+` FROM approvals WHERE id IN (`+in+`)`+fmt.Sprintf(` AND merchant_id = $%d`, len(ids)+1),
		append(slices.Clone(args), merchant)...)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b Request) int { return slices.Index(ids, a.ID) - slices.Index(ids, b.ID) })
	return found, countAll(tx, found, in, args)
}

// countAll is count for requests whose ids are among args.
func countAll(tx *store.Tx, all []Request, in string, args []any) error {
	votes := map[string][]Vote{}
	_, err := store.All(tx, func(row store.Row) (none struct{}, err error) {
		var id string
		v, err := scanVote(beside{row, &id})
		votes[id] = append(votes[id], v)
		return none, err
	}, `SELECT approval_id, `+voteColumns+` FROM approval_votes WHERE approval_id IN (`+in+`) ORDER BY at, person_id`, args...)
	known := voters{}
	for i := range all {
		if err != nil {
			return err
		}
		all[i].Votes = append(all[i].Votes, votes[all[i].ID]...)
		err = all[i].tally(tx, known)
	}
	return err
}

// beside is a row with one column before those that somebody else scans.
type beside struct {
	store.Row
	first any
}

// Scan implements store.Row.
func (b beside) Scan(dest ...any) error { return b.Row.Scan(append([]any{b.first}, dest...)...) }

// among gives the placeholders of a list, and its values.
func among(ids []string) (string, []any) {
	places, args := make([]string, len(ids)), make([]any, len(ids))
	for i, id := range ids {
		places[i], args[i] = fmt.Sprintf("$%d", i+1), id
	}
	return strings.Join(places, ", "), args
}

// DecidedSince gives the requests of a merchant that were decided since a time, latest first, without their votes.
func DecidedSince(tx *store.Tx, merchant string, since time.Time, limit int) ([]Request, error) {
	return store.All(tx, scanRequest, `SELECT `+requestColumns+` FROM approvals WHERE merchant_id = $1 AND decided_at >= $2
		ORDER BY decided_at DESC LIMIT $3`, merchant, store.Micros(since), limit)
}

// LastDecided gives when a request of a merchant was decided last, zero for never.
func LastDecided(tx *store.Tx, merchant string) (at time.Time, err error) {
	err = tx.QueryRow(`SELECT MAX(decided_at) FROM approvals WHERE merchant_id = $1 AND decided_at IS NOT NULL`, merchant).Scan(store.At(&at))
	return at, err
}

// PastOf gives what an agent asked for before, latest first, but for one request.
func PastOf(tx *store.Tx, r Request, limit int) ([]Request, error) {
	return store.All(tx, scanRequest, `SELECT `+requestColumns+` FROM approvals WHERE merchant_id = $1 AND agent_id = $2 AND id <> $3
		ORDER BY id DESC LIMIT $4`, r.Merchant, r.AgentID, r.ID, limit)
}

// StandsInFor gives the people whom a person stands in for now.
func StandsInFor(tx *store.Tx, merchant, deputy string) ([]string, error) {
	return store.All(tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) },
		`SELECT DISTINCT absent_id FROM delegations WHERE merchant_id = $1 AND deputy_id = $2 AND starts_at <= $3 AND ends_at > $3 AND revoked_at IS NULL`,
		merchant, deputy, store.Micros(tx.Now))
}

// JobsOf gives a merchant's jobs of any of these states, latest first, whoever they belong to.
func JobsOf(tx *store.Tx, merchant, before string, limit int, statuses ...tools.JobStatus) (jobs []Job, err error) {
	for _, status := range statuses {
		where, args := `merchant_id = $1 AND status = $2`, []any{merchant, string(status), limit}
		if before != "" {
			where, args = where+` AND id < $4`, append(args, before)
		}
		found, err := store.All(tx, scanJob, `SELECT `+jobColumns+` FROM jobs WHERE `+where+` ORDER BY id DESC LIMIT $3`, args...)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, found...)
	}
	slices.SortFunc(jobs, func(a, b Job) int { return strings.Compare(b.JobID, a.JobID) })
	return jobs[:min(len(jobs), limit)], nil
}
