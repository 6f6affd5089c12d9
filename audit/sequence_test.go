package audit

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/lease"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// second returns a sequencer with l's key, as in another process on the same database.
func second(l *Log, db *store.DB) *Log {
	return New(Config{DB: db, Signer: l.signer, VerifierKey: l.key})
}

func TestLeafIsRFC6962(t *testing.T) {
	want := tlog.Hash(sha256.Sum256([]byte("\x00aud_1\n{}")))
	if got := leaf("aud_1", "{}"); got != want {
		t.Errorf("leaf = %v, want %v", got, want)
	}
}

// TestRootIsRFC6962 compares the growing tree with the recursive definition of section 2.1.
func TestRootIsRFC6962(t *testing.T) {
	var define func(leaves []tlog.Hash) tlog.Hash
	define = func(leaves []tlog.Hash) tlog.Hash {
		if len(leaves) == 1 {
			return leaves[0]
		}
		k := 1
		for 2*k < len(leaves) {
			k *= 2
		}
		return tlog.NodeHash(define(leaves[:k]), define(leaves[k:]))
	}
	var tree edge
	var leaves []tlog.Hash
	for i := range 300 {
		leaves = append(leaves, leaf("aud", string(rune(i))))
		tree.add(leaves[i])
		root := tree.root()
		if want := define(leaves); root != want {
			t.Fatalf("root of %d = %v, want %v", i+1, root, want)
		}
	}
}

// TestTreeGrowsAcrossPasses reads the edge back from the tables at every size.
func TestTreeGrowsAcrossPasses(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		l, verifiers := newLog(t, db)
		total := 0
		for i := range 40 {
			appendCalls(t, db, 1+i%3)
			total += 1 + i%3
			if n := sequence(t, l); n != 1+i%3 {
				t.Fatalf("sequenced %d of %d", n, 1+i%3)
			}
		}
		r := verify(t, db, verifiers)
		wantGood(t, r, total)
		if r.Checkpoints != 40 || r.Pending != 0 {
			t.Errorf("%+v", r)
		}
	})
}

func TestThousandsOfEntriesOfOneMillisecondAreOrdered(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
		db.Now = func() time.Time { return now }
		const total = 3_000
		var want []string
		inTx(t, db, func(tx *store.Tx) error {
			for range total {
				id, err := Append(tx, Entry{Event: "call"})
				if err != nil {
					return err
				}
				want = append(want, id)
			}
			return nil
		})
		l, verifiers := newLog(t, db)
		if n := sequence(t, l); n != total {
			t.Fatalf("sequenced %d", n)
		}
		wantGood(t, verify(t, db, verifiers), total)
		fatalIf(t, db.Read(t.Context(), func(tx *store.Tx) error {
			got, err := Tail(tx, 0, total+1)
			for i, e := range got {
				if e.Seq != int64(i)+1 || e.ID != want[i] {
					t.Fatalf("entry %d is %s with number %d, want %s", i, e.ID, e.Seq, want[i])
				}
			}
			return err
		}))
	})
}

// TestLateCommitIsSequenced has a transaction with an early id commit after a later one was numbered.
func TestLateCommitIsSequenced(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		early := store.NewID("aud", db.Now())
		appendCalls(t, db, 3)
		l, verifiers := newLog(t, db)
		sequence(t, l)
		inTx(t, db, func(tx *store.Tx) error {
			e := call(1)
			e.ID = early
			_, err := Append(tx, e)
			return err
		})
		appendCalls(t, db, 1)
		if n := sequence(t, l); n != 2 {
			t.Errorf("sequenced %d, want 2", n)
		}
		wantGood(t, verify(t, db, verifiers), 5)
	})
}

// TestTwoSequencersNeverFork interleaves two sequencers at the worst moment: both have planned on the same tree. They
// share an owner, so the lease stops neither and only the database's keys decide.
func TestTwoSequencersNeverFork(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		a, verifiers := newLog(t, db)
		b := second(a, db)
		b.lease = a.lease
		for _, n := range []int{1, 5, 1000} {
			appendCalls(t, db, n)
			first, err := a.plan(t.Context())
			fatalIf(t, err)
			appendCalls(t, db, 1)
			other, err := b.plan(t.Context())
			fatalIf(t, err)
			fatalIf(t, a.commit(t.Context(), first))
			if err := b.commit(t.Context(), other); !errors.Is(err, errOther) {
				t.Errorf("second commit: %v", err)
			}
			sequence(t, b)
		}
		wantGood(t, verify(t, db, verifiers), 1009)
	})
}

// TestForkIsFoundWhereNothingPreventsIt takes the protections away that TestTwoSequencersNeverFork relies on, the same
// owner, no keys, pending rows put back, to show that a fork would be seen if there was one.
func TestForkIsFoundWhereNothingPreventsIt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		inTx(t, db, func(tx *store.Tx) error {
			for _, q := range []string{
				`DROP TABLE audit_sequence`, `CREATE TABLE audit_sequence (seq BIGINT NOT NULL, entry_id TEXT NOT NULL)`,
				`DROP TABLE audit_tree`, `CREATE TABLE audit_tree (seq BIGINT NOT NULL, hashes TEXT NOT NULL)`,
				`DROP TABLE audit_checkpoints`, `CREATE TABLE audit_checkpoints (size BIGINT NOT NULL, note TEXT NOT NULL, at BIGINT NOT NULL)`,
			} {
				if err := run(tx, q); err != nil {
					return err
				}
			}
			return nil
		})
		a, verifiers := newLog(t, db)
		b := second(a, db)
		b.lease = a.lease
		ids := appendCalls(t, db, 2)
		first, err := a.plan(t.Context())
		fatalIf(t, err)
		other, err := b.plan(t.Context())
		fatalIf(t, err)
		fatalIf(t, a.commit(t.Context(), first))
		inTx(t, db, func(tx *store.Tx) error {
			return tx.Insert("audit_pending", []string{"entry_id"}, [][]any{{ids[0]}, {ids[1]}})
		})
		fatalIf(t, b.commit(t.Context(), other))
		if r := verify(t, db, verifiers); r.Bad == nil {
			t.Error("a forked record verifies")
		}
	})
}

// TestSequencersOfTwoProcessesShareTheWork runs two sequencers, each on a connection pool of its own and with a lease
// that is over at once, against writers.
func TestSequencersOfTwoProcessesShareTheWork(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			dsn := storetest.DSN(t, engine)
			db, other := storetest.Open(t, dsn), storetest.Open(t, dsn)
			a, verifiers := newLog(t, db)
			b := second(a, other)
			a.lease, b.lease = lease.New(leaseName, "a", 0, time.Now), lease.New(leaseName, "b", 0, time.Now)
			const writers, each = 4, 100

			var writing, sequencing sync.WaitGroup
			for range writers {
				writing.Go(func() {
					for range each {
						appendCalls(t, db, 2)
					}
				})
			}
			written := make(chan struct{})
			counts := make([]int, 2)
			for i, l := range []*Log{a, b} {
				sequencing.Go(func() {
					for done := false; !done; {
						select {
						case <-written:
							done = true // after one more pass
						default:
						}
						n, err := l.Sequence(t.Context())
						if err != nil {
							t.Error(err)
							return
						}
						counts[i] += n
					}
				})
			}
			writing.Wait()
			close(written)
			sequencing.Wait()
			counts[0] += sequence(t, a) // the other may have held the lease in the last pass
			if total := counts[0] + counts[1]; total != 2*writers*each {
				t.Errorf("sequenced %v, together %d of %d", counts, total, 2*writers*each)
			}
			wantGood(t, verify(t, db, verifiers), 2*writers*each)
		})
	}
}

func TestLeaseKeepsOthersIdleUntilItEnds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
		db.Now = func() time.Time { return now }
		a, verifiers := newLog(t, db)
		b := second(a, db)
		for _, step := range []struct {
			l    *Log
			wait time.Duration
			want int
		}{
			{a, 0, 1},
			{b, leaseTime - 1, 0},
			{a, 0, 2}, // its own, and the one that b left
			{b, 0, 0}, // sees that it was renewed
			{b, leaseTime - 1, 0},
			{b, 1, 3},
			{a, 0, 0},
		} {
			now = now.Add(step.wait)
			appendCalls(t, db, 1)
			if n := sequence(t, step.l); n != step.want {
				t.Fatalf("step %+v sequenced %d", step, n)
			}
		}
		if r := verify(t, db, verifiers); r.Bad != nil || r.Pending != 1 {
			t.Errorf("%+v", r)
		}
	})
}

func TestCrashWhileSequencingLeavesTheRecordWhole(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		l, verifiers := newLog(t, db)
		appendCalls(t, db, 5)
		sequence(t, l)
		appendCalls(t, db, 7)
		b, err := l.plan(t.Context())
		fatalIf(t, err)
		crash := errors.New("crash")
		err = db.InTx(t.Context(), func(tx *store.Tx) error {
			if _, err := tx.Exec(`INSERT INTO audit_sequence (seq, entry_id) VALUES ($1, $2)`, b.first, b.ids[0]); err != nil {
				return err
			}
			if err := b.insert(tx); err != nil {
				return err
			}
			return crash
		})
		if !errors.Is(err, crash) {
			t.Fatal(err)
		}
		r := verify(t, db, verifiers)
		wantGood(t, r, 5)
		if r.Pending != 7 {
			t.Errorf("%d pending", r.Pending)
		}
		if n := sequence(t, l); n != 7 {
			t.Errorf("sequenced %d", n)
		}
		wantGood(t, verify(t, db, verifiers), 12)
	})
}

func TestRunSequencesUntilItsEnd(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		l, verifiers := newLog(t, db)
		ctx, stop := context.WithCancel(t.Context())
		appendCalls(t, db, 3)
		ended := make(chan error)
		go func() { ended <- l.Run(ctx) }()
		for n := 0; n < 3; {
			fatalIf(t, db.Read(t.Context(), func(tx *store.Tx) error {
				got, err := Tail(tx, 0, 10)
				n = len(got)
				return err
			}))
		}
		appendCalls(t, db, 2)
		stop()
		fatalIf(t, <-ended)
		wantGood(t, verify(t, db, verifiers), 5)
		// The lease was given up: the next process need not wait.
		appendCalls(t, db, 1)
		if n := sequence(t, second(l, db)); n != 1 {
			t.Errorf("the next process sequenced %d", n)
		}
	})
}

func TestRunReportsErrorsAndGoesOn(t *testing.T) {
	db := storetest.New(t, "sqlite")
	l, _ := newLog(t, db)
	ctx, stop := context.WithCancel(t.Context())
	failing, recovered := make(chan struct{}), make(chan struct{})
	tables := []string{"audit_pending", "hidden"}
	rename := func(from, to string) {
		inTx(t, db, exec(`ALTER TABLE `+from+` RENAME TO `+to))
	}
	var once sync.Once
	l.onError = func(error) { once.Do(func() { close(failing); <-recovered }) }
	appendCalls(t, db, 1)
	rename(tables[0], tables[1])
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	<-failing
	rename(tables[1], tables[0])
	close(recovered)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if n := sequence(t, l); n != 0 {
		t.Errorf("%d were left", n)
	}
}

func TestRunWithoutOnErrorEndsAtTheFirst(t *testing.T) {
	db, err := store.Open(t.Context(), storetest.DSN(t, "sqlite"))
	fatalIf(t, err)
	l, _ := newLog(t, db)
	fatalIf(t, db.Close())
	if err := l.Run(t.Context()); err == nil {
		t.Error("Run ended without an error")
	}
}

// TestSequencerDoesNotSignATamperedTree: what it signed would pass for genuine.
func TestSequencerDoesNotSignATamperedTree(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		l, _ := newLog(t, db)
		ids := appendCalls(t, db, 8)
		sequence(t, l)
		unprotect(t, db)
		for name, tamper := range map[string]func(tx *store.Tx) error{
			"entry and tree rewritten": func(tx *store.Tx) error {
				err := run(tx, `UPDATE audit_entries SET body = REPLACE(body, 'done', 'gone') WHERE id = $1`, ids[3])
				return errors.Join(err, rebuild(tx))
			},
			"checkpoint gone":    exec(`DELETE FROM audit_checkpoints`),
			"checkpoint foreign": forgeLast,
			"pending entry gone": func(tx *store.Tx) error {
				return run(tx, `INSERT INTO audit_pending (entry_id) VALUES ($1)`, store.NewID("aud", tx.Now))
			},
			"numbered entry pending": func(tx *store.Tx) error {
				return run(tx, `INSERT INTO audit_pending (entry_id) VALUES ($1)`, ids[2])
			},
		} {
			undo := errors.New("undo")
			err := db.InTx(t.Context(), func(tx *store.Tx) error {
				if _, err := Append(tx, call(9)); err != nil {
					return err
				}
				fatalIf(t, tamper(tx))
				if _, err := l.planIn(tx); err == nil {
					t.Errorf("%s: the sequencer goes on", name)
				}
				return undo
			})
			if !errors.Is(err, undo) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// exec is a tampering that needs one statement.
func exec(q string) func(tx *store.Tx) error {
	return func(tx *store.Tx) error { return run(tx, q) }
}

// forgeLast replaces the last checkpoint by one of the same text under a forger's key of the same name.
func forgeLast(tx *store.Tx) error {
	last, err := store.One(tx, scanStored, `SELECT size, note, at FROM audit_checkpoints ORDER BY size DESC LIMIT 1`)
	if err != nil {
		return err
	}
	signed, err := resign(last.note)
	if err != nil {
		return err
	}
	return run(tx, `UPDATE audit_checkpoints SET note = $1 WHERE size = $2`, signed, last.size)
}

func resign(signed string) (string, error) {
	secret, _, err := note.GenerateKey(nil, logName)
	if err != nil {
		return "", err
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		return "", err
	}
	b, err := note.Sign(&note.Note{Text: textOf(signed)}, signer)
	return string(b), err
}

// textOf is the signed part of a note.
func textOf(signed string) string {
	text, _, _ := strings.Cut(signed, "\n\n")
	return text + "\n"
}
