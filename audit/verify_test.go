package audit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// unprotect drops the triggers, as who owns the database can.
func unprotect(t testing.TB, db *store.DB) {
	t.Helper()
	list := `SELECT 'DROP TRIGGER ' || name FROM sqlite_master WHERE type = 'trigger'`
	if db.Engine() == "postgres" {
		list = `SELECT 'DROP TRIGGER ' || t.tgname || ' ON ' || c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
			WHERE NOT t.tgisinternal AND c.relnamespace = CAST(quote_ident(current_schema()) AS regnamespace)`
	}
	inTx(t, db, func(tx *store.Tx) error {
		drops, err := store.All(tx, text, list)
		for _, q := range drops {
			if _, err := tx.Exec(q); err != nil {
				return err
			}
		}
		return err
	})
}

// The record that the tests tamper with: entries in passes of growing size, and some pending.
const (
	passes     = 10
	total      = passes * (passes + 1) / 2
	unnumbered = 3
)

type victim struct {
	db        *store.DB
	log       *Log
	verifiers note.Verifiers
	ids       []string // of entries, by number - 1; the last wait for one
}

func newVictim(t *testing.T, db *store.DB) *victim {
	v := &victim{db: db}
	v.log, v.verifiers = newLog(t, db)
	for n := range passes {
		v.ids = append(v.ids, appendCalls(t, db, n+1)...)
		sequence(t, v.log)
	}
	wantGood(t, verify(t, db, v.verifiers), total)
	v.ids = append(v.ids, appendCalls(t, db, unnumbered)...)
	unprotect(t, db)
	return v
}

// checkpointAt is the size of the first checkpoint that covers entry seq.
func checkpointAt(seq int64) int64 {
	size := int64(0)
	for n := int64(1); size < seq; n++ {
		size += n
	}
	return size
}

// firstOfPass is the first entry of the pass that numbered seq.
func firstOfPass(seq int64) int64 {
	first := seq
	for first > 1 && checkpointAt(first-1) == checkpointAt(seq) {
		first--
	}
	return first
}

var errUndo = errors.New("undo")

// after returns what a check finds after tampering, which is undone. A mutation that the tables' keys refuse is a
// skipped one: ok is false.
func (v *victim) after(t *testing.T, tamper func(*store.Tx) error, outside ...string) (bad *BadEntry, ok bool) {
	t.Helper()
	err := v.db.InTx(t.Context(), func(tx *store.Tx) error {
		if tamper(tx) != nil {
			return errUndo
		}
		ok = true
		w := &walk{tx: tx, trusted: v.verifiers, kept: map[int64]checkpoint{}, report: &Report{}}
		if err := w.all(outside); err != nil && !errors.As(err, &bad) {
			return err
		}
		return errUndo
	})
	if !errors.Is(err, errUndo) {
		t.Fatal(err)
	}
	return bad, ok
}

// want checks that tampering is found at entry seq, 0 for one without a number.
func (v *victim) want(t *testing.T, what string, seq int64, tamper func(*store.Tx) error, outside ...string) {
	t.Helper()
	bad, ok := v.after(t, tamper, outside...)
	switch {
	case !ok:
		t.Errorf("%s: was not done", what)
	case bad == nil:
		t.Errorf("%s: not found", what)
	case bad.Seq != seq:
		t.Errorf("%s: found at %v, want %d", what, bad, seq)
	}
}

// TestAnyChangedByteIsFound changes random characters and numbers of random rows.
func TestAnyChangedByteIsFound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVictim(t, db)
		r := rand.New(rand.NewPCG(1, 2))
		done := 0
		for range 300 {
			c := cells[r.IntN(len(cells))]
			seq := 1 + r.Int64N(total)
			key := any(seq)
			if c.key != "seq" && c.key != "size" {
				key = v.ids[seq-1]
			}
			want := seq
			if c.key == "size" {
				want = checkpointAt(seq)
				key = want
			}
			what := fmt.Sprintf("%s.%s of entry %d", c.table, c.column, seq)
			bad, ok := v.after(t, func(tx *store.Tx) error { return c.change(tx, r, key) })
			if !ok {
				continue
			}
			done++
			if bad == nil {
				t.Errorf("%s: not found", what)
			} else if bad.Seq != want && !c.loose {
				t.Errorf("%s: found at %v, want %d", what, bad, want)
			}
		}
		if done < 250 {
			t.Errorf("the tables' keys refused all but %d changes", done)
		}
	})
}

// cell is a column in which bytes are changed. loose ones may be found at another entry than the row's own.
type cell struct {
	table, key, column string
	number, loose      bool
}

var cells = []cell{
	{table: "audit_entries", key: "id", column: "id"},
	{table: "audit_entries", key: "id", column: "at", number: true},
	{table: "audit_entries", key: "id", column: "merchant"},
	{table: "audit_entries", key: "id", column: "event"},
	{table: "audit_entries", key: "id", column: "call_id"},
	{table: "audit_entries", key: "id", column: "job_id"},
	{table: "audit_entries", key: "id", column: "actor"},
	{table: "audit_entries", key: "id", column: "tool"},
	{table: "audit_entries", key: "id", column: "body"},
	{table: "audit_entries", key: "id", column: "body"},
	{table: "audit_sequence", key: "seq", column: "seq", number: true, loose: true}, // may become a lower number
	{table: "audit_sequence", key: "seq", column: "entry_id"},
	{table: "audit_tree", key: "seq", column: "seq", number: true, loose: true},
	{table: "audit_tree", key: "seq", column: "hashes"},
	{table: "audit_checkpoints", key: "size", column: "size", number: true, loose: true},
	{table: "audit_checkpoints", key: "size", column: "note"},
	{table: "audit_checkpoints", key: "size", column: "note"},
	{table: "audit_checkpoints", key: "size", column: "at", number: true},
	{table: "audit_values", key: "entry_id", column: "entry_id", loose: true}, // no entry's any more
	{table: "audit_values", key: "entry_id", column: "name"},
	{table: "audit_values", key: "entry_id", column: "salt"},
	{table: "audit_values", key: "entry_id", column: "value"},
}

func (c cell) change(tx *store.Tx, r *rand.Rand, key any) error {
	if c.number {
		old, err := store.One(tx, number, `SELECT `+c.column+` FROM `+c.table+` WHERE `+c.key+` = $1`, key)
		if err != nil {
			return err
		}
		return c.set(tx, old^1<<r.IntN(40), key)
	}
	old, err := store.One(tx, text, `SELECT `+c.column+` FROM `+c.table+` WHERE `+c.key+` = $1`, key)
	if err != nil {
		return err
	}
	return c.set(tx, mutate(r, old), key)
}

func (c cell) set(tx *store.Tx, to, key any) error {
	n, err := tx.Exec(`UPDATE `+c.table+` SET `+c.column+` = $1 WHERE `+c.key+` = $2`, to, key)
	if err == nil && n != 1 {
		err = fmt.Errorf("%d rows", n)
	}
	return err
}

// mutate flips case, or changes, takes out or adds one character.
func mutate(r *rand.Rand, s string) string {
	runes := []rune(s)
	if len(runes) == 0 {
		return "x"
	}
	i := r.IntN(len(runes))
	switch r.IntN(4) {
	case 0:
		return string(runes[:i]) + string(runes[i+1:])
	case 1:
		return string(runes[:i]) + "=" + string(runes[i:])
	case 2:
		if c := strings.ToUpper(string(runes[i])); c != string(runes[i]) {
			return string(runes[:i]) + c + string(runes[i+1:])
		}
		fallthrough
	default:
		to := rune(' ' + r.IntN('~'-' '))
		if to >= runes[i] {
			to++ // never the same
		}
		runes[i] = to
		return string(runes)
	}
}

func TestDeletedRowsAreFound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVictim(t, db)
		for seq := int64(1); seq <= total; seq += 3 {
			v.want(t, "entry", seq, del("audit_entries", "id", v.ids[seq-1]))
			v.want(t, "number", seq, del("audit_sequence", "seq", seq))
			v.want(t, "tree", seq, del("audit_tree", "seq", seq))
		}
		for seq := int64(1); seq <= total; seq = checkpointAt(seq) + 1 {
			// A checkpoint is missed by the next one; the last by the entries it covered.
			size, at := checkpointAt(seq), checkpointAt(checkpointAt(seq)+1)
			if size == total {
				at = seq
			}
			v.want(t, "checkpoint", at, del("audit_checkpoints", "size", size))
		}
		for _, id := range v.ids[total:] {
			v.want(t, "pending entry", 0, del("audit_entries", "id", id))
			v.want(t, "pending row", 0, del("audit_pending", "entry_id", id))
		}
	})
}

func del(table, key string, value any) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		n, err := tx.Exec(`DELETE FROM `+table+` WHERE `+key+` = $1`, value)
		if err == nil && n != 1 {
			err = fmt.Errorf("%d rows", n)
		}
		return err
	}
}

func TestReorderedEntriesAreFound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVictim(t, db)
		for _, pair := range [][2]int64{{1, 2}, {2, 4}, {3, total}, {20, 21}, {total - 1, total}} {
			a, b := pair[0], pair[1]
			v.want(t, "numbers exchanged", a, exchange("audit_sequence", "seq", "seq", a, b))
			v.want(t, "tree exchanged", a, exchange("audit_tree", "seq", "seq", a, b))
			v.want(t, "bodies exchanged", a, exchange("audit_entries", "body", "id", v.ids[a-1], v.ids[b-1]))
			v.want(t, "numbers exchanged and the tree computed anew", firstOfPass(a), both(
				exchange("audit_sequence", "seq", "seq", a, b), rebuild))
		}
	})
}

func both(tampers ...func(*store.Tx) error) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		for _, tamper := range tampers {
			if err := tamper(tx); err != nil {
				return err
			}
		}
		return nil
	}
}

// exchange swaps a column of two rows, by way of a value that neither has: the column may be a key.
func exchange(table, column, key string, a, b any) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		get := `SELECT CAST(` + column + ` AS TEXT) FROM ` + table + ` WHERE ` + key + ` = $1`
		olds := [2]string{}
		for i, k := range []any{a, b} {
			var err error
			if olds[i], err = store.One(tx, text, get, k); err != nil {
				return err
			}
		}
		set := `UPDATE ` + table + ` SET ` + column + ` = $1 WHERE ` + key + ` = $2`
		if column != "seq" {
			return errors.Join(run(tx, set, olds[1], a), run(tx, set, olds[0], b))
		}
		return errors.Join(run(tx, set, int64(-1), a), run(tx, set, a, b), run(tx, set, b, int64(-1)))
	}
}

func run(tx *store.Tx, q string, args ...any) error {
	_, err := tx.Exec(q, args...)
	return err
}

func TestInsertedRowsAreFound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVictim(t, db)
		v.want(t, "entry that nobody numbers", 0, func(tx *store.Tx) error {
			id, err := Append(tx, call(1))
			return errors.Join(err, run(tx, `DELETE FROM audit_pending WHERE entry_id = $1`, id))
		})
		v.want(t, "entry in the middle", firstOfPass(20), func(tx *store.Tx) error {
			id, err := Append(tx, call(1))
			return errors.Join(err, run(tx, `DELETE FROM audit_pending WHERE entry_id = $1`, id),
				run(tx, `UPDATE audit_sequence SET seq = -seq WHERE seq >= 20`),
				run(tx, `UPDATE audit_sequence SET seq = 1 - seq WHERE seq < 0`),
				run(tx, `INSERT INTO audit_sequence (seq, entry_id) VALUES (20, $1)`, id), rebuild(tx))
		})
		v.want(t, "number at the end", total+1, exec(`INSERT INTO audit_sequence (seq, entry_id) VALUES (56, 'aud_x')`))
		v.want(t, "number before the first", 0, both(
			func(tx *store.Tx) error {
				return run(tx, `INSERT INTO audit_sequence (seq, entry_id) VALUES (0, $1)`, v.ids[total])
			}, exec(`INSERT INTO audit_tree (seq, hashes) VALUES (0, '')`)))
		v.want(t, "hashes at the end", total+1, exec(`INSERT INTO audit_tree (seq, hashes) VALUES (56, '00')`))
		v.want(t, "checkpoint copied", 54, exec(`INSERT INTO audit_checkpoints (size, note, at)
			SELECT 54, note, at FROM audit_checkpoints WHERE size = 55`))
		v.want(t, "checkpoint at the end", total+1, exec(`INSERT INTO audit_checkpoints (size, note, at)
			SELECT 56, note, at FROM audit_checkpoints WHERE size = 55`))
		v.want(t, "pending entry that is not there", 0, exec(`INSERT INTO audit_pending (entry_id) VALUES ('aud_x')`))
		v.want(t, "numbered entry that is pending", 5, func(tx *store.Tx) error {
			return run(tx, `INSERT INTO audit_pending (entry_id) VALUES ($1)`, v.ids[4])
		})
		v.want(t, "personal value of nobody", 0, exec(`INSERT INTO audit_values (entry_id, name, salt, value)
			VALUES ('aud_x', 'reason', '', '')`))
		v.want(t, "personal value that was not recorded", 5, func(tx *store.Tx) error {
			return run(tx, `INSERT INTO audit_values (entry_id, name, salt, value) VALUES ($1, 'reason', '', '')`, v.ids[4])
		})
		v.want(t, "personal value whose beginning has become salt", 5, func(tx *store.Tx) error {
			return run(tx, `UPDATE audit_values SET salt = salt || substr(value, 1, 1), value = substr(value, 2) WHERE entry_id = $1`, v.ids[4])
		})
	})
}

// cut removes the last pass from these tables.
func cut(tables ...string) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		for _, q := range []string{
			`DELETE FROM audit_entries WHERE id IN (SELECT entry_id FROM audit_sequence WHERE seq > 45)`,
			`DELETE FROM audit_values WHERE entry_id IN (SELECT entry_id FROM audit_sequence WHERE seq > 45)`,
			`DELETE FROM audit_sequence WHERE seq > 45`, `DELETE FROM audit_tree WHERE seq > 45`,
			`DELETE FROM audit_checkpoints WHERE size > 45`,
		} {
			for _, table := range tables {
				if strings.HasPrefix(q, "DELETE FROM audit_"+table+" ") {
					if _, err := tx.Exec(q); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}
}

func TestCutTailIsFound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVictim(t, db)
		v.want(t, "entries", 46, cut("entries"))
		v.want(t, "numbers", 46, cut("sequence"))
		v.want(t, "tree", 46, cut("tree"))
		v.want(t, "checkpoint", 46, cut("checkpoints"))
		v.want(t, "numbers and tree", 46, cut("sequence", "tree"))
		v.want(t, "all but the checkpoint", 46, cut("entries", "values", "sequence", "tree"))
		v.want(t, "all but the entries", 0, cut("sequence", "tree", "checkpoints"))
		v.want(t, "all but the values", 0, cut("entries", "sequence", "tree", "checkpoints"))

		all := cut("entries", "values", "sequence", "tree", "checkpoints")
		if bad, _ := v.after(t, all); bad != nil {
			t.Errorf("only a checkpoint kept outside can find a cut through all tables; this found %v", bad)
		}
		v.want(t, "everything", 46, all, lastNote(t, db))
	})
}

func lastNote(t *testing.T, db *store.DB) (signed string) {
	t.Helper()
	fatalIf(t, db.Read(t.Context(), func(tx *store.Tx) (err error) {
		signed, err = store.One(tx, text, `SELECT note FROM audit_checkpoints ORDER BY size DESC LIMIT 1`)
		return err
	}))
	return signed
}

// rebuild computes the whole tree anew from the entries, as a forger would.
func rebuild(tx *store.Tx) error {
	rows, err := store.All(tx, scanWaiting, `SELECT e.id, e.body, s.seq FROM audit_sequence s
		JOIN audit_entries e ON e.id = s.entry_id ORDER BY s.seq`)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM audit_tree`); err != nil {
		return err
	}
	var tree edge
	var trees [][]any
	for _, r := range rows {
		hashes := row(tree.add(leaf(r.id, r.body.String)))
		trees = append(trees, []any{tree.size, hashes})
	}
	return tx.Insert("audit_tree", []string{"seq", "hashes"}, trees)
}

// resignAll signs a checkpoint anew at each size there was one, for the tree as it is.
func resignAll(signer note.Signer) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		checkpoints, err := store.All(tx, scanStored, `SELECT size, note, at FROM audit_checkpoints ORDER BY size`)
		if err != nil {
			return err
		}
		previous := int64(0)
		for _, s := range checkpoints {
			tree, err := loadEdge(tx, s.size)
			if err != nil {
				return err
			}
			c := checkpoint{origin: signer.Name(), size: s.size, root: tree.root(), previous: previous, at: s.at}
			signed, err := c.sign(signer)
			if err != nil {
				return err
			}
			if err := run(tx, `UPDATE audit_checkpoints SET note = $1 WHERE size = $2`, signed, s.size); err != nil {
				return err
			}
			previous = s.size
		}
		return nil
	}
}

func TestRewrittenHistoryIsFound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVictim(t, db)
		rewrite := func(tx *store.Tx) error {
			return run(tx, `UPDATE audit_entries SET body = REPLACE(body, '"status":"done"', '"status":"gone"') WHERE id = $1`, v.ids[24])
		}
		forger, _ := newLog(t, db)
		kept := lastNote(t, db)
		v.want(t, "an entry", 25, rewrite)
		v.want(t, "an entry and the tree", firstOfPass(25), both(rewrite, rebuild))
		v.want(t, "all, signed with another key", 1, both(rewrite, rebuild, resignAll(forger.signer)))

		stolen := both(rewrite, rebuild, resignAll(v.log.signer))
		if bad, _ := v.after(t, stolen); bad != nil {
			t.Errorf("only a checkpoint kept outside can find what the log's key has signed; this found %v", bad)
		}
		v.want(t, "all, signed with the stolen key", 1, stolen, kept)
	})
}

func TestCheckpointsKeptOutsideAgreeWithAnUntouchedRecord(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVictim(t, db)
		var kept []string
		fatalIf(t, db.Read(t.Context(), func(tx *store.Tx) (err error) {
			kept, err = store.All(tx, text, `SELECT note FROM audit_checkpoints`)
			return err
		}))
		wantGood(t, verify(t, db, v.verifiers, kept...), total)
		if _, err := Verify(t.Context(), db, v.verifiers, kept[0]+"x"); err == nil {
			t.Error("a broken checkpoint from outside was taken")
		}
	})
}

// TestCheckpointHasOneSpelling: base64 has bits that do not count, and a note may hold signatures of others.
func TestCheckpointHasOneSpelling(t *testing.T) {
	l, verifiers := newLog(t, storetest.New(t, "sqlite"))
	c := checkpoint{origin: l.signer.Name(), size: 3, previous: 2}
	signed, err := c.sign(l.signer)
	fatalIf(t, err)
	stranger, err := resign(signed)
	fatalIf(t, err)
	last := signed[len(signed)-3]
	for _, same := range []string{
		signed[:len(signed)-3] + string(last+1) + signed[len(signed)-2:],
		signed + stranger[strings.Index(stranger, "\n\n")+2:],
		signed + signed[strings.Index(signed, "\n\n")+2:],
	} {
		if _, err := openCheckpoint(same, verifiers); err != nil {
			t.Errorf("this is not another spelling: %v\n%s", err, same)
		}
		if _, err := (stored{size: 3, note: same, at: c.at}).open(verifiers); err == nil {
			t.Errorf("taken as stored:\n%s", same)
		}
	}
}
