package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"testing"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func TestTailGoesOnWithWhatComesIn(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			dsn := storetest.DSN(t, engine)
			db := storetest.Open(t, dsn)
			signer, key, err := audit.LoadOrCreateSigner(filepath.Join(t.TempDir(), "audit.key"), "test")
			if err != nil {
				t.Fatal(err)
			}
			log := audit.New(audit.Config{DB: db, Signer: signer, VerifierKey: key})
			add := func(event string) {
				t.Helper()
				err := db.InTx(t.Context(), func(tx *store.Tx) error { return record(tx, audit.Entry{Event: event}) })
				if err != nil {
					t.Fatal(err)
				}
				if _, err := log.Sequence(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			add("first")

			ctx, interrupt := context.WithCancel(t.Context())
			out, w := io.Pipe()
			status := make(chan int, 1)
			go func() {
				status <- run(ctx, []string{"dtcgate", "audit", "tail", "-f", "--json", "--db", dsn}, w, io.Discard)
				w.Close()
			}()
			lines := bufio.NewScanner(out)
			next := func(want string) {
				t.Helper()
				var e audit.Sequenced
				if !lines.Scan() {
					t.Fatal("the tail ended")
				}
				if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Event != want {
					t.Fatalf("got %s (%v), want %s", lines.Text(), err, want)
				}
			}
			next("first")
			add("second")
			next("second")
			interrupt()
			if got := <-status; got != exitDone {
				t.Errorf("an interrupted tail ended with status %d", got)
			}
		})
	}
}
