package audit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// mutation is one act of somebody who owns the database, and for the last two kinds the signing key as well.
type mutation struct {
	what   string
	tamper func(*store.Tx) error
	// Nothing inside shows it, by design: only a checkpoint of so many entries or more that is kept outside does.
	unseen int64
}

// kinds of tampering, each with a random mutation.
var kinds = []struct {
	name string
	make func(*victim, *rand.Rand) mutation
}{
	{"flip", flip}, {"delete", remove}, {"reorder", reorder}, {"insert", insertOne}, {"tail cut", cutTail}, {"full rewrite", rewriteAll},
}

// flip changes a byte of any cell, now and then with the tree computed anew.
func flip(v *victim, r *rand.Rand) mutation {
	c := cells[r.IntN(len(cells))]
	seq := 1 + r.Int64N(total)
	key := any(v.ids[seq-1])
	switch c.key {
	case "seq":
		key = seq
	case "size":
		key = checkpointAt(seq)
	}
	change := func(tx *store.Tx) error { return c.change(tx, r, key) }
	if c.column == "body" && r.IntN(2) == 0 {
		change = both(change, rebuild)
	}
	return mutation{what: fmt.Sprintf("%s.%s of entry %d", c.table, c.column, seq), tamper: change}
}

// remove takes rows of one to five entries out of some of the tables, or a checkpoint.
func remove(v *victim, r *rand.Rand) mutation {
	first := 1 + r.Int64N(total-5)
	last := first + r.Int64N(5)
	m := mutation{what: fmt.Sprintf("entries %d to %d", first, last)}
	if r.IntN(5) == 0 {
		size := checkpointAt(first)
		return mutation{what: fmt.Sprintf("checkpoint %d", size), tamper: del("audit_checkpoints", "size", size)}
	}
	tables := 1 + r.IntN(7) // which: entries, sequence, tree
	closeUp := r.IntN(2) == 0
	m.tamper = func(tx *store.Tx) error {
		var errs []error
		where := fmt.Sprintf("seq >= %d AND seq <= %d", first, last)
		if tables&1 != 0 {
			errs = append(errs, run(tx, `DELETE FROM audit_values WHERE entry_id IN (SELECT entry_id FROM audit_sequence WHERE `+where+`)`),
				run(tx, `DELETE FROM audit_entries WHERE id IN (SELECT entry_id FROM audit_sequence WHERE `+where+`)`))
		}
		if tables&2 != 0 {
			errs = append(errs, run(tx, `DELETE FROM audit_sequence WHERE `+where))
		}
		if tables&4 != 0 {
			errs = append(errs, run(tx, `DELETE FROM audit_tree WHERE `+where))
		}
		if tables == 7 && closeUp { // as if they had never been
			errs = append(errs, run(tx, fmt.Sprintf(`UPDATE audit_sequence SET seq = -seq WHERE seq > %d`, last)),
				run(tx, fmt.Sprintf(`UPDATE audit_sequence SET seq = -seq - %d WHERE seq < 0`, last-first+1)), rebuild(tx))
		}
		return errors.Join(errs...)
	}
	return m
}

func reorder(v *victim, r *rand.Rand) mutation {
	a := 1 + r.Int64N(total-1)
	b := a + 1 + r.Int64N(total-a)
	how := []func(*store.Tx) error{
		exchange("audit_sequence", "seq", "seq", a, b),
		exchange("audit_entries", "body", "id", v.ids[a-1], v.ids[b-1]),
		exchange("audit_tree", "seq", "seq", a, b),
		both(exchange("audit_sequence", "seq", "seq", a, b), rebuild),
	}
	return mutation{what: fmt.Sprintf("entries %d and %d", a, b), tamper: how[r.IntN(len(how))]}
}

// insertOne puts an entry in: without a number, at the end, or in the middle with all others moved up.
func insertOne(v *victim, r *rand.Rand) mutation {
	at, how := 1+r.Int64N(total), r.IntN(3)
	return mutation{what: fmt.Sprintf("way %d at %d", how, at), tamper: func(tx *store.Tx) error {
		id, err := Append(tx, call(r.IntN(1000)))
		err = errors.Join(err, run(tx, `DELETE FROM audit_pending WHERE entry_id = $1`, id))
		switch how {
		case 1:
			err = errors.Join(err, run(tx, `INSERT INTO audit_sequence (seq, entry_id) VALUES ($1, $2)`, int64(total+1), id), rebuild(tx))
		case 2:
			err = errors.Join(err, run(tx, fmt.Sprintf(`UPDATE audit_sequence SET seq = -seq WHERE seq >= %d`, at)),
				run(tx, `UPDATE audit_sequence SET seq = 1 - seq WHERE seq < 0`),
				run(tx, `INSERT INTO audit_sequence (seq, entry_id) VALUES ($1, $2)`, at, id), rebuild(tx))
		}
		return err
	}}
}

// cutTail removes all after a checkpoint, from all tables.
func cutTail(_ *victim, r *rand.Rand) mutation {
	after := checkpointAt(1 + r.Int64N(checkpointAt(total)-passes))
	return mutation{what: fmt.Sprintf("all after %d", after), unseen: after + 1, tamper: func(tx *store.Tx) error {
		var errs []error
		for _, q := range []string{
			`DELETE FROM audit_values WHERE entry_id IN (SELECT entry_id FROM audit_sequence WHERE seq > %d)`,
			`DELETE FROM audit_entries WHERE id IN (SELECT entry_id FROM audit_sequence WHERE seq > %d)`,
			`DELETE FROM audit_sequence WHERE seq > %d`, `DELETE FROM audit_tree WHERE seq > %d`, `DELETE FROM audit_checkpoints WHERE size > %d`,
		} {
			errs = append(errs, run(tx, fmt.Sprintf(q, after)))
		}
		return errors.Join(errs...)
	}}
}

// rewriteAll changes what an entry says, and computes and signs everything anew with the log's own key.
func rewriteAll(v *victim, r *rand.Rand) mutation {
	seq := 1 + r.Int64N(total)
	to := fmt.Sprintf(`"transport":"m%d"`, r.IntN(1_000_000))
	return mutation{what: fmt.Sprintf("entry %d", seq), unseen: seq, tamper: both(func(tx *store.Tx) error {
		n, err := tx.Exec(`UPDATE audit_entries SET body = REPLACE(body, '"transport":"mcp"', $1) WHERE id = $2`, to, v.ids[seq-1])
		if err == nil && n != 1 {
			err = errors.New("it was not there")
		}
		return err
	}, rebuild, resignAll(v.log.signer))}
}

// TestSixKindsOfTamperingAreFound does random mutations of each kind, past the triggers. DTCGATE_TEST_TAMPER=10000 is the full
// number for each engine. Cutting the end off, and computing everything anew with the key, must be unseen from inside: that
// is what checkpoints are kept outside for, and those show both, by the first that does not fit.
func TestSixKindsOfTamperingAreFound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVictim(t, db)
		outside := allNotes(t, db)
		r := rand.New(rand.NewPCG(7, 8))
		done, refused := map[string]int{}, 0
		for i := 0; i < fullSize(t, "DTCGATE_TEST_TAMPER", 60); {
			kind := kinds[i%len(kinds)]
			m := kind.make(v, r)
			bad, ok := v.after(t, m.tamper)
			if !ok { // the tables' keys did not let it
				refused++
				continue
			}
			i++
			done[kind.name]++
			if m.unseen == 0 {
				if bad == nil {
					t.Errorf("%s, %s: not found", kind.name, m.what)
				}
				continue
			}
			if bad != nil {
				t.Errorf("%s, %s: found from inside, by %v; this test takes it to be hidden", kind.name, m.what, bad)
			}
			bad, _ = v.after(t, m.tamper, outside...)
			if bad == nil || bad.Checkpoint != checkpointAt(m.unseen) {
				t.Errorf("%s, %s: found %v, want checkpoint %d not to fit", kind.name, m.what, bad, checkpointAt(m.unseen))
			}
		}
		t.Logf("%v; %d more were refused by the tables' keys", done, refused)
	})
}
