//go:build !race

package approvals

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// A mirror does to stored requests what a trial does to a pure case, and compares the two after every step.
type mirror struct {
	*testing.T
	db       *store.DB
	merchant string
	now      time.Time
	tr       *trial
	recorded map[string]int // events of the case that is tried
}

func newMirror(t *testing.T, db *store.DB) *mirror {
	m := &mirror{T: t, db: db, now: startOfTime}
	db.Now = func() time.Time { return m.now }
	m.tx(func(tx *store.Tx) error {
		merchant, err := auth.EnsureMerchant(tx, "demo")
		m.merchant = merchant.ID
		for _, role := range townRoles {
			scopes := []auth.Scope{auth.ApprovalsResolve}
			switch role {
			case clerk:
				scopes = []auth.Scope{auth.ApprovalsRead}
			case chief:
				scopes = append(scopes, auth.ApprovalsOverride)
			}
			err = errors.Join(err, auth.PutRole(tx, auth.Role{Merchant: m.merchant, Name: role, Scopes: scopes}))
		}
		return err
	})
	return m
}

func (m *mirror) tx(fn func(*store.Tx) error) {
	m.Helper()
	if err := m.db.InTx(m.Context(), fn); err != nil {
		m.Fatal(err)
	}
}

// try begins a trial of a request that is stored, with people who are.
func (m *mirror) try(rng *rand.Rand, n tally) *trial {
	m.now = m.now.Add(time.Hour)
	w, ids := newTown(rng, 5), map[string]string{}
	m.tx(func(tx *store.Tx) error {
		for _, p := range w.people {
			person, _, err := auth.AddPerson(tx, m.merchant, fmt.Sprint(p.id, " ", rng.Uint64()))
			if err != nil {
				return err
			}
			ids["person:"+p.id], p.id = "person:"+person.ID, person.ID
		}
		return nil
	})
	chain := slices.Clone(townChains[rng.IntN(len(townChains))])
	for i := range chain {
		chain[i] = cmp.Or(ids[chain[i]], chain[i])
	}
	j := Job{Job: tools.Job{JobID: store.NewID("job", m.now)}, Merchant: m.merchant, PrincipalID: "key_x", Chain: chain}
	if rng.IntN(6) == 0 {
		j.RunAfter = m.now.Add(time.Duration(rng.IntN(12)) * time.Hour)
	}
	c := Case{Job: tools.JobPending}
	m.tx(func(tx *store.Tx) (err error) {
		if c.Request, err = Park(tx, j, aRequest(m, rng, aRule(rng), chain)); err == nil {
			c.Request, err = Find(tx, m.merchant, c.ID)
		}
		if err == nil {
			j, err = findJob(tx, c.JobID)
		}
		c.RunAfter = j.RunAfter
		return err
	})
	m.recorded = map[string]int{"approval.requested": 1}
	m.tr = tryCase(m, rng, n, c, w)
	m.tr.also = m.also
	return m.tr
}

// settle makes the stored people what the town says they are.
func (m *mirror) settle(tx *store.Tx) error {
	w := m.tr.o.town
	if !w.changed {
		return nil
	}
	w.changed = false
	for _, p := range w.people {
		revoked := any(nil)
		if !p.active {
			revoked = int64(1)
		}
		_, err := tx.Exec(`UPDATE people SET revoked_at = NULL WHERE id = $1`, p.id)
		if err == nil {
			err = auth.GiveRoles(tx, m.merchant, p.id, p.roles)
		}
		if err == nil {
			_, err = tx.Exec(`UPDATE people SET revoked_at = CAST($1 AS BIGINT) WHERE id = $2`, revoked, p.id)
		}
		if err != nil {
			return err
		}
	}
	if _, err := tx.Exec(`DELETE FROM delegations`); err != nil {
		return err
	}
	for pair, is := range w.deputy {
		if !is {
			continue
		}
		_, err := tx.Exec(`INSERT INTO delegations (id, merchant_id, absent_id, deputy_id, starts_at, ends_at, made_by, created_at) VALUES ($1, $2, $3, $4, $5, $6, 'operator', $5)`,
			store.NewID("dlg", m.now), m.merchant, pair[1], pair[0], store.Micros(startOfTime), store.Micros(startOfTime.AddDate(10, 0, 0)))
		if err != nil {
			return err
		}
	}
	return nil
}

// also does what the trial does, and compares.
func (m *mirror) also(e Event, next Case, events []string, want error) {
	m.now = m.tr.now
	m.tx(m.settle)
	err := m.db.InTx(m.Context(), func(tx *store.Tx) error { return m.do(tx, e) })
	if e.Act != ActEscalate && e.Act != ActLapse && e.Act != ActSupersede && !errors.Is(err, want) || want == nil && err != nil { // those three say nothing when they come too late
		m.tr.fail("stored: %v, pure: %v", err, want)
	}
	for _, event := range events {
		m.recorded[event]++
	}
	m.tx(func(tx *store.Tx) error {
		r, err := Find(tx, m.merchant, next.ID)
		if err != nil {
			return err
		}
		j, err := findJob(tx, next.JobID)
		if err != nil {
			return err
		}
		if got, want := stands(Case{Request: r, Job: j.Status}), stands(next); got != want {
			m.tr.fail("stored:\n%s\npure:\n%s", got, want)
		}
		return m.sameRecord(tx, j.JobID)
	})
}

// do is an event as the gate lets it happen.
func (m *mirror) do(tx *store.Tx, e Event) error {
	r, err := Find(tx, m.merchant, m.tr.c.ID)
	if err != nil {
		return err
	}
	j, err := findJob(tx, r.JobID)
	if err != nil {
		return err
	}
	switch e.Act {
	case ActVote:
		_, err = Cast(tx, r, e.Vote)
	case ActWithdraw:
		_, err = Withdraw(tx, r, e.Vote)
	case ActEscalate:
		_, err = Escalate(tx, 1000)
	case ActCancel:
		_, err = Cancel(tx, r, e.By, e.Why)
	case ActSupersede:
		err = Supersede(tx, r, e.Changed, e.Why)
	case ActLapse:
		_, _, err = Lapse(tx, r)
	case ActInvalidate:
		err = Invalidate(tx, j, "APPROVAL_INVALIDATED", e.Why, e.Changed...)
	case ActConsume:
		if err = Consume(tx, j, r); err == nil {
			err = Start(tx, j, "w")
		}
	}
	return err
}

// stands is all of a case that a transition may change, in words.
func stands(c Case) string {
	micros := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.UnixMicro()
	}
	s := fmt.Sprintf("%s, job %s, level %d, decided %d, until %d, %d changed\n", c.State, c.Job, c.Level, micros(c.DecidedAt), micros(c.ExecuteBefore), len(c.Changed))
	votes := slices.SortedFunc(slices.Values(c.Votes), func(a, b Vote) int { return cmp.Compare(a.PersonID, b.PersonID) })
	for _, v := range votes {
		s += fmt.Sprintf("%s for %q: %s, alone %v, %q, saw %.8s, read %v, at %d, back %d\n", v.PersonID, v.For, v.Decision, v.Override, v.Reason, v.Seen, v.Acknowledged,
			micros(v.At), micros(v.Withdrawn))
	}
	return s
}

// sameRecord holds the audit log to the events of the pure machine.
func (m *mirror) sameRecord(tx *store.Tx, job string) error {
	all, err := audit.Find(tx, audit.Filter{JobID: job, Limit: 1000})
	got := map[string]int{}
	for _, e := range all {
		if len(e.Event) > 9 && e.Event[:9] == "approval." {
			got[e.Event]++
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(m.recorded) {
		m.tr.fail("on record: %v, want %v", got, m.recorded)
	}
	return err
}

func TestWhatIsStoredIsWhatThePureMachineGives(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		n, m := tally{}, newMirror(t, db)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		for i := range casesOr(20_000) / 133 {
			tr := m.try(rand.New(rand.NewPCG(seed, uint64(i))), n)
			for s := 0; s < 30 && tr.after < 2; s++ {
				tr.step()
			}
			tr.finally()
		}
		n.reached(t, casesOr(20_000)/20_000, "consumed after approved", "rejected after pending", "approved after pending", "expired after pending")
	})
}
