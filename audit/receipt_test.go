package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

const policySource = "version: 1\nprofiles: {} # for a test, with “quotes” and \u202e\n"

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// approvedCase puts a call on record that two people were asked about, with a policy and the noise of other calls, and gives
// the id of the entry that holds its arguments.
func approvedCase(t testing.TB, db *store.DB) (argumentsIn string) {
	t.Helper()
	inTx(t, db, func(tx *store.Tx) error {
		for i, e := range []Entry{
			{Event: policyPublished, Actor: "operator:cli", Resource: "policy:7", PolicyVersion: 6, Reason: "sha256 " + digestOf(policySource) + ": Spring"},
			{
				Event: "call", CallID: "call_a", JobID: "job_a", ApprovalID: "apr_a", Actor: "key_1", Tool: "dtc_send", Status: "pending_approval",
				PolicyVersion: 7, PolicyRule: "big-sends", Binding: "beef", Personal: map[string]string{"arguments": `{"to":"Ada"}`},
			},
			{Event: "approval.requested", CallID: "call_a", JobID: "job_a", ApprovalID: "apr_a", Actor: "key_1", PolicyVersion: 7, Binding: "beef"},
			{Event: "call", CallID: "call_other", Actor: "key_2", PolicyVersion: 7},
			{Event: "call", CallID: "call_again", JobID: "job_a", ApprovalID: "apr_a", Actor: "key_1", Status: "pending_approval", PolicyVersion: 7},
			{
				Event: "approval.vote", CallID: "call_a", JobID: "job_a", ApprovalID: "apr_a", Actor: "person:per_1", Status: "approve", PolicyVersion: 7,
				Binding: "beef", Personal: map[string]string{"reason": "Ada knows"},
			},
			{Event: progress, CallID: "call_a", JobID: "job_a", Actor: "gate"},
			{Event: "job.succeeded", CallID: "call_a", JobID: "job_a", ApprovalID: "apr_a", Actor: "gate", Status: "succeeded", PolicyVersion: 7},
		} {
			e.Merchant = "mer_1"
			id, err := Append(tx, e)
			if err != nil {
				return err
			}
			if i == 1 {
				argumentsIn = id
			}
		}
		return nil
	})
	return argumentsIn
}

// somePolicy gives version 7, as published at a time.
func somePolicy(at time.Time) func(*store.Tx, string, int64) (PolicyText, error) {
	return func(_ *store.Tx, _ string, version int64) (PolicyText, error) {
		if version != 7 {
			return PolicyText{}, store.ErrNotFound
		}
		return PolicyText{digestOf(policySource), policySource, at}, nil
	}
}

// receiptOf makes a receipt and takes it through a file.
func receiptOf(t testing.TB, db *store.DB, subject string, o ReceiptOptions) (file []byte, r Receipt) {
	t.Helper()
	fatalIf(t, db.Read(t.Context(), func(tx *store.Tx) error {
		made, err := MakeReceipt(tx, subject, o)
		if err != nil {
			return err
		}
		file, err = Write(made)
		return err
	}))
	read, err := Read(file)
	fatalIf(t, err)
	return file, read.(Receipt)
}

// someReceipt gives a receipt of the approved call, in a record of some checkpoints.
func someReceipt(t testing.TB, db *store.DB, values bool) (file []byte, r Receipt, trusted note.Verifiers) {
	t.Helper()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	db.Now = func() time.Time { return now }
	l, trusted := newLog(t, db)
	for n := range 5 {
		appendCalls(t, db, n+1)
		sequence(t, l)
	}
	approvedCase(t, db)
	sequence(t, l)
	file, r = receiptOf(t, db, "call_a", ReceiptOptions{Trusted: trusted, Policy: somePolicy(now), Values: values})
	return file, r, trusted
}

func TestReceiptProvesACallItsVotesAndItsPolicy(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		_, r, trusted := someReceipt(t, db, true)
		f, err := r.Check(trusted)
		fatalIf(t, err)
		var got []string
		for _, e := range f.Entries {
			got = append(got, strings.TrimSpace(fmt.Sprint(e.Seq, " ", e.Event, " ", e.Actor, " ", e.Status, " ", e.Values)))
		}
		want := []string{
			`17 call key_1 pending_approval map[arguments:{"to":"Ada"}]`, "18 approval.requested key_1  map[]",
			"20 call key_1 pending_approval map[]", "21 approval.vote person:per_1 approve map[reason:Ada knows]", "23 job.succeeded gate succeeded map[]",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if len(f.Policies) != 1 || f.Policies[0].Text != policySource || f.Policies[0].PublishedBy != "operator:cli" || f.Checkpoint.Size != 23 {
			t.Errorf("proved are the policies %+v under checkpoint %d", f.Policies, f.Checkpoint.Size)
		}
	})
}

func TestReceiptOfARepeatedQuestionAndOfTheJobHaveTheVotesOfTheFirst(t *testing.T) {
	db := storetest.New(t, "sqlite")
	_, _, trusted := someReceipt(t, db, false)
	for _, subject := range []string{"call_again", "job_a"} {
		_, r := receiptOf(t, db, subject, ReceiptOptions{Trusted: trusted})
		f, err := r.Check(trusted)
		fatalIf(t, err)
		if len(f.Entries) != 5 || len(f.Policies) != 0 {
			t.Errorf("that of %s proves %d entries and %d policies", subject, len(f.Entries), len(f.Policies))
		}
	}
}

func TestErasedValuesLeaveReceiptsIntact(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
		db.Now = func() time.Time { return now }
		l, trusted := newLog(t, db)
		id := approvedCase(t, db)
		sequence(t, l)
		plain := ReceiptOptions{Trusted: trusted, Policy: somePolicy(now)}
		before, _ := receiptOf(t, db, "call_a", plain)
		disclosed := plain
		disclosed.Values = true
		told, _ := receiptOf(t, db, "call_a", disclosed)

		inTx(t, db, func(tx *store.Tx) error { return Erase(tx, id, "arguments") })
		after, _ := receiptOf(t, db, "call_a", plain)
		if !bytes.Equal(before, after) {
			t.Error("a receipt is another one after a value was erased")
		}
		for _, file := range [][]byte{before, told} {
			p, err := Read(file)
			fatalIf(t, err)
			if _, err := p.(Receipt).Check(trusted); err != nil {
				t.Errorf("a receipt of before does not hold any more: %v", err)
			}
		}
		if bytes.Contains(after, []byte("Ada")) {
			t.Error("a receipt tells a personal value that nobody asked for")
		}
		_, r := receiptOf(t, db, "call_a", disclosed)
		f, err := r.Check(trusted)
		fatalIf(t, err)
		if f.Entries[0].Values != nil || f.Entries[3].Values["reason"] != "Ada knows" {
			t.Errorf("disclosed are %v and %v, want nothing and the reason", f.Entries[0].Values, f.Entries[3].Values)
		}
		wantGood(t, verify(t, db, trusted), 8)
	})
}

// TestAChangedReceiptSaysWhichPartDoesNotHold changes one thing at a time.
func TestAChangedReceiptSaysWhichPartDoesNotHold(t *testing.T) {
	db := storetest.New(t, "sqlite")
	file, _, trusted := someReceipt(t, db, true)
	_, stranger := newLog(t, db)
	for _, c := range []struct {
		part   string
		change func(*Receipt)
	}{
		{"entry 17", func(r *Receipt) { r.Entries[0].Body = strings.Replace(r.Entries[0].Body, "dtc_send", "dtc_read", 1) }},
		{"entry 17", func(r *Receipt) { r.Entries[0].ID = r.Entries[1].ID }},
		{"entry 16", func(r *Receipt) { r.Entries[0].Number-- }},
		{"entry 17", func(r *Receipt) { r.Entries[0].Proof[2][0] ^= 1 }},
		{"entry 17", func(r *Receipt) { r.Entries[0].Proof = r.Entries[0].Proof[1:] }},
		{"entry 24", func(r *Receipt) { r.Entries[4].Number = 24 }},
		{"entry 0", func(r *Receipt) { r.Entries[0].Number = 0 }},
		{"entry 17", func(r *Receipt) { r.Entries[0].Values[0].Value += " " }},
		{"entry 17", func(r *Receipt) { r.Entries[0].Values[0].Name = "reason" }},
		{"entry 17", func(r *Receipt) { moveSalt(&r.Entries[0].Values[0], 1) }},
		{"entry 17", func(r *Receipt) { moveSalt(&r.Entries[0].Values[0], -1) }},
		{"entry 17", func(r *Receipt) { r.Entries[0].Values = append(r.Entries[0].Values, r.Entries[0].Values[0]) }},
		{"entry 17", func(r *Receipt) { r.Entries[0], r.Entries[1] = r.Entries[1], r.Entries[0] }},
		{"entry 18", func(r *Receipt) { r.Entries[2] = r.Entries[1] }},
		{"entry 17", func(r *Receipt) { r.Subject = "call_again"; r.Entries = r.Entries[:2] }},
		{"entry 16", func(r *Receipt) { r.Entries = append([]ProvedEntry{r.Policies[0].Published}, r.Entries...) }},
		{"the receipt", func(r *Receipt) { r.Entries = r.Entries[:0] }},
		{"the receipt", func(r *Receipt) { r.Format += "x" }},
		{"entry 17", func(r *Receipt) { r.Subject = "call_nothing" }},
		{"the checkpoint", func(r *Receipt) { r.Checkpoint = strings.Replace(r.Checkpoint, "\n23\n", "\n24\n", 1) }},
		{"the key", func(r *Receipt) { r.Key = "dtcgate+00000000" }},
		{"policy 7", func(r *Receipt) { r.Policies[0].Text += "#" }},
		{"policy 7", func(r *Receipt) {
			r.Policies[0].Text += "#"
			r.Policies[0].SHA256 = digestOf(r.Policies[0].Text)
		}},
		{"policy 8", func(r *Receipt) { r.Policies[0].Version = 8 }},
		{"policy 7", func(r *Receipt) { r.Policies[0].Published = r.Entries[0] }},
		{"policy 7", func(r *Receipt) { r.Policies = append(r.Policies, r.Policies[0]) }},
		{"policy 7", func(r *Receipt) { r.Policies[0].Published.Number++ }},
	} {
		p, err := Read(file)
		fatalIf(t, err)
		r := p.(Receipt)
		c.change(&r)
		_, err = r.Check(trusted)
		if u := (*Unproved)(nil); !errors.As(err, &u) || u.Part != c.part {
			t.Errorf("got %v, want it to be about %s", err, c.part)
		}
	}
	p, err := Read(file)
	fatalIf(t, err)
	if _, err := p.(Receipt).Check(stranger); err == nil || !strings.Contains(err.Error(), "the checkpoint") {
		t.Errorf("under another's key: %v", err)
	}
}

// moveSalt has the salt end so many bytes later: together the two are what they were.
func moveSalt(d *Disclosed, by int) {
	both, at := d.Salt+d.Value, len(d.Salt)+by
	d.Salt, d.Value = both[:at], both[at:]
}

func TestAReceiptHasOneSpelling(t *testing.T) {
	db := storetest.New(t, "sqlite")
	file, _, _ := someReceipt(t, db, true)
	text := string(file)
	for what, other := range map[string]string{
		"a member named twice":       strings.Replace(text, `"subject"`, `"subject": "call_x", "subject"`, 1),
		"a member in other letters":  strings.Replace(text, `"subject"`, `"Subject"`, 1),
		"an unknown member":          strings.Replace(text, `"subject"`, `"more": 1, "subject"`, 1),
		"another blank":              strings.Replace(text, `"subject": `, `"subject":  `, 1),
		"another end of line":        strings.ReplaceAll(text, "\n", "\r\n"),
		"another escape":             strings.Replace(text, "call_a", `call\u005fa`, 1),
		"something after it":         text + " ",
		"another document after it":  text + text,
		"nothing":                    "",
		"no receipt":                 `{"format":"dtcgate.receipt/v2"}`,
		"a list":                     "[]",
		"cut":                        text[:len(text)/2],
		"more than a receipt may be": text + strings.Repeat(" ", MaxProof),
		"a null for the list":        `{"format":"dtcgate.receipt/v1"}`,
	} {
		if _, err := Read([]byte(other)); err == nil {
			t.Errorf("%s: it was read", what)
		}
	}
}

func TestWhatHasNoReceipt(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		l, trusted := newLog(t, db)
		id := appendCalls(t, db, 1)[0]
		want := func(subject string, want error) {
			t.Helper()
			err := db.Read(t.Context(), func(tx *store.Tx) error {
				_, err := MakeReceipt(tx, subject, ReceiptOptions{Trusted: trusted})
				return err
			})
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", subject, err, want)
			}
		}
		want("call_0", ErrUnnumbered)
		want(id, ErrUnnumbered)
		sequence(t, l)
		want("call_0", nil)
		want(id, nil)
		want("call_1", store.ErrNotFound)
		want("", store.ErrNotFound)
		inTx(t, db, func(tx *store.Tx) error {
			for range maxProved + 1 {
				if _, err := Append(tx, Entry{Event: "job.step", CallID: "call_long"}); err != nil {
					return err
				}
			}
			return nil
		})
		sequence(t, l)
		want("call_long", ErrTooLong)
	})
}

// TestNoReceiptOfATamperedRecord: a receipt is checked before it is given.
func TestNoReceiptOfATamperedRecord(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		_, _, trusted := someReceipt(t, db, false)
		unprotect(t, db)
		inTx(t, db, exec(`UPDATE audit_entries SET body = REPLACE(body, 'approve', 'deny') WHERE event = 'approval.vote'`))
		err := db.Read(t.Context(), func(tx *store.Tx) error {
			_, err := MakeReceipt(tx, "call_a", ReceiptOptions{Trusted: trusted})
			return err
		})
		if u := (*Unproved)(nil); !errors.As(err, &u) || u.Part != "entry 21" {
			t.Errorf("got %v, want entry 21 not proved", err)
		}
	})
}

// published are files that were made when their format was, with the key to check them: a later program must take them.
func published(t testing.TB) (receipt, consistency []byte, trusted note.Verifiers) {
	t.Helper()
	var files [3][]byte
	for i, name := range []string{"receipt-v1.json", "consistency-v1.json", "v1.pub"} {
		var err error
		files[i], err = os.ReadFile(filepath.Join("testdata", name))
		fatalIf(t, err)
	}
	trusted, err := Verifiers(strings.TrimSpace(string(files[2])))
	fatalIf(t, err)
	return files[0], files[1], trusted
}

func TestProofsOfVersion1AreReadForEver(t *testing.T) {
	receipt, consistency, trusted := published(t)
	p, err := Read(receipt)
	fatalIf(t, err)
	f, err := p.(Receipt).Check(trusted)
	fatalIf(t, err)
	if len(f.Entries) != 5 || len(f.Policies) != 1 || f.Entries[0].Values["arguments"] != `{"to":"Ada"}` {
		t.Errorf("it proves %+v", f)
	}
	c, err := Read(consistency)
	fatalIf(t, err)
	if both, err := c.(Consistency).Check(trusted); err != nil || both.Old.Size != 3 || both.New.Size != 23 {
		t.Errorf("it proves %+v, %v", both, err)
	}
}
