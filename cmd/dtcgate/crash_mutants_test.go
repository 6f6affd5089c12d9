//go:build !race

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The rig is only worth something if it finds what it looks for. So protections are taken out of the program, one at a time, and the rig has to
// say by name which promise is broken. A fault is a text that stands in a file once, and another in its place; the program and the rig are built
// with an overlay (`go help build`), so that no file is touched, and the tag failpoints, so that they die where it hurts.
//
// What no kill can show is a commit that was not flushed to the disk: what a process has written, the system keeps when the process dies. A cut
// of the WAL (crash_wal_test.go) shows what a power cut leaves, and a test of package store that every connection asks for the flush.

// brokenVariable set to "all" tries all broken programs, and to a text those whose name contains it; otherwise it is only seen that each fault can be planted.
const brokenVariable = "DTCGATE_TEST_BROKEN"

// An edit is a text in a file, and what is put in its place.
type edit struct{ file, old, new string }

// A faulty program is one without a protection.
type faultyProgram struct {
	what    string
	edits   []edit
	borders string // at which it is killed
	deaths  int    // at each
	want    string // the promise that the checker finds broken; either of two, where it depends on who looks first
}

const (
	saveAnswer = "	if err := g.saveAnswer(c); err != nil {\n		return err\n	}\n"
	written    = "	return g.db.InTx(ctx, func(tx *store.Tx) error {\n		c.Tx = tx\n		if err := g.writeOnce(c); err != nil || c.job == \"\" {\n"
	writeEnds  = "		c.out.Job, err = g.queue.Job(tx, c.Principal, c.job)\n		return err\n	})\n}\n\nfunc (g *Gate) writeOnce("
)

// afterwards has something done in a transaction of its own, once that of a write is committed.
func afterwards(does string) []edit {
	return []edit{
		{"gate/gate.go", written, strings.Replace(written, "return", "err := ", 1)},
		{
			"gate/gate.go", writeEnds, strings.Replace(writeEnds, "	})\n}\n",
				"	})\n	store.Reach(store.Recorded)\n	if err == nil && !c.out.Replayed {\n		err = g.db.InTx(ctx, func(tx *store.Tx) error { "+does+" })\n	}\n	return err\n}\n", 1),
		},
	}
}

var faultyPrograms = []faultyProgram{
	{
		what: "the record is written after the effect", borders: "recorded", deaths: 4, want: "C1",
		edits: append(
			afterwards("return g.record(tx, c, string(c.out.Status))"),
			edit{"gate/gate.go", "	defer store.Reach(store.Recorded)\n	return g.record(c.Tx, c, string(c.out.Status))\n", "	return nil\n"}),
	},
	{
		what: "what a repeat is answered is stored after the effect", borders: "recorded", deaths: 4, want: "C4: |C7",
		edits: append(
			afterwards("c.Tx = tx; return g.saveAnswer(c)"),
			edit{"gate/gate.go", saveAnswer, ""}, edit{"gate/gate.go", "	defer store.Reach(store.Recorded)\n", ""}),
	},
	{
		what: "who shares a commit is answered before it", borders: "commit-begins", deaths: 15, want: "C4",
		edits: []edit{{"store/group.go", "	<-b.done\n	return b.err\n", "	_ = b\n	return nil\n"}},
	},
	{
		what: "a vote is acknowledged before it is stored", borders: "judged", deaths: 12, want: "C4",
		edits: []edit{{
			"gate/vote.go", "			d, err = g.cast(tx, p, b)\n			return err\n		})\n",
			"			if d, err = g.cast(tx, p, b); err == nil {\n				err = errors.ErrUnsupported\n			}\n			return err\n		})\n" +
				"		if errors.Is(err, errors.ErrUnsupported) {\n			err = nil\n			go func() {\n				time.Sleep(50 * time.Millisecond)\n" +
				"				_ = g.db.InTx(context.WithoutCancel(ctx), func(tx *store.Tx) error { _, err := g.cast(tx, p, b); return err })\n			}()\n		}\n",
		}},
	},
	{
		what: "who was let in once is let in for as long as the process lives", borders: "sweep-between", deaths: 8, want: "C5",
		edits: []edit{
			{
				"gate/strangers.go", "	p, err := g.callerOf(ctx, secret, source)\n",
				"	p, err := g.callerOf(ctx, secret, source)\n	if err == nil {\n		letIn.Store(secret, p)\n	} else if was, ok := letIn.Load(secret); ok {\n		p, err = was.(auth.Principal), nil\n	}\n",
			},
			{"gate/strangers.go", "func (g *Gate) Authenticate(", "var letIn sync.Map\n\nfunc (g *Gate) Authenticate("},
			{
				"gate/standing.go", "	now, err := read(c.Tx, c.Principal)\n",
				"	now, err := read(c.Tx, c.Principal)\n	if errors.Is(err, auth.ErrUnknownCredential) {\n		now, err = c.Principal, nil\n	}\n",
			},
		},
	},
	{
		what: "an idempotency key is not looked at", borders: "commit-ends", deaths: 6, want: "C7",
		edits: []edit{{"gate/idempotency.go", "	if n == 1 {\n		return false, nil\n	}\n", "	if n >= 0 {\n		return false, nil\n	}\n"}},
	},
	{
		what: "an approval is not used up", borders: "job-claimed,sweep-between", deaths: 8, want: "C3",
		edits: []edit{{"gate/resume.go", "if err := approvals.Consume(tx, j, c.approval); err != nil {\n			return c,", "if err := error(nil); err != nil {\n			return c,"}},
	},
	{
		what: "a worker that is alive loses its job to another", borders: "sent,sweep-between", deaths: 10, want: "C2",
		edits: []edit{
			{"approvals/jobs.go", "OR (status = 'running' AND lease_until <= $1))", "OR (status = 'running' AND lease_until >= 0 AND $1 > 0))"},
			{"approvals/jobs.go", "AND status = 'running' AND lease_until <= $3`,\n		worker", "AND status = 'running'`,\n		worker"},
			{"approvals/outside.go", "WHERE id = $3 AND status = 'running' AND lease_owner = $4`", "WHERE id = $3 AND status = 'running' AND $4 <> '-'`"},
			{"approvals/jobs.go", "(j.Status != tools.JobRunning || j.Owner != worker)", "(j.Status != tools.JobRunning)"},
		},
	},
	{
		what: "nobody puts on record what is about to be sent", borders: "intended", deaths: 3, want: "C1",
		edits: []edit{{"gate/outside.go", "	return approvals.Intend(tx, j, worker, approvals.ExecutionID(j, c.approval.BindingHash))\n", "	return nil\n"}},
	},
	{
		what: "a step goes without its record", borders: "stepped", deaths: 3, want: "C1",
		edits: []edit{{"approvals/jobs.go", "	return record(tx, j, \"job.progress\", func(e *audit.Entry) { e.Reason = p.Note })\n", "	return nil\n"}},
	},
	{
		what: "messages are marked before they are handed over", borders: "file-written", deaths: 4, want: "C5",
		edits: []edit{{
			"shop/carrier.go", "	if err := c.write(b, letters); err != nil {\n		return 0, err\n	}\n	store.Reach(store.FileWritten)\n	return c.mark(ctx, b, letters)\n",
			"	n, err := c.mark(ctx, b, letters)\n	store.Reach(store.FileWritten)\n	if err != nil {\n		return n, err\n	}\n	return n, c.write(b, letters)\n",
		}},
	},
	{
		what: "a webhook's message is marked before it is sent", borders: "message-claimed", deaths: 4, want: "C4",
		edits: []edit{{
			"approvals/notify/run.go", "	store.Reach(store.MessageClaimed)\n	a := w.send(ctx, m)\n",
			"	_ = w.settle(context.WithoutCancel(ctx), m, answer{status: 204})\n	store.Reach(store.MessageClaimed)\n	a := w.send(ctx, m)\n",
		}},
	},
	{
		what: "entries wait no more before they have numbers", borders: "numbers-taken", deaths: 3, want: "C6",
		edits: []edit{
			{
				"audit/sequence.go", "	err := l.db.InTx(ctx, func(tx *store.Tx) error {\n		if err := l.takeLease(tx); err != nil {\n",
				"	_ = l.db.InTx(ctx, func(tx *store.Tx) error {\n		_, err := tx.Exec(`DELETE FROM audit_pending WHERE entry_id >= $1 AND entry_id <= $2`, b.ids[0], b.ids[len(b.ids)-1])\n		return err\n	})\n" +
					"	err := l.db.InTx(ctx, func(tx *store.Tx) error {\n		if err := l.takeLease(tx); err != nil {\n",
			},
			{"audit/sequence.go", "	if err == nil && n != int64(len(b.ids)) {\n", "	if err == nil && n < 0 {\n"},
		},
	},
}

// plant writes the files with the faults in them, and gives the overlay that puts them in the place of the others.
func (f faultyProgram) plant(t *testing.T) (overlay string) {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	dir, texts, replace := t.TempDir(), map[string]string{}, map[string]string{}
	for _, e := range f.edits {
		if texts[e.file] == "" {
			raw, err := os.ReadFile(filepath.Join(root, e.file))
			if err != nil {
				t.Fatal(err)
			}
			texts[e.file] = string(raw)
		}
		if n := strings.Count(texts[e.file], e.old); n != 1 {
			t.Fatalf("%q stands in %s %d times, want once", e.old, e.file, n)
		}
		texts[e.file] = strings.Replace(texts[e.file], e.old, e.new, 1)
	}
	for file, text := range texts {
		faulty := filepath.Join(dir, strings.ReplaceAll(file, "/", "-"))
		if err := os.WriteFile(faulty, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, file)] = faulty
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	overlay = filepath.Join(dir, "overlay.json")
	if err != nil || os.WriteFile(overlay, list, 0o600) != nil {
		t.Fatal("the overlay cannot be written")
	}
	return overlay
}

// try builds the rig with the fault in it and lets it die at its borders.
func (f faultyProgram) try(t *testing.T, overlay string) (said string, err error) {
	t.Helper()
	run := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-tags", "failpoints", "-vet=off", "-count=1", "-timeout=5m",
		"-run", "TestKilledAtEveryBorderNothingIsLostOrDoubled/sqlite", ".")
	run.Env = append(os.Environ(), "DTCGATE_TEST_BORDERS="+f.borders, fmt.Sprint("DTCGATE_TEST_DEATHS=", f.deaths))
	raw, err := run.CombinedOutput()
	return string(raw), err
}

func TestTheRigCatchesBrokenPrograms(t *testing.T) {
	which := os.Getenv(brokenVariable)
	for _, f := range faultyPrograms {
		t.Run(f.what, func(t *testing.T) {
			overlay := f.plant(t)
			if which == "" || which != "all" && !strings.Contains(f.what, which) {
				return
			}
			said, err := f.try(t, overlay)
			at := regexp.MustCompile(f.want + ": ").FindStringIndex(said)
			if err == nil || at == nil {
				t.Fatalf("the rig did not see that %s is broken: %v\n%s", f.want, err, said[max(0, len(said)-3000):])
			}
			t.Logf("caught by %s", said[at[0]:min(len(said), at[0]+200)])
		})
	}
}
