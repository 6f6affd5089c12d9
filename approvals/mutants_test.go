//go:build !race

package approvals

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Faults are planted in the code, one at a time, and the tests of this package and of package gate have to find them. A fault is a text that
// stands in a file once, and another in its place; it is built as an overlay (`go help build`), so that no file is touched.

// mutantsVariable set to "all" tries all of them (`make mutants`); a run tries those that are marked as always.
const mutantsVariable = "DTCGATE_TEST_MUTANTS"

// A mutant is a planted fault.
type mutant struct {
	what     string // that the fault breaks
	file     string
	old, new string
	tests    string // that are to find it; those of the machine if left out
	always   bool
	same     string // why no test can find it: it does the same
}

const (
	byMachine = "TestTheMachineIs|TestEveryFieldOfABinding|TestABoundary|TestSeating|TestWhatIsStored/sqlite"
	byOrders  = "TestEveryOrderOfSteps/sqlite"
	byColumns = "TestACallThatIsAlteredAnywhere/sqlite"
)

var mutants = []mutant{
	{what: "a denial after a yes is a yes", file: "approvals/machine.go", old: "	if v.Decision == Approve {\n		enough", new: "	if v.Decision == Approve || len(c.Votes) > 0 {\n		enough", always: true},
	{what: "a vote that was withdrawn counts", file: "approvals/machine.go", old: "return v.Withdrawn.IsZero()", new: "return true"},
	{what: "a request may be decided at the moment it expires", file: "approvals/requests.go", old: "!now.Before(r.ExpiresAt)", new: "now.After(r.ExpiresAt)"},
	{what: "an approval may be used at the moment it lapses", file: "approvals/requests.go", old: "!now.Before(r.ExecuteBefore)", new: "now.After(r.ExecuteBefore)"},
	{what: "an approval never lapses", file: "approvals/requests.go", old: "|| r.State == Approved && !now.Before(r.ExecuteBefore)", new: ""},
	{what: "it lapses before its time", file: "approvals/machine.go", old: "if !c.Overdue(w.Now) {", new: "if false {"},
	{what: "who asked may vote through a deputy", file: "approvals/machine.go", old: "return slices.ContainsFunc(v.speaksFor(), func(person string) bool {\n		at", new: "return slices.ContainsFunc([]string{v.PersonID}, func(person string) bool {\n		at"},
	{what: "who owns the key counts among two", file: "approvals/machine.go", old: "rule.least() > 1)", new: "rule.least() > 2)"},
	{what: "who owns the key may override", file: "approvals/machine.go", old: "(!answers || v.Override ||", new: "(!answers ||"},
	{what: "who asked in person may decide", file: "approvals/machine.go", old: "answers := at > 0 && at", new: "answers := at"},
	{what: "a vote for another hash counts", file: "approvals/machine.go", old: "case v.Seen != c.BindingHash && v.Seen != c.Fingerprint:", new: "case false:"},
	{what: "a vote on an altered request counts", file: "approvals/machine.go", old: "return ErrOtherHash\n	case !c.Intact():", new: "return ErrOtherHash\n	case false:"},
	{what: "an altered approval is used", file: "approvals/machine.go", old: "return ErrExpired\n	case !c.Intact():", new: "return ErrExpired\n	case false:"},
	{what: "one stands for two by delegation", file: "approvals/machine.go", old: "mine, others := v.speaksFor(), other.speaksFor()", new: "mine, others := []string{v.PersonID}, []string{other.PersonID}", always: true},
	{what: "whoever may vote fills a required role", file: "approvals/machine.go", old: "yes = append(yes, p.Roles)", new: "yes = append(yes, slices.Concat(p.Roles, rule.Roles))"},
	{what: "who may not override does", file: "approvals/machine.go", old: "case v.Override && !voter.Overrides:", new: "case false:"},
	{what: "an override counts after the right to it is gone", file: "approvals/machine.go", old: "case v.Override && rule.Override && p.Overrides:", new: "case v.Override && rule.Override:"},
	{what: "a rule that lets nobody override it is overridden", file: "approvals/machine.go", old: "case v.Override && !c.Rule.Override:", new: "case false:"},
	{what: "a vote counts when whoever cast it may not decide any more", file: "approvals/machine.go", old: "case p.Decides && rule.Admits(", new: "case rule.Admits("},
	{what: "who votes need not be somebody who decides", file: "approvals/machine.go", old: "case !voter.Decides:", new: "case false:"},
	{what: "who votes needs no role", file: "approvals/machine.go", old: "case !v.Override && !c.Rule.Admits(voter.Roles, w.Now.Sub(c.CreatedAt)):", new: "case false:"},
	{what: "those of an escalation are not counted", file: "approvals/machine.go", old: "rule.Admits(p.Roles, v.At.Sub(r.CreatedAt))", new: "rule.Admits(p.Roles, 0)"},
	{what: "a denial takes no reason", file: "approvals/machine.go", old: "case (v.Override || v.Decision == Deny) &&", new: "case v.Override &&"},
	{what: "what contradicts the record need not be read", file: "approvals/machine.go", old: "case v.Decision == Approve && !v.Acknowledged && c.contradicted():", new: "case false:"},
	{what: "a call set for later lapses before it", file: "approvals/machine.go", old: "later(now, c.RunAfter).Add(TimeToRun)", new: "now.Add(TimeToRun)"},
	{what: "an escalation is announced late", file: "approvals/machine.go", old: "now.Sub(c.CreatedAt) >= c.Rule", new: "now.Sub(c.CreatedAt) > c.Rule"},
	{what: "a vote is withdrawn after the decision", file: "approvals/machine.go", old: "	switch {\n	case c.State != Pending:\n		return c, nil, ErrDecided\n	case c.Overdue(w.Now):", new: "	switch {\n	case c.State != Pending && c.State != Approved:\n		return c, nil, ErrDecided\n	case c.Overdue(w.Now):"},
	{what: "a vote is withdrawn twice", file: "approvals/machine.go", old: "old.Decision == Approve && old.counts() })", new: "old.Decision == Approve })"},
	{what: "a withdrawal changes the case in place", file: "approvals/machine.go", old: "	c.Votes = slices.Clone(c.Votes)\n", new: ""},
	{what: "a denied call is queued", file: "approvals/machine.go", old: "{actReject, Pending, Rejected, tools.JobPending, tools.JobCancelled,", new: "{actReject, Pending, Rejected, tools.JobPending, tools.JobQueued,"},
	{what: "what is not approved is used", file: "approvals/machine.go", old: "{ActConsume, Approved, Consumed, tools.JobQueued,", new: "{ActConsume, Pending, Consumed, tools.JobPending,"},
	{what: "those of an escalation may vote late", file: "approvals/rule.go", old: "if open >= e.After {", new: "if open > e.After {"},
	{what: "required roles are no people", file: "approvals/rule.go", old: "max(r.People, len(r.Roles), 1)", new: "max(r.People, 1)"},
	{what: "the matching is greedy", file: "approvals/seats.go", old: "if s.role[person] == nobody || s.seat(s.role[person], asked) {", new: "if s.role[person] == nobody {", always: true},
	{what: "facts are not bound", file: "approvals/binding.go", old: "if len(facts) == 0 {", new: "if len(facts) >= 0 {"},
	{what: "the rule is not bound", file: "approvals/binding.go", old: "binding == r.BindingHash && r.holdsRule()", new: "binding == r.BindingHash"},
	{what: "the chain is not bound", file: "approvals/binding.go", old: "`json:\"principal_chain\"`", new: "`json:\"-\"`"},
	{what: "a vote after a withdrawal is stored as withdrawn", file: "approvals/votes.go", old: "at = excluded.at, withdrawn_at = NULL", new: "at = excluded.at"},
	{what: "an absent person who may not decide is stood in for", file: "approvals/votes.go", old: "if err != nil || !absent.Decides {", new: "if err != nil {", tests: "TestNobodyStandsIn/sqlite"},

	{what: "what is stored of a job need not be what is bound", file: "gate/binding.go", old: "case !r.Intact(), !r.Binding.Holds(*c.stored):", new: "case !r.Intact():", tests: byColumns},
	{what: "a vote for something else counts when the call runs", file: "approvals/machine.go", old: "v.Seen != r.BindingHash, slices", new: "slices", tests: byColumns},
	{what: "another effect than the one that was shown is stored", file: "approvals/binding.go", old: "if err != nil || effect != r.Binding.EffectHash {", new: "if err != nil || effect == \"\" {", tests: byColumns},
	{what: "who approved is not asked for when the call runs", file: "gate/binding.go", old: "	if err := agreed(c.Tx, r); err != nil {\n		return err\n	}\n", new: "", tests: byOrders},
	{what: "a stricter policy does not hold for what was approved", file: "gate/binding.go", old: "	if !c.parked || c.PolicyVersion", new: "	if true || c.PolicyVersion", tests: byOrders, always: true},
	{what: "the version of the object is not bound", file: "gate/park.go", old: "ResourceVersion: c.preview.Version,", new: "", tests: byOrders},
	{what: "an approval is not used up", file: "gate/resume.go", old: "if err := approvals.Consume(tx, j, c.approval); err != nil {\n			return c,", new: "if err := error(nil); err != nil {\n			return c,", tests: byOrders},
	{what: "a request that is over is not ended", file: "approvals/requests.go", old: "(state = 'pending' AND expires_at <= $1) OR (", new: "(", tests: byOrders},
	{what: "more customers than were shown", file: "gate/binding.go", old: "if now.Customers > shown.Customers {", new: "if false {", tests: "TestACallThatWouldReachMore/./sqlite"},
	{what: "more money than was shown", file: "gate/binding.go", old: "now.AmountMinor <= shown.AmountMinor", new: "now.AmountMinor >= 0", tests: "TestWhatWasApprovedIsWhatRuns/more_money/sqlite"},
	{what: "a denial is not remembered", file: "approvals/questions.go", old: "WHEN 'rejected' THEN", new: "WHEN 'never' THEN", tests: "TestWhatWasDenied/sqlite"},
	{what: "a reason makes it another question", file: "approvals/questions.go", old: "return Guards(name) })", new: "return Guards(name) && name != \"reason\" })", tests: "TestWhatWasDenied/sqlite"},
	{what: "a changed warning makes it another question", file: "approvals/questions.go", old: "effect.Warnings = nil", new: "_ = effect.Warnings", tests: "TestADenialOutlives/sqlite"},
	{what: "an agent's key decides", file: "approvals/votes.go", old: "p.Kind != auth.KindPerson ||", new: "", tests: "TestNoKeyIsSomebody/sqlite"},
	{what: "two who vote at once do not see each other", file: "approvals/cases.go", old: "if err := tx.Lock(`SELECT id FROM jobs WHERE id = $1`, r.JobID); err != nil {", new: "if err := error(nil); err != nil {", tests: "TestWhatHappensAtOnce"},

	{
		what: "the job's state is not compared", file: "approvals/machine.go", old: "t.act == act && t.from == c.State && t.job == c.Job", new: "t.act == act && t.from == c.State",
		same: "the job's state follows from the request's, which is compared, and the statement that moves the job names it",
	},
	{
		what: "the gate lets an agent's key vote", file: "gate/vote.go", old: "	if p.Kind != auth.KindPerson {\n		return tools.Refuse", new: "	if false {\n		return tools.Refuse",
		tests: "TestOnlyPeopleOfTheMerchantVote/sqlite", same: "a key holds no approvals:resolve, and who is no person is nobody who decides (voter)",
	},
	{
		what: "a denial is not weighed", file: "approvals/machine.go", old: "return shortfall{people: rule.least()}, nil", new: "continue",
		same: "a request that somebody denied is rejected, and nobody asks any more whether its votes are enough",
	},
}

// killed reports whether the tests find a mutant.
func (m mutant) killed(t *testing.T) bool {
	t.Helper()
	out, err := m.try(t)
	if err == nil {
		return false
	}
	if !strings.Contains(out, "--- FAIL") {
		t.Fatalf("%s: it was not tried: %v\n%s", m.what, err, out)
	}
	return true
}

// try builds and tests the code with the fault in it.
func (m mutant) try(t *testing.T) (out string, err error) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	faulty := filepath.Join(t.TempDir(), filepath.Base(m.file))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: faulty}})
	if err != nil {
		t.Fatal(err)
	}
	list := faulty + ".json"
	if err := os.WriteFile(faulty, []byte(strings.Replace(m.source(t), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	tests, room := m.tests, "../gate"
	switch {
	case tests == "":
		tests, room = byMachine, "."
	case strings.HasPrefix(tests, "TestNo"):
		room = "."
	}
	run := exec.CommandContext(t.Context(), "go", "test", "-overlay", list, "-vet=off", "-failfast", "-count=1", "-timeout=5m", "-run", tests, room)
	run.Env = append(os.Environ(), mutantsVariable+"=none", casesVariable+"=8000", "DTCGATE_TEST_ORDERS=few")
	if m.tests == "" {
		run.Args = append(run.Args, "-rapid.nofailfile", "-rapid.shrinktime=1s")
	}
	raw, err := run.CombinedOutput()
	return string(raw), err
}

// source is the file that the fault is planted in.
func (m mutant) source(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", m.file))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestEveryPlantedFaultIsFound(t *testing.T) {
	which := os.Getenv(mutantsVariable)
	for _, m := range mutants {
		t.Run(m.what, func(t *testing.T) {
			if n := strings.Count(m.source(t), m.old); n != 1 {
				t.Fatalf("%q stands in %s %d times, want once", m.old, m.file, n)
			}
			switch {
			case which == "none", which != "all" && !m.always || testing.Short():
				return
			case m.killed(t) != (m.same == ""):
				t.Errorf("found is %v; %s", m.same != "", m.same)
			}
		})
	}
}
