package audit

import (
	"runtime"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func eachEngine(b *testing.B, fn func(b *testing.B, db *store.DB)) {
	for _, engine := range storetest.Engines(b) {
		b.Run(engine, func(b *testing.B) { fn(b, storetest.New(b, engine)) })
	}
}

// BenchmarkAppend is the cost that Append adds to a transaction: two inserts and one for the personal value.
func BenchmarkAppend(b *testing.B) {
	eachEngine(b, func(b *testing.B, db *store.DB) {
		b.ReportAllocs()
		inTx(b, db, func(tx *store.Tx) error {
			for i := range b.N {
				if _, err := Append(tx, call(i)); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// BenchmarkSeal is what an entry costs before it is stored.
func BenchmarkSeal(b *testing.B) {
	b.ReportAllocs()
	now := time.Now()
	for i := range b.N {
		e := call(i)
		e.Checks = make([]Check, 26)
		for n := range e.Checks {
			e.Checks[n] = Check{Name: "profile objects", Verdict: "ok"}
		}
		if _, err := Seal(e, now); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendAndCommit is a transaction of one Append, at 16 callers.
func BenchmarkAppendAndCommit(b *testing.B) {
	eachEngine(b, func(b *testing.B, db *store.DB) {
		b.SetParallelism(8) // times GOMAXPROCS
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				inTx(b, db, func(tx *store.Tx) error {
					_, err := Append(tx, call(i))
					return err
				})
			}
		})
	})
}

// BenchmarkRows is what the record takes by itself at 64 callers: each entry with a personal value, in a transaction of its own or together with
// those that others bring meanwhile.
func BenchmarkRows(b *testing.B) {
	eachEngine(b, func(b *testing.B, db *store.DB) {
		gathered := store.Gathered[Sealed]{DB: db, Write: AppendSealed}
		for name, add := range map[string]func(e Entry) error{
			"own": func(e Entry) error {
				return db.InTx(b.Context(), func(tx *store.Tx) error { _, err := Append(tx, e); return err })
			},
			"gathered": func(e Entry) error {
				sealed, err := Seal(e, db.Now())
				if err != nil {
					return err
				}
				return gathered.Do(b.Context(), sealed)
			},
		} {
			b.Run(name, func(b *testing.B) {
				b.SetParallelism(64 / runtime.GOMAXPROCS(0))
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						if err := add(call(i)); err != nil {
							b.Error(err)
							return
						}
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			})
		}
	})
}

// fillPending appends n entries, some thousand a transaction.
func fillPending(b *testing.B, db *store.DB, n int) {
	for n > 0 {
		some := min(n, 5000)
		appendCalls(b, db, some)
		n -= some
	}
}

// BenchmarkSequence is the time per entry, in full batches.
func BenchmarkSequence(b *testing.B) {
	eachEngine(b, func(b *testing.B, db *store.DB) {
		l, _ := newLog(b, db)
		fillPending(b, db, b.N)
		b.ResetTimer()
		sequence(b, l)
	})
}

// BenchmarkVerify is the time per entry of a record of 100,000 in full batches, and of 5,000 of which each was signed.
func BenchmarkVerify(b *testing.B) {
	for _, c := range []struct {
		name       string
		size, pass int
	}{{"full", 100_000, 100_000}, {"single", 5_000, 1}} {
		b.Run(c.name, func(b *testing.B) {
			eachEngine(b, func(b *testing.B, db *store.DB) {
				l, verifiers := newLog(b, db)
				for n := 0; n < c.size; n += c.pass {
					fillPending(b, db, c.pass)
					sequence(b, l)
				}
				for b.Loop() {
					wantGood(b, verify(b, db, verifiers), c.size)
				}
				b.ReportMetric(float64(c.size)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
			})
		})
	}
}
