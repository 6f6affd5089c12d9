package approvals

import (
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
	type asked struct {
		rule             string
		state            State
		created, decided time.Time
		flagged          int64
	}
	all, err := store.All(tx, func(r store.Row) (a asked, err error) {
		return a, r.Scan(&a.rule, &a.state, store.At(&a.created), store.At(&a.decided), &a.flagged)
	}, `SELECT j.policy_rule, a.state, a.created_at, a.decided_at,
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
		r.count(a.state, a.flagged)
		if !a.decided.IsZero() && a.state != Expired {
			took[a.rule] = append(took[a.rule], a.decided.Sub(a.created))
		}
	}
	report := []RuleReport{}
	for name, r := range rules {
		r.conclude(took[name])
		report = append(report, *r)
	}
	slices.SortFunc(report, func(a, b RuleReport) int { return cmpReports(a, b) })
	return report, nil
}

func cmpReports(a, b RuleReport) int {
	if a.Asked != b.Asked {
		return int(b.Asked - a.Asked)
	}
	if a.Rule < b.Rule {
		return -1
	}
	return 1
}

func (r *RuleReport) count(s State, flagged int64) {
	r.Asked++
	r.Flagged += flagged
	switch s {
	case Pending:
		r.Open++
	case Approved, Consumed, Invalidated:
		r.Approved++
	case Rejected:
		r.Denied++
	case Expired:
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
