package approvals

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// under parks a request whose job was stopped by a rule of the policy of that name.
func (b *board) under(rule string) (r Request) {
	b.t.Helper()
	r = b.asked(Rule{Name: rule, People: 1})
	b.tx(func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE jobs SET policy_rule = $1 WHERE id = $2`, rule, r.JobID)
		return err
	})
	return r
}

// decided is under with a vote after so long, by somebody who looked for so many seconds.
func (b *board) decided(rule string, v Vote, after time.Duration, open int64) Request {
	b.t.Helper()
	r := b.under(rule)
	b.passed += after
	v.OpenSeconds = open
	b.casts(r, v)
	b.passed += ManyWithin
	return r
}

func (b *board) reported(days int) map[string]RuleReport {
	b.t.Helper()
	found, asked := map[string]RuleReport{}, int64(1<<62)
	b.tx(func(tx *store.Tx) error {
		all, err := Report(tx, b.merchant, tx.Now.AddDate(0, 0, -days))
		for _, r := range all {
			if r.Asked > asked {
				b.t.Errorf("%s comes after one that was asked less", r.Rule)
			}
			asked, found[r.Rule] = r.Asked, r
		}
		return err
	})
	return found
}

func TestAReportTellsHowRulesDo(t *testing.T) {
	onBoard(t, func(t *testing.T, b *board) {
		yes := b.person("jo", "manager")
		no := yes
		no.Decision = Deny
		b.decided("old", yes, time.Minute, 60)
		b.passed += 8 * 24 * time.Hour
		for range 10 {
			b.decided("quick", yes, 2*time.Second, 1)
			b.decided("kind", yes, time.Minute, 60)
			b.decided("strict", yes, time.Minute, 60)
			b.under("ignored")
		}
		b.decided("strict", no, time.Hour, 1)
		b.decided("rare", yes, time.Minute, 60)
		b.tx(func(tx *store.Tx) error { // all have run
			_, err := tx.Exec(`UPDATE approvals SET state = 'consumed' WHERE state = 'approved'`)
			return err
		})
		b.passed += TimeToDecide
		b.expire()
		b.under("ignored")
		want := map[string]RuleReport{
			"quick":   {Asked: 10, Approved: 10, Flagged: 10, Median: 2 * time.Second, Advice: "Nobody ever said no, and most looked for seconds"},
			"kind":    {Asked: 10, Approved: 10, Median: time.Minute, Advice: "Nobody ever said no: raise"},
			"strict":  {Asked: 11, Approved: 10, Denied: 1, Median: time.Minute},
			"rare":    {Asked: 1, Approved: 1, Median: time.Minute},
			"ignored": {Asked: 11, Lapsed: 10, Open: 1, Advice: "Most lapse"},
		}
		b.holds(b.reported(7), want)
		if all := b.reported(12); all["old"].Asked != 1 || len(all) != 6 {
			t.Errorf("of twelve days: %+v", all)
		}
	})
}

// holds holds a report to what it should say; of advice to how it begins.
func (b *board) holds(got, want map[string]RuleReport) {
	b.t.Helper()
	for rule, w := range want {
		g := got[rule]
		if strings.HasPrefix(g.Advice, w.Advice) && (w.Advice == "") == (g.Advice == "") {
			g.Advice = w.Advice
		}
		w.Rule, w.Seconds = rule, int64(w.Median.Seconds())
		if diff := cmp.Diff(w, g); diff != "" {
			b.t.Errorf("%s (-want +got):\n%s", rule, diff)
		}
	}
	if len(got) != len(want) {
		b.t.Errorf("%d rules are told, want %d", len(got), len(want))
	}
}

// What became of a call later says nothing about the rule, and only a decision took somebody time.
func TestAReportCountsDecisionsAndNotWhatCameOfThem(t *testing.T) {
	onBoard(t, func(t *testing.T, b *board) {
		yes := b.person("jo", "manager")
		end := func(r Request, act func(*store.Tx) error) {
			t.Helper()
			b.tx(act)
			if now := b.now(r); now.State == Pending || now.State == Approved {
				t.Errorf("it is %s still", now.State)
			}
		}
		off := func(r Request) {
			end(r, func(tx *store.Tx) error {
				_, err := Cancel(tx, r, "person:x", "no")
				return err
			})
		}
		off(b.under("called off"))
		off(b.decided("called off", yes, time.Minute, 60))
		overtaken := b.under("changed")
		end(overtaken, func(tx *store.Tx) error { return Supersede(tx, overtaken, nil, "changed") })
		stale := b.decided("changed", yes, time.Minute, 60)
		end(stale, func(tx *store.Tx) error {
			j, err := findJob(tx, stale.JobID)
			if err != nil {
				return err
			}
			return Invalidate(tx, j, tools.ApprovalInvalidated, "changed")
		})
		b.under("late")
		b.decided("late", yes, time.Minute, 60)
		b.passed += TimeToDecide
		b.expire()
		b.holds(b.reported(7), map[string]RuleReport{
			"called off": {Asked: 2, Approved: 1, Other: 1},
			"changed":    {Asked: 2, Approved: 1, Other: 1},
			"late":       {Asked: 2, Approved: 1, Lapsed: 1},
		})
	})
}

func (b *board) expire() {
	b.t.Helper()
	b.tx(func(tx *store.Tx) error {
		_, _, err := Expire(tx, 100)
		return err
	})
}
