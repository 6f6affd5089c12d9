package policy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/gate/policy"
)

// The variables with which `make differential` asks for more than an ordinary run does.
const (
	tuplesVariable = "DTCGATE_TEST_POLICY_TUPLES" // pairs of a document and a call
	pairsVariable  = "DTCGATE_TEST_POLICY_PAIRS"  // of a document and a narrower one, each with a call
	seedVariable   = "DTCGATE_TEST_POLICY_SEED"
)

// How many calls each document is asked about: making one ready takes as long as some hundred answers.
const (
	callsOfEach = 250
	pairsOfEach = 250
)

// fromEnvironment is a number that a variable holds, or the usual one.
func fromEnvironment(t *testing.T, name string, usual int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return usual
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number", name, v)
	}
	return n
}

// A tally counts what was met, by many at once.
type tally struct {
	sync.Mutex
	met map[string]int
}

func (a *tally) add(met map[string]int) {
	a.Lock()
	defer a.Unlock()
	for kind, n := range met {
		a.met[kind] += n
	}
}

// shows fails for everything that was never met.
func (a *tally) shows(t *testing.T, kinds []string) {
	for _, kind := range kinds {
		if a.met[kind] == 0 {
			t.Errorf("the test shows nothing about %q", kind)
		}
	}
	for _, kind := range slices.Sorted(keysOf(a.met)) {
		t.Logf("%9d  %s", a.met[kind], kind)
		if !slices.Contains(kinds, kind) {
			t.Errorf("%q is not in the list of what must be met", kind)
		}
	}
}

func keysOf(m map[string]int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// onAllCores runs jobs on all cores until one fails, and tells how far it is.
func onAllCores(t *testing.T, jobs, each int, job func(n int, met map[string]int) error) *tally {
	t.Helper()
	all := &tally{met: map[string]int{}}
	var next, done atomic.Int64
	var failed atomic.Pointer[error]
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for n := int(next.Add(1)) - 1; n < jobs && failed.Load() == nil; n = int(next.Add(1)) - 1 {
				met := map[string]int{}
				if err := job(n, met); err != nil {
					failed.Store(&err)
					return
				}
				all.add(met)
				if d := int(done.Add(1)); jobs >= 1000 && d%(jobs/100) == 0 {
					fmt.Fprintf(os.Stderr, "%s: %d of %d\n", t.Name(), d*each, jobs*each)
				}
			}
		})
	}
	workers.Wait()
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
	return all
}

// kinds are everything that a verdict can be made of. A run that does not meet one of them says nothing about it.
var kinds = append([]string{
	"unknown effect", "switched: off", "profile: no such profile", "profile: denied", "profile: not granted", "action: denied", "action: not granted",
	"objects: denied", "objects: not granted", "freeze: frozen", "ceiling: level", "ceiling: undo", "ceiling: blast", "ceiling: data", "ceiling: reach", "ceiling: money not known",
	"ceiling: money", "ceiling: currency", "ceiling: customers", "ceiling: customers not counted", "sandbox: no source", "sandbox: minimum", "sandbox: STRICT tools", "sandbox: STRICT ceiling",
	"sandbox: ADAPTIVE tools", "sandbox: ADAPTIVE ceiling", "sandbox: OPEN tools", "sandbox: OPEN ceiling", "conditions: forbidden", "conditions: an error", "conditions: no permit",
	"quiet: by day", "quiet: over midnight", "run: the profile", "run: free", "run: a rule", "park: a rule", "park: always", "park: the key",
}, chargeKinds()...)

func chargeKinds() []string {
	all := []string{"charge: the day of a profile, money", "charge: the day of a profile, customers", "charge: another currency"}
	for _, unit := range []string{"calls", "customers", "money"} {
		for _, subject := range []string{"key", "chain", "merchant"} {
			all = append(all, fmt.Sprintf("charge: %s of %s", unit, subject))
		}
	}
	return all
}

// count notes what an answer is made of.
func (a answer) count(f *policy.Facts, met map[string]int) {
	met[a.kind]++
	for _, c := range a.Charges {
		unit, _, _ := strings.Cut(c.Unit, ":")
		switch {
		case strings.HasSuffix(c.Budget, ".ceiling.money"):
			met["charge: the day of a profile, money"]++
		case strings.HasSuffix(c.Budget, ".ceiling.customers"):
			met["charge: the day of a profile, customers"]++
		case c.Subject == "merchant":
			met["charge: "+unit+" of merchant"]++
		case c.Subject == f.Caller:
			met["charge: "+unit+" of chain"]++
		default:
			met["charge: "+unit+" of key"]++
		}
		if unit == "money" && !strings.HasSuffix(c.Unit, f.Effect.Money.Currency) {
			met["charge: another currency"]++
		}
	}
}

// differs says in what the engine and the naive evaluator differ; "" in nothing.
func differs(engine policy.Verdict, plain answer) string {
	if engine.Outcome != plain.Outcome || engine.Check != plain.Check || engine.Rule != plain.Rule || engine.Unknown != plain.Unknown {
		return fmt.Sprintf("%s by %q of %q, and naively %s by %q of %q (%s)", engine.Outcome, engine.Rule, engine.Check, plain.Outcome, plain.Rule, plain.Check, plain.kind)
	}
	if (engine.Refusal != nil) != (engine.Outcome == policy.Refuse && !engine.Unknown) {
		return "a refusal that is none"
	}
	if !sameAsk(engine.Ask, plain.Ask) {
		return fmt.Sprintf("asks %+v, and naively %+v", engine.Ask, plain.Ask)
	}
	if len(engine.Charges) != len(plain.Charges) {
		return fmt.Sprintf("charges %v, and naively %v", engine.Charges, plain.Charges)
	}
	for i, c := range engine.Charges {
		p := plain.Charges[i]
		if !c.From.Equal(p.From) || !c.Until.Equal(p.Until) {
			return fmt.Sprintf("charge %s is from %s to %s, and naively from %s to %s", c.Budget, c.From, c.Until, p.From, p.Until)
		}
		c.From, c.Until = p.From, p.Until // the same, in whatever zone they are written
		if c != p {
			return fmt.Sprintf("charges %+v, and naively %+v", c, p)
		}
	}
	return ""
}

func sameAsk(a, b approvals.Rule) bool {
	return a.Name == b.Name && a.People == b.People && slices.Equal(a.Roles, b.Roles) && slices.Equal(a.From, b.From) && a.Expires == b.Expires && a.Override == b.Override && a.Grants == b.Grants &&
		(len(a.Escalate) == 0 && len(b.Escalate) == 0 || reflect.DeepEqual(a.Escalate, b.Escalate))
}

// facts writes a call down as somebody can repeat it.
func facts(f *policy.Facts) string {
	out, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%s of %s at %s from %q over %s, resumed %t, with %s", out, f.Tool.Name, f.At, f.Source, f.Transport, f.Resumed, f.Args)
}

func TestTheEngineAnswersAsTheDocumentReads(t *testing.T) {
	policy.InOneGoroutine(t)
	t.Parallel()
	seed := uint64(fromEnvironment(t, seedVariable, 1))
	jobs := (fromEnvironment(t, tuplesVariable, 160_000) + callsOfEach - 1) / callsOfEach
	met := onAllCores(t, jobs, callsOfEach, func(n int, met map[string]int) error {
		d := newDice(seed, uint64(n))
		doc := text(d.document())
		engine, plain, err := ready(doc)
		if err != nil {
			return err
		}
		for range callsOfEach {
			f := d.call()
			want := plain.decide(f)
			want.count(f, met)
			if difference := differs(engine.Decide(f), want); difference != "" {
				return fmt.Errorf("document %d of seed %d: %s\n%s\n\n%s", n, seed, difference, facts(f), doc)
			}
		}
		return nil
	})
	met.shows(t, kinds)
}
