package approvals

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals/claims"
	"github.com/dtcgate/dtcgate/tools"
)

// casesVariable says how many random histories the machine is held to.
const casesVariable = "DTCGATE_TEST_MACHINE_CASES"

func casesOr(n int) int {
	if set, err := strconv.Atoi(os.Getenv(casesVariable)); err == nil {
		return set
	}
	return n
}

// A tally counts what was reached over a whole run. Values that rapid draws are small ones mostly, which starves the happy path: so a trial
// draws its weights from a generator that rapid seeds, and the test fails unless everything was reached.
type tally map[string]int

func (n tally) reached(t *testing.T, least int, what ...string) {
	t.Helper()
	for _, w := range what {
		if n[w] < least {
			t.Errorf("%s was reached %d times, want at least %d", w, n[w], least)
		}
	}
}

func (n tally) log(t *testing.T) {
	t.Helper()
	for _, w := range slices.Sorted(maps.Keys(n)) {
		t.Logf("%7d %s", n[w], w)
	}
}

// A fatal is what a trial reports to: a test or a rapid one.
type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

// A trial is one history of a case and its world, with what the oracle knows of it.
type trial struct {
	t    fatal
	rng  *rand.Rand
	n    tally
	c    Case
	o    oracle
	now  time.Time
	past []string // what happened, in words
	hash string   // as it was asked

	weights          [11]int // of the acts
	asker, fresh     bool    // the requester may still ask; the resource is as it was shown
	policy           Rule    // what the policy asks for by now
	altered, vetoed  bool
	executed         int
	decidedAt, until time.Time // of the approval
	ended            State     // the terminal state, once there is one
	after            int       // events that were refused since

	// also does the same elsewhere, and compares. The case before is c.
	also func(e Event, next Case, events []string, err error)
}

var townRules = []Rule{
	{People: 1},
	{People: 1, Override: true},
	{People: 2},
	{People: 2, Roles: []string{"marketing", "manager"}},
	{People: 2, Roles: []string{"marketing", "manager"}, From: []string{"finance"}, Override: true},
	{People: 2, Roles: []string{"manager"}, From: []string{"finance"}, Escalate: []Escalation{{time.Hour, []string{"security"}}, {2 * time.Hour, []string{chief}}}},
	{People: 3, From: []string{"finance", "marketing"}, Escalate: []Escalation{{time.Hour, []string{"manager"}}}, Override: true, Expires: 6 * time.Hour},
	{People: 3, Roles: []string{"manager", "manager"}},
	{Roles: []string{"security"}, Escalate: []Escalation{{time.Hour, []string{"manager", chief}}}},
}

var townChains = [][]string{
	{"key:bot"},
	{"key:bot", "person:p0"},
	{"sub:one", "key:bot", "person:p0"},
	{"key:bot", "person:p1", "person:p0"},
	{"person:p1"},
	{"person:p2", "key:bot", "person:p0"},
}

var startOfTime = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// aRule is one of townRules, or any.
func aRule(rng *rand.Rand) Rule {
	if rng.IntN(3) > 0 {
		return townRules[rng.IntN(len(townRules))]
	}
	some := func(n int) (roles []string) {
		for range rng.IntN(n) {
			roles = append(roles, townRoles[rng.IntN(len(townRoles))])
		}
		return roles
	}
	r := Rule{Name: "any", People: rng.IntN(4), Roles: some(3), From: some(3), Override: rng.IntN(2) == 0}
	for after := time.Hour; rng.IntN(2) == 0 && after < 4*time.Hour; after += time.Hour {
		r.Escalate = append(r.Escalate, Escalation{after, append(some(2), townRoles[rng.IntN(len(townRoles))])})
	}
	return r
}

// aRequest is a question as Park would put it, and from when its call may run.
func aRequest(t fatal, rng *rand.Rand, rule Rule, chain []string) Request {
	r := Request{
		ID: "apr_x", JobID: "job_x", Merchant: "m", State: Pending, Rule: rule, CreatedAt: startOfTime, Votes: []Vote{},
		Preview: tools.Preview{Summary: "Send it", Customers: 2184}, Facts: []tools.Fact{{Label: "Order", Value: "#1042"}},
		Binding: Binding{V: 1, Merchant: "m", Tool: "test_move", Chain: chain, PolicyVersion: 3, PolicyRule: rule.Name, ResourceVersion: "1"},
	}
	if rng.IntN(8) == 0 {
		r.Claims = []claims.Claim{{Text: "5 customers", Verdict: "differs", Material: true}}
	}
	var err error
	if r.Binding.EffectHash, err = EffectHash(r.Preview, r.Facts); err == nil {
		err = r.bind()
	}
	if err != nil {
		t.Fatalf("binding: %v", err)
	}
	return r
}

func newTrial(t fatal, rng *rand.Rand, n tally) *trial {
	rule, chain := aRule(rng), townChains[rng.IntN(len(townChains))]
	c := Case{Request: aRequest(t, rng, rule, chain), Job: tools.JobPending}
	c.ExpiresAt = c.CreatedAt.Add(rule.timeToDecide())
	if rng.IntN(6) == 0 {
		c.RunAfter = c.CreatedAt.Add(time.Duration(rng.IntN(12)) * time.Hour)
		if last := c.RunAfter.Add(TimeToRun); last.Before(c.ExpiresAt) {
			c.ExpiresAt = last
		}
	}
	return tryCase(t, rng, n, c, newTown(rng, 6))
}

// tryCase is a trial of a case that was just asked.
func tryCase(t fatal, rng *rand.Rand, n tally, c Case, w *town) *trial {
	tr := &trial{t: t, rng: rng, n: n, c: c, now: c.CreatedAt, asker: true, fresh: true, policy: c.Rule, hash: c.BindingHash}
	tr.o = oracle{town: w, rule: c.Rule, chain: c.Binding.Chain, created: c.CreatedAt}
	tr.weights = [...]int{60, 16, 12, 5, 6, 6, 1, 2, 4, 14, 1}
	tr.weights[rng.IntN(len(tr.weights))] *= 1 + rng.IntN(6) // every trial has an act of its own that it is fond of
	return tr
}

func (tr *trial) world() World { return World{Now: tr.now, Voter: tr.o.voter} }

func (tr *trial) fail(format string, args ...any) {
	tr.t.Helper()
	what := fmt.Sprintf(format, args...)
	tr.t.Fatalf("%s\nrule %+v\nchain %v\nhistory:\n%v", what, tr.c.Rule, tr.c.Binding.Chain, tr.past)
}

// apply lets an event happen, and holds the machine to what is true of every event.
func (tr *trial) apply(e Event) error {
	before := deepCopy(tr.c)
	next, events, err := tr.c.Apply(e, tr.world())
	tr.past = append(tr.past, fmt.Sprintf("\n%s %s %+v: %s -> %s %v %v", tr.now.Sub(tr.c.CreatedAt), e.Act, e.Vote, tr.c.State, next.State, events, err))
	if !reflect.DeepEqual(deepCopy(tr.c), before) {
		tr.fail("the case was changed in place")
	}
	if err != nil && (events != nil || !reflect.DeepEqual(deepCopy(next), before)) {
		tr.fail("an event that was refused changed something")
	}
	if err == nil && len(events) == 0 {
		tr.fail("an event that happened is not on record")
	}
	if want := jobOf[next.State]; next.Job != want {
		tr.fail("the request is %s and its job %s, want %s", next.State, next.Job, want)
	}
	if tr.ended != "" {
		tr.after++
	}
	if tr.ended != "" && (err == nil || next.State != tr.ended) {
		tr.fail("it had ended as %s", tr.ended)
	}
	if again, eventsAgain, errAgain := tr.c.Apply(e, tr.world()); !reflect.DeepEqual(again, next) || !slices.Equal(events, eventsAgain) || !errors.Is(errAgain, err) {
		tr.fail("the same event gives something else the second time")
	}
	if tr.also != nil {
		tr.also(e, next, events, err)
	}
	tr.count(e, next, err)
	tr.c = next
	return err
}

func (tr *trial) count(e Event, next Case, err error) {
	if err != nil {
		tr.n["refused: "+err.Error()]++
		return
	}
	if next.State != tr.c.State {
		tr.n[fmt.Sprintf("%s after %s", next.State, tr.c.State)]++
		if next.State != Approved {
			tr.ended = next.State
		}
	}
	tr.n["act "+string(e.Act)]++
}

// jobOf is where the job of a request stands.
var jobOf = map[State]tools.JobStatus{
	Pending: tools.JobPending, Approved: tools.JobQueued, Consumed: tools.JobRunning, Rejected: tools.JobCancelled,
	Cancelled: tools.JobCancelled, Invalidated: tools.JobCancelled, Expired: tools.JobExpired,
}

func deepCopy(c Case) Case {
	c.Votes, c.Changed, c.Claims = slices.Clone(c.Votes), slices.Clone(c.Changed), slices.Clone(c.Claims)
	c.Binding.Chain = slices.Clone(c.Binding.Chain)
	return c
}

func (tr *trial) step() {
	acts := []func(){tr.vote, tr.pass, tr.changePeople, tr.withdraw, tr.escalate, tr.lapse, tr.cancel, tr.changeFacts, tr.supersede, tr.run, tr.alter}
	all := 0
	for _, w := range tr.weights {
		all += w
	}
	switch soon := tr.rng.IntN(3) == 0; {
	case soon && tr.c.State == Approved:
		tr.run()
		return
	case soon && tr.c.State == Pending && !tr.fresh:
		tr.supersede()
		return
	case soon && !tr.c.EscalateAt().IsZero() && !tr.now.Before(tr.c.EscalateAt()):
		tr.escalate()
		return
	}
	at := tr.rng.IntN(all)
	for i, w := range tr.weights {
		if at -= w; at < 0 {
			acts[i]()
			return
		}
	}
}

// live reports whether the time of the state the case is in is not over, by the oracle's own clock.
func (tr *trial) live() bool {
	switch tr.c.State {
	case Pending:
		return tr.now.Before(tr.c.ExpiresAt)
	case Approved:
		return tr.now.Before(tr.until)
	}
	return false
}
