package shop_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// mail puts a mailing with one batch into the database, as a campaign's send does.
func mail(t *testing.T, db *store.DB, mailing string, customers ...string) {
	t.Helper()
	err := db.InTx(t.Context(), func(tx *store.Tx) error {
		at := store.Micros(tx.Now)
		if err := tx.Insert("mailings", []string{"merchant_id", "mailing_id", "kind", "channel", "subject", "body", "created_at"},
			[][]any{{merchant, mailing, shop.KindCampaign, "email", "Hello", "Text with <b> & \"quotes\"\nand lines", at}}); err != nil {
			return err
		}
		var rows [][]any
		for _, c := range customers {
			rows = append(rows, []any{merchant, mailing, c, 1, "c" + c + "@example.com", at})
		}
		return tx.Insert("deliveries", []string{"merchant_id", "mailing_id", "customer_no", "batch", "address", "created_at"}, rows)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// outbox is every file in a folder, by its path below it.
func outbox(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func carry(t *testing.T, c *shop.Carrier, want int) {
	t.Helper()
	if n, err := c.CarryOnce(t.Context()); err != nil || n != want {
		t.Fatalf("carried %d messages (%v), want %d", n, err, want)
	}
}

func TestNothingLeavesWhileAllAgentsAreFrozen(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		c := &shop.Carrier{DB: db, Dir: filepath.Join(t.TempDir(), "outbox")}
		mail(t, db, "cmp_1", "1")
		exec := func(q string, args ...any) {
			t.Helper()
			if err := db.InTx(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Exec(q, args...)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		exec(`INSERT INTO merchants (id, name, created_at) VALUES ($1, 'demo', 0)`, merchant)
		exec(`INSERT INTO freezes (id, merchant_id, subject_id, reason, frozen_by, frozen_at) VALUES ('frz_1', $1, '', 'why', 'operator:cli', 0)`, merchant)
		carry(t, c, 0)
		exec(`UPDATE freezes SET lifted_at = 1 WHERE lifted_at IS NULL`)
		carry(t, c, 1)
	})
}

func TestCarrierHandsOverEachMessageOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		dir := filepath.Join(t.TempDir(), "outbox")
		c := &shop.Carrier{DB: db, Dir: dir}
		carry(t, c, 0)
		mail(t, db, "cmp_1", "2", "1")
		carry(t, c, 2)
		carry(t, c, 0)

		files := outbox(t, dir)
		lines := strings.Split(strings.TrimSpace(files[merchant+"/cmp_1-1.jsonl"]), "\n")
		if len(files) != 1 || len(lines) != 2 {
			t.Fatalf("two messages of one batch made %d files, %d lines: %v", len(files), len(lines), files)
		}
		var first map[string]any
		if err := json.Unmarshal([]byte(lines[0]), &first); err != nil {
			t.Fatal(err)
		}
		delete(first, "created_at")
		want := map[string]any{
			"merchant_id": merchant, "mailing_id": "cmp_1", "batch": 1.0, "kind": "campaign", "channel": "email", "customer_no": "1",
			"to": "c1@example.com", "subject": "Hello", "body": "Text with <b> & \"quotes\"\nand lines",
		}
		if diff := cmp.Diff(want, first); diff != "" {
			t.Errorf("a message (-want +got):\n%s", diff)
		}
	})
}

// TestCrashBetweenFileAndMarkRepeatsNothing takes the marks away again, which is what the database looks like after a
// crash at that point.
func TestCrashBetweenFileAndMarkRepeatsNothing(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		dir := t.TempDir()
		mail(t, db, "cmp_1", "1", "2", "3")
		carry(t, &shop.Carrier{DB: db, Dir: dir}, 3)
		before := outbox(t, dir)
		if err := exec(t, db, "UPDATE deliveries SET carried_at = NULL"); err != nil {
			t.Fatal(err)
		}
		carry(t, &shop.Carrier{DB: db, Dir: dir}, 3)
		if diff := cmp.Diff(before, outbox(t, dir)); diff != "" {
			t.Errorf("the outbox changed (-before +after):\n%s", diff)
		}
		if err := exec(t, db, "UPDATE deliveries SET carried_at = NULL WHERE customer_no = '2'"); err != nil {
			t.Fatal(err)
		}
		carry(t, &shop.Carrier{DB: db, Dir: dir}, 1)
		if diff := cmp.Diff(before, outbox(t, dir)); diff != "" {
			t.Errorf("a part of a batch took the place of the whole (-before +after):\n%s", diff)
		}
	})
}

func TestBadBatchHoldsUpNoOther(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		dir := t.TempDir()
		mail(t, db, "../../etc/passwd", "1")
		mail(t, db, "cmp_2", "1")
		n, err := (&shop.Carrier{DB: db, Dir: dir}).CarryOnce(t.Context())
		if n != 1 || err == nil || !strings.Contains(err.Error(), "do not make a file name") {
			t.Errorf("carried %d (%v), want the good one and a complaint about the other", n, err)
		}
		if files := outbox(t, dir); len(files) != 1 {
			t.Errorf("the outbox holds %v", files)
		}
	})
}

func TestCarrierReportsAndTriesAgain(t *testing.T) {
	db := storetest.New(t, "sqlite")
	mail(t, db, "cmp_1", "1")
	blocked := filepath.Join(t.TempDir(), "outbox")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	errs, ended := make(chan error), make(chan struct{})
	c := &shop.Carrier{DB: db, Dir: blocked, OnError: func(err error) {
		select {
		case errs <- err:
		case <-ctx.Done():
		}
	}}
	go func() { c.Run(ctx); close(ended) }()
	for range 2 {
		if err := <-errs; !strings.Contains(err.Error(), "carrying messages") {
			t.Errorf("reported %v", err)
		}
	}
	stop()
	<-ended
}
