package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// aged is a record of which the first entries are old: 10 of a hundred days ago and 5 of now, each with a checkpoint.
type aged struct {
	*victim
	old int64
}

const oldDays = 100 * 24 * time.Hour

func newAged(t *testing.T, db *store.DB) *aged {
	t.Helper()
	a := &aged{victim: &victim{db: db}, old: 10}
	a.log, a.verifiers = newLog(t, db)
	db.Now = func() time.Time { return time.Now().Add(-oldDays) }
	a.ids = appendCalls(t, db, 10)
	sequence(t, a.log)
	db.Now = time.Now
	a.ids = append(a.ids, appendCalls(t, db, 5)...)
	sequence(t, a.log)
	return a
}

// horizon sets one and numbers its entry.
func (a *aged) horizon(t *testing.T, seq int64) {
	t.Helper()
	inTx(t, a.db, func(tx *store.Tx) error { return SetHorizon(tx, seq, Entry{Actor: "operator:cli"}) })
	sequence(t, a.log)
}

func (a *aged) remove(t *testing.T, from, upTo int64) {
	t.Helper()
	inTx(t, a.db, func(tx *store.Tx) error {
		_, err := Remove(tx, from, upTo)
		return err
	})
}

func onAged(t *testing.T, fn func(t *testing.T, a *aged)) {
	storetest.Each(t, func(t *testing.T, db *store.DB) { fn(t, newAged(t, db)) })
}

func TestWhatIsKeptVerifiesAfterOldEntriesWent(t *testing.T) {
	onAged(t, func(t *testing.T, a *aged) {
		before := verify(t, a.db, a.verifiers)
		kept := theCheckpoint(t, a.db, 10)
		a.horizon(t, 10)
		for _, upTo := range []int64{3, 10} { // half-way, and whole
			a.remove(t, 1, upTo)
			r := verify(t, a.db, a.verifiers, kept, theCheckpoint(t, a.db, 15))
			if r.Bad != nil || r.Pruned != upTo || r.Sequenced != before.Sequenced+1 || r.Entries != 16-upTo || r.Size != 16 {
				t.Fatalf("after %d were removed: %+v", upTo, r)
			}
		}
		a.ids = append(a.ids, appendCalls(t, a.db, 3)...)
		sequence(t, a.log)
		if r := verify(t, a.db, a.verifiers, kept); r.Bad != nil || r.Size != 19 {
			t.Errorf("the tree does not grow after pruning: %+v", r)
		}
	})
}

// TestThePublishingOfAPolicyIsNotPruned: a receipt of a young call proves the policy that decided it by the entry that published it, however old that is.
func TestThePublishingOfAPolicyIsNotPruned(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		a := &aged{victim: &victim{db: db}}
		a.log, a.verifiers = newLog(t, db)
		then := time.Now().Add(-oldDays)
		db.Now = func() time.Time { return then }
		appendCalls(t, db, 3)
		appendOne(t, db, Entry{
			Event: policyPublished, Merchant: "mer_1", Resource: "policy:7", Reason: policyReason + digestOf(policySource) + ": Spring",
			Personal: map[string]string{"note": "as Ada wished"},
		})
		appendCalls(t, db, 3)
		sequence(t, a.log)
		db.Now = time.Now
		appendOne(t, db, Entry{Event: "call", CallID: "call_young", Merchant: "mer_1", Tool: "dtc_send", Status: "done", PolicyVersion: 7})
		sequence(t, a.log)
		a.horizon(t, 7)
		for _, done := range [][2]int64{{0, 1}, {2, 3}, {3, 5}, {5, 6}, {7, 8}} { // what was removed up to, and what is the first after it
			a.remove(t, 1, done[0])
			if r := verify(t, db, a.verifiers); r.Bad != nil {
				t.Fatalf("after %d were removed: %v", done[0], r.Bad)
			}
			inTx(t, db, func(tx *store.Tx) error {
				if first, err := FirstKept(tx); err != nil || first != done[1] {
					t.Errorf("after %d were removed the first is %d, %v", done[0], first, err)
				}
				return nil
			})
			_, r := receiptOf(t, db, "call_young", ReceiptOptions{Trusted: a.verifiers, Policy: somePolicy(then)})
			if len(r.Policies) != 1 || r.Policies[0].Text != policySource {
				t.Fatalf("after %d were removed a receipt has no policy: %+v", done[0], r.Policies)
			}
		}
		inTx(t, db, func(tx *store.Tx) error {
			var left int64
			err := tx.QueryRow(`SELECT COUNT(*) FROM audit_values v JOIN audit_sequence s ON s.entry_id = v.entry_id WHERE s.seq <= 7`).Scan(&left)
			if left != 0 {
				t.Errorf("%d personal values are left", left)
			}
			return err
		})
	})
}

func appendOne(t *testing.T, db *store.DB, e Entry) {
	t.Helper()
	inTx(t, db, func(tx *store.Tx) error {
		_, err := Append(tx, e)
		return err
	})
}

func theCheckpoint(t *testing.T, db *store.DB, size int64) (note string) {
	t.Helper()
	inTx(t, db, func(tx *store.Tx) (err error) {
		note, err = store.One(tx, text, `SELECT note FROM audit_checkpoints WHERE size = $1`, size)
		return err
	})
	return note
}

// refused has the database refuse a change that somebody makes with its password alone.
func (a *aged) refused(t *testing.T, what string, change func(*store.Tx) error) {
	t.Helper()
	if err := a.db.InTx(t.Context(), change); !store.IsConstraint(err) {
		t.Errorf("%s: %v, want a refusal by the database", what, err)
	}
}

// doing is a change by SQL.
func doing(q string, args ...any) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		_, err := tx.Exec(q, args...)
		return err
	}
}

func TestTheDatabaseRemovesOnlyWhatIsBehindAHorizon(t *testing.T) {
	const one = `DELETE FROM audit_entries WHERE id = $1`
	onAged(t, func(t *testing.T, a *aged) {
		a.refused(t, "an old entry without a horizon", doing(one, a.ids[0]))
		inTx(t, a.db, func(tx *store.Tx) error { return SetHorizon(tx, 10, Entry{Actor: "operator:cli"}) })
		a.refused(t, "behind a horizon that has no number", doing(one, a.ids[0]))
		sequence(t, a.log)
		a.refused(t, "a young entry above the horizon", doing(one, a.ids[10]))
		a.refused(t, "all entries", doing(`DELETE FROM audit_entries`))
		a.refused(t, "an old entry's change", doing(`UPDATE audit_entries SET actor = 'nobody' WHERE id = $1`, a.ids[0]))
		for _, table := range []string{"audit_sequence", "audit_tree"} {
			a.refused(t, "a row of "+table, doing(`DELETE FROM `+table+` WHERE seq = 1`))
		}
		a.refused(t, "a checkpoint", doing(`DELETE FROM audit_checkpoints WHERE size = 10`))
		inTx(t, a.db, doing(one, a.ids[0]))
	})
}

func TestTheDatabaseTakesOnlyHorizonsThatAreOldAndOnRecord(t *testing.T) {
	const insert = `INSERT INTO audit_horizons (seq, entry_id, at) VALUES ($1, $2, 0)`
	onAged(t, func(t *testing.T, a *aged) {
		a.refused(t, "a young horizon", func(tx *store.Tx) error { return SetHorizon(tx, 15, Entry{}) })
		a.refused(t, "one that is no checkpoint", func(tx *store.Tx) error { return SetHorizon(tx, 9, Entry{}) })
		a.db.Now = func() time.Time { return time.Now().Add(oldDays) }
		a.refused(t, "a young horizon by a clock that is ahead", func(tx *store.Tx) error { return SetHorizon(tx, 15, Entry{}) })
		a.db.Now = time.Now
		a.refused(t, "one that is not on record", doing(insert, 10, "aud_none"))
		a.refused(t, "one that another entry stands for", doing(insert, 10, a.ids[12]))
		a.refused(t, "one that names another number", func(tx *store.Tx) error {
			id, err := Append(tx, Entry{Event: EventPruned, Resource: "audit:100"})
			if err != nil {
				return err
			}
			return doing(insert, 10, id)(tx)
		})
		a.horizon(t, 10)
		a.refused(t, "the same again", func(tx *store.Tx) error { return SetHorizon(tx, 10, Entry{}) })
		a.refused(t, "a change of a horizon", doing(`UPDATE audit_horizons SET seq = 15`))
		a.refused(t, "the end of a horizon", doing(`DELETE FROM audit_horizons`))
	})
}

func TestATemporaryTableIsNoHorizon(t *testing.T) {
	onAged(t, func(t *testing.T, a *aged) {
		a.refused(t, "behind a table of the same name", func(tx *store.Tx) error {
			for _, q := range []string{
				`CREATE TEMPORARY TABLE audit_horizons (seq BIGINT, entry_id TEXT, at BIGINT)`,
				`INSERT INTO audit_horizons VALUES (15, '` + a.ids[14] + `', 0)`,
			} {
				if err := doing(q)(tx); err != nil {
					return err
				}
			}
			return doing(`DELETE FROM audit_entries WHERE id = $1`, a.ids[0])(tx)
		})
	})
}

func TestAMissingEntryIsFoundWhateverTheHorizonSays(t *testing.T) {
	onAged(t, func(t *testing.T, a *aged) {
		a.horizon(t, 10)
		a.remove(t, 1, 4)
		unprotect(t, a.db)
		del := `DELETE FROM audit_entries WHERE id = $1`
		values := `DELETE FROM audit_values WHERE entry_id = $1`
		a.want(t, "an entry above the horizon", 12, steps(doing(values, a.ids[11]), doing(del, a.ids[11])))
		a.want(t, "the horizon's own entry", 16, doing(`DELETE FROM audit_entries WHERE event = 'audit.pruned'`))
		a.want(t, "an old entry without its values", 7, doing(del, a.ids[6]))
		a.want(t, "a horizon moved ahead", 1, doing(`UPDATE audit_horizons SET seq = 15`))
		a.want(t, "a horizon that another entry stands for", 1, doing(`UPDATE audit_horizons SET entry_id = $1`, a.ids[14]))
		a.want(t, "no horizon", 1, doing(`DELETE FROM audit_horizons`))
		a.want(t, "the hash of what went", 2, doing(`UPDATE audit_tree SET hashes = '00' || substr(hashes, 3) WHERE seq = 2`))
		a.want(t, "no hash of what went", 3, doing(`UPDATE audit_tree SET hashes = '' WHERE seq = 3`))
		a.want(t, "the name of what went", 2, doing(`DELETE FROM audit_sequence WHERE seq = 2`))
		if bad, ok := a.after(t, doing(`UPDATE audit_entries SET body = '' WHERE id = $1`, a.ids[5])); !ok || bad == nil || bad.Seq != 6 {
			t.Errorf("an old entry that was emptied: %v", bad)
		}
	})
}

// TestAYoungHorizonIsFoundBySignedTimes has an insider set one with all triggers off: the server signs its entry, and Verify sees that it came too soon.
func TestAYoungHorizonIsFoundBySignedTimes(t *testing.T) {
	onAged(t, func(t *testing.T, a *aged) {
		unprotect(t, a.db)
		a.db.Now = func() time.Time { return time.Now().Add(oldDays) } // what the entry says of itself
		inTx(t, a.db, func(tx *store.Tx) error { return SetHorizon(tx, 15, Entry{Actor: "operator:cli"}) })
		a.db.Now = time.Now
		sequence(t, a.log)
		wantGood(t, verify(t, a.db, a.verifiers), 16)
		a.remove(t, 1, 15)
		r := verify(t, a.db, a.verifiers)
		if r.Bad == nil || r.Bad.Seq != 1 || !strings.Contains(r.Bad.Why, "not yet 30 days old") {
			t.Errorf("%+v", r)
		}
	})
}

func steps(all ...func(*store.Tx) error) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		for _, step := range all {
			if err := step(tx); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestFirstKeptAndReachAreFoundByHalving(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		l, _ := newLog(t, db)
		start := time.Now().Add(-oldDays).Truncate(time.Second)
		for i := range 20 {
			db.Now = func() time.Time { return start.Add(time.Duration(i) * time.Hour) }
			appendCalls(t, db, 3)
			sequence(t, l)
		}
		db.Now = time.Now
		inTx(t, db, func(tx *store.Tx) error {
			for i := range int64(20) {
				got, err := Reach(tx, start.Add(time.Duration(i)*time.Hour), 60)
				if err != nil || got != 3*(i+1) {
					t.Errorf("reach of hour %d: %d, %v", i, got, err)
				}
			}
			if got, err := Reach(tx, time.Now(), 31); err != nil || got != 30 {
				t.Errorf("reach of at most 31: %d, %v", got, err)
			}
			if got, err := Reach(tx, start.Add(-time.Hour), 60); err != nil || got != 0 {
				t.Errorf("reach of before all: %d, %v", got, err)
			}
			return SetHorizon(tx, 30, Entry{})
		})
		sequence(t, l)
		for _, upTo := range []int64{0, 1, 17, 30} {
			inTx(t, db, func(tx *store.Tx) error {
				if _, err := Remove(tx, 1, upTo); err != nil {
					return err
				}
				if got, err := FirstKept(tx); err != nil || got != upTo+1 {
					t.Errorf("first kept after %d went: %d, %v", upTo, got, err)
				}
				return nil
			})
		}
	})
}
