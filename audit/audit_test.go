package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// newLog returns a sequencer with a key of its own, and its public key.
func newLog(t testing.TB, db *store.DB) (*Log, note.Verifiers) {
	t.Helper()
	secret, public, err := note.GenerateKey(nil, logName)
	fatalIf(t, err)
	signer, err := note.NewSigner(secret)
	fatalIf(t, err)
	verifiers, err := Verifiers(public)
	fatalIf(t, err)
	return New(Config{DB: db, Signer: signer, VerifierKey: public}), verifiers
}

func fatalIf(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func inTx(t testing.TB, db *store.DB, fn func(*store.Tx) error) {
	t.Helper()
	fatalIf(t, db.InTx(t.Context(), fn))
}

// call is an entry such as the gate writes, the i'th of a test.
func call(i int) Entry {
	return Entry{
		Merchant: "mer_1", Event: "call", CallID: fmt.Sprintf("call_%d", i), Actor: "key_1", Tool: "dtc_get_order",
		Transport: "mcp", Source: "192.0.2.7", Chain: []string{"key_1", "mer_1"}, Status: "done", Level: "L1",
		Checks:        []Check{{"tool", "ok"}, {"scope", "ok"}, {"schema", "ok"}, {"ceiling", "ok"}},
		PolicyVersion: 3, LatencyMicros: 812, CostMicros: 20,
		Personal: map[string]string{"arguments": fmt.Sprintf(`{"order_id":"%d"}`, i)},
	}
}

// appendCalls appends n calls in one transaction and returns their ids.
func appendCalls(t testing.TB, db *store.DB, n int) []string {
	t.Helper()
	var ids []string
	inTx(t, db, func(tx *store.Tx) error {
		ids = nil
		for i := range n {
			id, err := Append(tx, call(i))
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	})
	return ids
}

func sequence(t testing.TB, l *Log) int {
	t.Helper()
	n, err := l.Sequence(t.Context())
	fatalIf(t, err)
	return n
}

func verify(t testing.TB, db *store.DB, verifiers note.Verifiers, outside ...string) Report {
	t.Helper()
	report, err := Verify(t.Context(), db, verifiers, outside...)
	fatalIf(t, err)
	return report
}

func wantGood(t testing.TB, r Report, sequenced int) {
	t.Helper()
	if r.Bad != nil {
		t.Fatalf("verify found %v", r.Bad)
	}
	if r.Sequenced != int64(sequenced) || r.Size != int64(sequenced) {
		t.Fatalf("verified %d entries up to checkpoint %d, want %d", r.Sequenced, r.Size, sequenced)
	}
}

func TestEntryIsReadAsItWasAppended(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		want := call(7)
		want.At = time.Date(2026, 11, 22, 10, 0, 0, 123456789, time.FixedZone("", 3600))
		want.Reason = "line one\nline two\x1b[2J \u202e\U000E0041 é <b>"
		inTx(t, db, func(tx *store.Tx) (err error) {
			want.ID, err = Append(tx, want)
			return err
		})
		l, _ := newLog(t, db)
		sequence(t, l)

		want.At = want.At.UTC().Truncate(time.Microsecond)
		personal := want.Personal
		want.Personal = nil
		fatalIf(t, db.Read(t.Context(), func(tx *store.Tx) error {
			got, err := Tail(tx, 0, 10)
			fatalIf(t, err)
			if len(got) != 1 || got[0].Seq != 1 || len(got[0].Digests["arguments"]) != 64 {
				t.Fatalf("Tail = %+v", got)
			}
			got[0].Digests = nil
			if diff := cmp.Diff(want, got[0].Entry); diff != "" {
				t.Error(diff)
			}
			values, err := Personal(tx, want.ID)
			if diff := cmp.Diff(personal, values); diff != "" {
				t.Error(diff)
			}
			return err
		}))
	})
}

func TestEntryVanishesWithItsTransaction(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		undo := errors.New("undo")
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			if _, err := Append(tx, call(1)); err != nil {
				return err
			}
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatal(err)
		}
		l, verifiers := newLog(t, db)
		if n := sequence(t, l); n != 0 {
			t.Errorf("sequenced %d", n)
		}
		if r := verify(t, db, verifiers); r.Entries != 0 || r.Bad != nil {
			t.Errorf("%+v", r)
		}
	})
}

func TestEntryNeedsAnEvent(t *testing.T) {
	if _, err := Append(&store.Tx{}, Entry{Merchant: "mer_1"}); err == nil {
		t.Error("an entry without an event was appended")
	}
}

func TestDatabaseRefusesToChangeTheRecord(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		appendCalls(t, db, 2)
		l, _ := newLog(t, db)
		sequence(t, l)
		for _, q := range []string{
			`UPDATE audit_entries SET tool = 'x'`, `DELETE FROM audit_entries`,
			`UPDATE audit_sequence SET seq = seq + 10`, `DELETE FROM audit_sequence`,
			`UPDATE audit_tree SET hashes = ''`, `DELETE FROM audit_tree`,
			`UPDATE audit_checkpoints SET note = ''`, `DELETE FROM audit_checkpoints`,
		} {
			err := db.InTx(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(q)
				return err
			})
			if err == nil {
				t.Errorf("%s was done", q)
			}
		}
	})
}

func TestErasedValueKeepsProofs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		e := call(1)
		e.Personal = map[string]string{"arguments": "Ada Lovelace", "reason": "asked by phone"}
		var id string
		inTx(t, db, func(tx *store.Tx) (err error) {
			id, err = Append(tx, e)
			return err
		})
		l, verifiers := newLog(t, db)
		sequence(t, l)
		inTx(t, db, func(tx *store.Tx) error { return Erase(tx, id, "arguments") })
		wantGood(t, verify(t, db, verifiers), 1)

		fatalIf(t, db.Read(t.Context(), func(tx *store.Tx) error {
			left, err := Personal(tx, id)
			if diff := cmp.Diff(map[string]string{"reason": "asked by phone"}, left); diff != "" {
				t.Error(diff)
			}
			return err
		}))
		err := db.InTx(t.Context(), func(tx *store.Tx) error { return Erase(tx, id, "arguments") })
		if !errors.Is(err, store.ErrNotFound) {
			t.Errorf("erasing again: %v", err)
		}
	})
}

func TestEqualPersonalValuesHaveDifferentDigests(t *testing.T) {
	a, b := call(1), call(1)
	a.seal()
	b.seal()
	if a.Digests["arguments"] == b.Digests["arguments"] {
		t.Error("digests tell that two values are equal: they are not salted")
	}
}

func TestNoTextIsTooLongOrTooOddToRecord(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for _, odd := range []string{strings.Repeat("é", 1<<20), "a\x00b", "a\xffb", "\xed\xa0\x80"} {
			e := fill(odd)
			e.Personal = map[string]string{"arguments": odd, odd: "x"}
			inTx(t, db, func(tx *store.Tx) error {
				_, err := Append(tx, e)
				return err
			})
		}
		l, verifiers := newLog(t, db)
		sequence(t, l)
		wantGood(t, verify(t, db, verifiers), 4)
		fatalIf(t, db.Read(t.Context(), func(tx *store.Tx) error {
			longest, err := store.One(tx, number, `SELECT MAX(LENGTH(body)) FROM audit_entries`)
			if longest > 50_000 {
				t.Errorf("an entry has %d bytes", longest)
			}
			return err
		}))
	})
}

// fill returns an entry with s in each of its texts, found by reflection: a field that complete forgets must show.
func fill(s string) Entry {
	var e Entry
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.String && v.Type().Field(i).Name != "ID" {
			f.SetString(s)
		}
	}
	e.Chain, e.Checks = []string{s}, []Check{{s, s}}
	return e
}

func TestCutTextKeepsItsDigest(t *testing.T) {
	long := strings.Repeat("x", 5000)
	got := bounded(long, 8)
	want := "xxxxxxxx…[5000 bytes, sha256 c59d3c0480cc2d71d8f646e735e92da65450311eec46e81a5db8c7e6e8a92054]"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if bounded(long, 8) == bounded(long+"y", 8) {
		t.Error("two texts were cut to the same")
	}
}

func TestEntryIsOneVisibleLine(t *testing.T) {
	for _, s := range []string{
		"a\r\nb", `{"seq":1}`, "\x1b[31m", "\u009b2J", "\x7f", "\u2028\u2029", "\u202e\u2066", "\u200b\ufeff", "\U000E0041",
		"=1+1", "${jndi:ldap://x}", "<script>",
	} {
		body, err := encode(Entry{Reason: s})
		fatalIf(t, err)
		if i := strings.IndexFunc(body, func(r rune) bool { return !unicode.IsGraphic(r) }); i >= 0 {
			t.Errorf("%q stands as it is in %s", s, body)
		}
		var back Entry
		fatalIf(t, json.Unmarshal([]byte(body), &back))
		if back.Reason != s {
			t.Errorf("%q came back as %q", s, back.Reason)
		}
	}
}

func TestHeadIsTheEntrysFirstMembers(t *testing.T) {
	h, e := reflect.TypeFor[head](), reflect.TypeFor[Entry]()
	for i := range h.NumField() {
		if h.Field(i).Name != e.Field(i).Name || h.Field(i).Tag != e.Field(i).Tag || h.Field(i).Type != e.Field(i).Type {
			t.Errorf("field %d of head is %v, of Entry %v", i, h.Field(i), e.Field(i))
		}
	}
	if last := e.Field(e.NumField() - 1); last.Name != "Digests" {
		t.Errorf("the last field of Entry is %s, and proves looks for Digests there", last.Name)
	}
}

// TestHeadIsWrittenAsTheEntryIs holds the hand-written form of head to the library's.
func TestHeadIsWrittenAsTheEntryIs(t *testing.T) {
	odd := []string{"", "plain", "a\"b\\", "<&>", "\u2028\x7f\u202e\U000E0041", "é\n", "\xff"}
	for i := range len(odd) * len(odd) {
		a, b := odd[i%len(odd)], odd[i/len(odd)]
		h := head{ID: a, At: time.UnixMicro(int64(i) * 1_000_100).UTC(), Merchant: b, Event: a, CallID: b, JobID: a, Actor: b, Tool: a}
		want, err := encode(h)
		fatalIf(t, err)
		if got := string(h.appendTo(nil)) + "}"; got != want {
			t.Errorf("%+v is written as %s, want %s", h, got, want)
		}
	}
}

func TestFindFilters(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ids := appendCalls(t, db, 3)
		l, _ := newLog(t, db)
		sequence(t, l)
		inTx(t, db, func(tx *store.Tx) error {
			id, err := Append(tx, Entry{Merchant: "mer_2", Event: "job.queued", JobID: "job_1", CallID: "call_9"})
			ids = append(ids, id)
			return err
		})
		for _, c := range []struct {
			filter Filter
			want   []int // of ids
		}{
			{Filter{}, []int{3, 2, 1, 0}},
			{Filter{Limit: 2}, []int{3, 2}},
			{Filter{Before: ids[2]}, []int{1, 0}},
			{Filter{Merchant: "mer_2"}, []int{3}},
			{Filter{Merchant: "mer_1", Event: "call", CallID: "call_1", Actor: "key_1", Tool: "dtc_get_order"}, []int{1}},
			{Filter{JobID: "job_1"}, []int{3}},
			{Filter{JobID: "job_2"}, nil},
		} {
			fatalIf(t, db.Read(t.Context(), func(tx *store.Tx) error {
				entries, err := Find(tx, c.filter)
				var got []int
				for _, e := range entries {
					for i, id := range ids {
						if id == e.ID {
							got = append(got, i)
						}
					}
					if pending := e.ID == ids[3]; pending != (e.Seq == 0) {
						t.Errorf("%s has number %d", e.ID, e.Seq)
					}
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("Find(%+v): %s", c.filter, diff)
				}
				return err
			}))
		}
	})
}
