package approvals

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A RuleReport is how the requests of one rule went in a span of time. A rule that nobody ever says no to costs attention and finds nothing.
type RuleReport struct {
	Rule     string        `json:"rule"`
	Asked    int64         `json:"asked"`
	Approved int64         `json:"approved"` // whatever became of the call
	Denied   int64         `json:"denied"`
	Lapsed   int64         `json:"lapsed"` // nobody decided in time
	Other    int64         `json:"other"`  // called off, or overtaken by a change
	Open     int64         `json:"open"`
	Flagged  int64         `json:"flagged"`                  // consents that were given quickly, or among many
	Median   time.Duration `json:"-"`                        // from the question to the decision
	Seconds  int64         `json:"median_seconds,omitempty"` // of Median
	Advice   string        `json:"advice,omitempty"`
}

const (
	// reportMax bounds the requests that one report looks at, the newest first.
	reportMax = 50_000
	// reportEnough is how many decisions it takes for advice.
	reportEnough = 10
)

// Report tells how the requests of a merchant since a time went, rule by rule, those that were asked most first.
func Report(tx *store.Tx, merchant string, since time.Time) ([]RuleReport, error) {
	all, err := store.All(tx, scanAsked, `SELECT j.policy_rule, a.state, a.created_at, a.decided_at, a.execute_before,
			(SELECT COUNT(*) FROM approval_votes v WHERE v.approval_id = a.id AND v.flag <> '')
		FROM approvals a JOIN jobs j ON j.id = a.job_id WHERE a.merchant_id = $1 AND a.created_at >= $2 ORDER BY a.created_at DESC LIMIT $3`,
		merchant, store.Micros(since), reportMax)
	if err != nil {
		return nil, fmt.Errorf("reading what was asked: %w", err)
	}
	rules, took := map[string]*RuleReport{}, map[string][]time.Duration{}
	for _, a := range all {
		r := rules[a.rule]
		if r == nil {
			r = &RuleReport{Rule: a.rule}
			rules[a.rule] = r
		}
		r.count(a)
		if a.state == Approved || a.state == Consumed || a.state == Rejected { // the others tell only when they ended
			took[a.rule] = append(took[a.rule], a.decided.Sub(a.created))
		}
	}
	report := []RuleReport{}
	for name, r := range rules {
		r.conclude(took[name])
		report = append(report, *r)
	}
	slices.SortFunc(report, func(a, b RuleReport) int { return cmp.Or(cmp.Compare(b.Asked, a.Asked), cmp.Compare(a.Rule, b.Rule)) })
	return report, nil
}

// asked is what a report needs to know of a request.
type asked struct {
	rule             string
	state            State
	created, decided time.Time
	approved         bool  // at some time, whatever became of it
	flagged          int64 // votes
}

func scanAsked(r store.Row) (a asked, err error) {
	var before time.Time
	err = r.Scan(&a.rule, &a.state, store.At(&a.created), store.At(&a.decided), store.At(&before), &a.flagged)
	a.approved = !before.IsZero()
	return a, err
}

func (r *RuleReport) count(a asked) {
	r.Asked++
	r.Flagged += a.flagged
	switch {
	case a.approved:
		r.Approved++
	case a.state == Pending:
		r.Open++
	case a.state == Rejected:
		r.Denied++
	case a.state == Expired:
		r.Lapsed++
	default:
		r.Other++
	}
}

// conclude works out the median, and what the figures say about the rule.
func (r *RuleReport) conclude(took []time.Duration) {
	if slices.Sort(took); len(took) > 0 {
		r.Median = took[len(took)/2]
		r.Seconds = int64(r.Median.Seconds())
	}
	switch decided := r.Approved + r.Denied; {
	case decided >= reportEnough && r.Denied == 0 && r.Flagged*2 >= r.Approved:
		r.Advice = "Nobody ever said no, and most looked for seconds: raise what it is over, give a standing grant, or drop it."
	case decided >= reportEnough && r.Denied == 0:
		r.Advice = "Nobody ever said no: raise what it is over, or drop it."
	case r.Asked >= reportEnough && r.Lapsed*2 >= r.Asked:
		r.Advice = "Most lapse: ask other people, or let it escalate."
	}
}
