package store_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// endsAt ends when it is looked at for the n-th time, so that a test reaches every place between two looks.
type endsAt struct {
	context.Context
	left atomic.Int64
	end  context.CancelFunc
}

func newEndsAt(ctx context.Context, n int) *endsAt {
	e := &endsAt{}
	e.Context, e.end = context.WithCancel(ctx)
	e.left.Store(int64(n))
	return e
}

func (e *endsAt) look() {
	if e.left.Add(-1) == 0 {
		e.end()
	}
}

func (e *endsAt) Done() <-chan struct{} { e.look(); return e.Context.Done() }
func (e *endsAt) Err() error            { e.look(); return e.Context.Err() }

// A server that is told to end would say otherwise that it lost its database.
func TestAContextThatEndsAnywhereIsNotTakenForALostDatabase(t *testing.T) {
	each(t, func(t *testing.T, db *store.DB) {
		for n := 1; ; n++ {
			ctx := newEndsAt(t.Context(), n)
			err := db.InTx(ctx, func(tx *store.Tx) error {
				if _, err := tx.Exec("UPDATE things SET n = $1", n); err != nil {
					return err
				}
				_, err := store.All(tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) }, "SELECT id FROM things WHERE n < $1", n)
				return err
			})
			ctx.end()
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("ended at look %d: %v", n, err)
			}
			if ctx.left.Load() > 0 {
				t.Logf("it is looked at %d times", n-1)
				return
			}
		}
	})
}

// interrupters counts the goroutines that wait to interrupt SQLite connections.
func interrupters() int {
	all := make([]byte, 16<<20)
	return bytes.Count(all[:runtime.Stack(all, true)], []byte("created by zombiezen.com/go/sqlite.(*Conn).SetInterrupt"))
}

func TestWhatInterruptsAConnectionIsOneAndEndsWithIt(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	db, err := store.Open(t.Context(), storetest.DSN(t, "sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	opened := interrupters()
	var asking sync.WaitGroup
	for range 40 {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			err := db.Read(ctx, func(tx *store.Tx) error {
				var n int64
				return tx.QueryRow("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n").Scan(&n)
			})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("an endless statement: %v", err)
			}
		})
	}
	asking.Wait()
	for end := time.Now().Add(10 * time.Second); interrupters() > opened; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d wait to interrupt, %d when the connections were opened", interrupters(), opened)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
