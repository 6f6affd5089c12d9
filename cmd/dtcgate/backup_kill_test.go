package main

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/audit/backup"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// backupKills is how often a backup and a restore are killed; with DTCGATE_TEST_KILLS as often as that says.
const backupKills = 1

// killed runs dtcgate and kills it, and its children's input with it, somewhere in the time that it needs. It reports whether it had ended.
func killed(t *testing.T, within time.Duration, args ...string) (ended bool) {
	t.Helper()
	cmd := exec.Command("dtcgate", args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Duration(rand.Int64N(int64(within))), func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	return cmd.Wait() == nil
}

// TestAKilledBackupOrRestoreLeavesNothingThatPassesForOne kills each at random moments. What is there then is whole, or says that it is not.
func TestAKilledBackupOrRestoreLeavesNothingThatPassesForOne(t *testing.T) {
	times := backupKills
	if os.Getenv(killsVariable) != "" {
		times = kills(t)
	}
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			data, dsn := t.TempDir(), storetest.DSN(t, engine)
			dtcgate := func(args ...string) []string { return append([]string{"--data", data, "--db", dsn}, args...) }
			mustRun(t, dtcgate("demo", "load")...)
			kept := filepath.Join(t.TempDir(), "kept")
			began := time.Now()
			mustRun(t, dtcgate("backup", kept)...)
			takes := time.Since(began)
			began = time.Now()
			mustRun(t, dtcgate("restore", kept, "--to", storetest.Elsewhere(t, dsn))...)
			restores := time.Since(began)
			ended := [2]int{}
			for range times {
				dir := filepath.Join(t.TempDir(), "backup")
				if killed(t, takes+takes/4, dtcgate("backup", dir)...) {
					ended[0]++
				}
				if _, err := os.Stat(dir); err == nil {
					mustRun(t, dtcgate("backup", "verify", dir)...)
				} else if !errors.Is(err, os.ErrNotExist) {
					t.Error(err)
				}
				to := storetest.Elsewhere(t, dsn)
				if killed(t, restores+restores/4, dtcgate("restore", kept, "--to", to)...) {
					ended[1]++
				}
				checkRestored(t, data, kept, engine, to)
			}
			t.Logf("of %d each, %d backups and %d restores were quicker than the kill", times, ended[0], ended[1])
		})
	}
}

// checkRestored holds a place that a restore was killed on the way to: there is nothing, and the backup can be restored to it, or it is whole,
// or it is known as unfinished; and in no case it may be served.
func checkRestored(t *testing.T, data, kept, engine, to string) {
	t.Helper()
	again := exec.Command("dtcgate", "--data", data, "--db", to, "restore", kept, "--to", to).Run()
	if engine == "sqlite" && again != nil {
		if _, err := os.Stat(to); err != nil {
			t.Errorf("nothing is there and nothing can be restored to it: %v", again)
			return
		}
	}
	db, err := store.Open(t.Context(), to)
	if err != nil {
		t.Error(err)
		return
	}
	held := backup.Servable(t.Context(), db)
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	switch {
	case errors.Is(held, backup.ErrHeld):
		mustRun(t, "--data", data, "--db", to, "audit", "verify")
	case !errors.Is(held, backup.ErrUnfinished):
		t.Errorf("what a killed restore left may be served: %v", held)
	}
}

func mustRun(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("dtcgate", args...).CombinedOutput(); err != nil {
		t.Fatalf("dtcgate %v: %v\n%s", args, err, out)
	}
}
