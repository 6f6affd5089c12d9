package gate

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// The steps that may happen to a parked call, in orders of them, through the gate and a database: after the isolation tester of PostgreSQL,
// one named step after the other and no sleeping. Package approvals tries all orders of all nine on the machine alone.

// ordersVariable set to "all" tries every order of every subset of up to six steps on SQLite and thousands of all nine (`make permutations`);
// set to "few" only those of three and four, which the planted faults are tried on.
const ordersVariable = "DTCGATE_TEST_ORDERS"

var allSteps = []string{"approve1", "approve2", "veto", "expire", "revoke requester", "revoke approver", "edit policy", "change resource", "consume"}

// An outcome is what is left of an order: where the request stands, how often its call ran, and whose decisions were acknowledged.
type outcome struct {
	state        approvals.State
	ran          int
	acknowledged string
}

// foretold is what an order comes to, told naively: a walk along it with a handful of flags and none of the gate's code. A worker comes once
// more after the last step.
func foretold(order []string) outcome {
	state, ran := approvals.Pending, 0
	var said []string
	happened := map[string]bool{}
	open := func() bool { return state == approvals.Pending && !happened["expire"] }
	for _, step := range append(slices.Clone(order), "consume") {
		switch {
		case step == "veto" && open():
			state, said = approvals.Rejected, append(said, step)
		case step == "approve1" && open() && !happened["revoke approver"], step == "approve2" && open():
			said = append(said, step)
			if len(said) == 2 && !happened["revoke approver"] {
				state = approvals.Approved
			}
		case step == "expire" && (state == approvals.Pending || state == approvals.Approved):
			state = approvals.Expired
		case step == "consume" && state == approvals.Approved:
			state = approvals.Consumed
			for _, spoils := range []string{"revoke requester", "revoke approver", "edit policy", "change resource"} {
				if happened[spoils] {
					state = approvals.Invalidated
				}
			}
			if state == approvals.Consumed {
				ran++
			}
		}
		happened[step] = true
	}
	slices.Sort(said)
	return outcome{state, ran, strings.Join(said, " ")}
}

// A stage is a house with the people and the policies that the steps take, and is put back in order after each.
type stage struct {
	*house
	k      *hook
	people map[string]auth.Principal
	other  *Gate // a second gate on the same database; nil: none

	mu   sync.Mutex
	said []string
}

const (
	usualPolicy  = 2
	strictPolicy = 3
)

func newStage(t *testing.T, db *store.DB) *stage {
	t.Helper()
	h, k := newHooked(t, db)
	s := &stage{house: h, k: k, people: h.people("mara marketing", "jo manager", "vic manager")}
	const need = "approvals:\n- {name: both, need: {people: %d, roles: [marketing, manager]}}\n"
	h.tx(func(tx *store.Tx) error {
		for i, people := range []int{2, 3} {
			v := policy.Version{Merchant: h.merchant, Source: openWith(fmt.Sprintf(need, people)), Author: "test"}
			if _, err := policy.Publish(tx, v, int64(usualPolicy+i-1)); err != nil {
				return err
			}
		}
		return nil
	})
	s.tidy()
	return s
}

// tidy puts the stage back as it was before an order.
func (s *stage) tidy() {
	s.t.Helper()
	s.tx(func(tx *store.Tx) error {
		for _, q := range []string{
			`DELETE FROM approval_votes`, `DELETE FROM approvals`, `DELETE FROM effects`, `DELETE FROM jobs`, `DELETE FROM test_effects`,
			`UPDATE test_things SET version = 1`, `UPDATE people SET revoked_at = NULL`, `UPDATE agent_keys SET revoked_at = NULL`,
			fmt.Sprintf(`UPDATE merchants SET policy_version = %d`, usualPolicy),
		} {
			if _, err := tx.Exec(q); err != nil {
				return fmt.Errorf("%s: %w", q, err)
			}
		}
		return nil
	})
	s.said = nil
}

// does is a step on a gate.
func (s *stage) does(g *Gate, step, id, seen string) error {
	at := &house{Gate: g, t: s.t, merchant: s.merchant}
	ballot := func(who string, d approvals.Decision) {
		_, err := g.Vote(s.t.Context(), s.people[who], Ballot{ID: id, Decision: d, Reason: "because", Seen: seen, Channel: "rest"})
		if err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.said = append(s.said, step)
		}
	}
	switch step {
	case "approve1":
		ballot("mara", approvals.Approve)
	case "approve2":
		ballot("jo", approvals.Approve)
	case "veto":
		ballot("vic", approvals.Deny)
	case "expire":
		s.k.pass(approvals.TimeToDecide)
		return g.Sweep(s.t.Context())
	case "revoke requester":
		return at.administer(func(tx *store.Tx) error { return auth.RevokeKey(tx, s.merchant, s.bot.ID) })
	case "revoke approver":
		return at.administer(func(tx *store.Tx) error { return auth.RevokePerson(tx, s.merchant, s.people["mara"].ID) })
	case "edit policy":
		return at.administer(func(tx *store.Tx) error { return auth.SetPolicyVersion(tx, s.merchant, usualPolicy, strictPolicy) })
	case "change resource":
		return g.db.InTx(s.t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE test_things SET version = version + 1 WHERE name = 'lamp'`)
			return err
		})
	case "consume":
		_, err := g.Resume(s.t.Context(), "worker-1")
		return err
	}
	return nil
}

// ask parks the call that an order is about.
func (s *stage) ask() (id, seen string) {
	s.t.Helper()
	r := s.parked("test_move", oneLamp)
	return r.JobID, r.Approval.Fingerprint
}

// plays plays an order and gives what it came to.
func (s *stage) plays(order []string) outcome {
	s.t.Helper()
	s.tidy()
	id, seen := s.ask()
	for _, step := range append(slices.Clone(order), "consume") {
		if err := s.does(s.Gate, step, id, seen); err != nil {
			s.t.Fatalf("%v: %s: %v", order, step, err)
		}
	}
	return s.came(id)
}

// came reads what has become of a call, and holds what was acknowledged to what is stored and on record.
func (s *stage) came(id string) outcome {
	s.t.Helper()
	slices.Sort(s.said)
	out := outcome{acknowledged: strings.Join(s.said, " "), ran: s.effects()}
	voters := map[string]string{"approve1": "mara", "approve2": "jo", "veto": "vic"}
	s.tx(func(tx *store.Tx) error {
		r, err := approvals.Find(tx, s.merchant, id)
		if err != nil {
			return err
		}
		if out.state = r.State; len(r.Votes) != len(s.said) {
			s.t.Errorf("%d votes are stored, and %v were acknowledged", len(r.Votes), s.said)
		}
		for _, step := range s.said {
			n, err := store.One(tx, func(row store.Row) (n int, err error) { return n, row.Scan(&n) },
				`SELECT COUNT(*) FROM audit_entries WHERE job_id = $1 AND event = 'approval.vote' AND actor = $2`, id, "person:"+s.people[voters[step]].ID)
			if err != nil || n != 1 {
				s.t.Errorf("%s is on record %d times: %v", step, n, err)
			}
		}
		return nil
	})
	return out
}

// tries holds an order to what was foretold.
func (s *stage) tries(order []string, reached map[outcome]int) {
	s.t.Helper()
	got, want := s.plays(order), foretold(order)
	if got != want {
		s.t.Fatalf("%v came to %+v, want %+v", order, got, want)
	}
	reached[got]++
}

// orders gives every order of every subset of so many steps that has what it takes to run: both who agree, and a worker.
func orders(size int) (all [][]string) {
	var grow func(order []string)
	grow = func(order []string) {
		if len(order) == size {
			all = append(all, slices.Clone(order))
			return
		}
		for _, step := range allSteps {
			if !slices.Contains(order, step) {
				grow(append(slices.Clip(order), step))
			}
		}
	}
	grow(nil)
	return slices.DeleteFunc(all, func(order []string) bool {
		return !slices.Contains(order, "approve1") || !slices.Contains(order, "approve2") || !slices.Contains(order, "consume")
	})
}

// sampled gives n of them, by a seed.
func sampled(rng *rand.Rand, all [][]string, n int) [][]string {
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// nine gives n orders of all steps.
func nine(rng *rand.Rand, n int) (all [][]string) {
	for range n {
		order := slices.Clone(allSteps)
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		all = append(all, order)
	}
	return all
}

// playbill is what is played on an engine: in every run all orders of up to four steps and samples of more.
func playbill(engine string, rng *rand.Rand) (all [][]string) {
	every := slices.Concat(orders(3), orders(4))
	switch how := os.Getenv(ordersVariable); {
	case how == "few":
		return every
	case how != "all":
		return slices.Concat(every, sampled(rng, orders(5), 150), sampled(rng, orders(6), 100), nine(rng, 50))
	case engine == "sqlite":
		return slices.Concat(every, orders(5), orders(6), nine(rng, 5000))
	}
	return slices.Concat(every, orders(5), nine(rng, 2000))
}

func TestEveryOrderOfStepsComesToWhatIsForetold(t *testing.T) {
	inOneGoroutine(t)
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, seed, reached := newStage(t, db), rand.Uint64(), map[outcome]int{}
		all := playbill(db.Engine(), rand.New(rand.NewPCG(seed, 0)))
		t.Logf("%d orders, seed %d", len(all), seed)
		for _, order := range all {
			s.tries(order, reached)
		}
		ends := map[approvals.State]bool{}
		for out := range reached {
			ends[out.state] = true
		}
		if len(ends) < 4 {
			t.Errorf("only these were reached: %v", reached)
		}
	})
}

// serial are all outcomes of orders of these steps.
func serial(steps []string) map[outcome]bool {
	all := map[outcome]bool{}
	var walk func(order, left []string)
	walk = func(order, left []string) {
		if len(left) == 0 {
			all[foretold(order)] = true
		}
		for i, step := range left {
			walk(append(slices.Clip(order), step), slices.Delete(slices.Clone(left), i, i+1))
		}
	}
	walk(nil, steps)
	return all
}

// casts are the steps that meet at once. The time that is over for one is over for all, so that an expiry comes alone with the votes.
var meetings = [][]string{
	{"approve1", "approve2", "consume", "consume"},
	{"approve1", "approve2", "veto", "consume"},
	{"approve1", "approve2", "veto", "revoke approver", "consume", "consume"},
	{"approve1", "approve2", "revoke requester", "consume"},
	{"approve1", "approve2", "edit policy", "consume"},
	{"approve1", "approve2", "change resource", "consume"},
	{"approve1", "approve2", "veto", "revoke requester", "revoke approver", "edit policy", "change resource", "consume"},
}

// On SQLite there is one writer, so that what meets there is one after the other already.
func TestWhatHappensAtOnceComesToWhatSomeOrderComesTo(t *testing.T) {
	dsn := storetest.DSN(t, "postgres")
	s := newStage(t, storetest.Open(t, dsn))
	s.other = New(Config{DB: storetest.Open(t, dsn), Tools: s.tools, Log: zerolog.Nop()})
	s.other.db.Now = s.db.Now
	rounds := 6
	if os.Getenv(ordersVariable) == "all" {
		rounds = 300
	}
	reached := map[outcome]int{}
	for _, steps := range meetings {
		may := serial(steps)
		for range rounds {
			out := s.meet(steps)
			if !may[out] {
				t.Fatalf("%v at once came to %+v, which no order of them comes to", steps, out)
			}
			reached[out]++
		}
	}
	t.Logf("%d outcomes: %v", len(reached), reached)
	if len(reached) < 3 {
		t.Error("the steps never met: the test shows nothing")
	}
}

// meet starts steps at once, every other one at the second gate, and gives what they came to once a worker has come again.
func (s *stage) meet(steps []string) outcome {
	s.t.Helper()
	s.tidy()
	id, seen := s.ask()
	var all sync.WaitGroup
	start := make(chan struct{})
	for i, at := range rand.Perm(len(steps)) {
		all.Go(func() {
			<-start
			if err := s.does([]*Gate{s.Gate, s.other}[i%2], steps[at], id, seen); err != nil {
				s.t.Errorf("%s: %v", steps[at], err)
			}
		})
	}
	close(start)
	all.Wait()
	for s.job(id).Status == tools.JobQueued { // a worker that met a change of rights left it for later
		s.resume()
	}
	return s.came(id)
}
