package audit

import (
	"bytes"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// FuzzReceipt holds that no bytes make the checker fall over, and that whatever it takes says nothing that is not on record. The file is
// tried as it is, and with something written over it from some place.
func FuzzReceipt(f *testing.F) {
	receipt, consistency, trusted := published(f)
	record := onRecord(f, receipt)
	for _, change := range []func(*Receipt){
		func(*Receipt) {},
		func(r *Receipt) { r.Policies = r.Policies[:0] },
		func(r *Receipt) { r.Entries = r.Entries[:1] },
		func(r *Receipt) { r.Entries[0].Values = nil },
		func(r *Receipt) { r.Subject = "job_a" },
		func(r *Receipt) { r.Entries[0], r.Entries[1] = r.Entries[1], r.Entries[0] },
		func(r *Receipt) { r.Entries[1].Proof = r.Entries[1].Proof[1:] },
		func(r *Receipt) { r.Policies = append(r.Policies, r.Policies[0]) },
		func(r *Receipt) { r.Entries = append(r.Entries, r.Policies[0].Published) },
	} {
		p, err := Read(receipt)
		fatalIf(f, err)
		r := p.(Receipt)
		change(&r)
		seed, err := Write(r)
		fatalIf(f, err)
		for at := 0; at < len(seed); at += len(seed) / 8 {
			f.Add(seed, uint16(at), []byte("0"))
		}
	}
	f.Add(consistency, uint16(40), []byte("9"))
	f.Add([]byte(`{"format":"dtcgate.receipt/v1","entries":[{}]}`), uint16(0), []byte{})
	f.Fuzz(func(t *testing.T, file []byte, at uint16, with []byte) {
		from := min(int(at), len(file))
		changed := append(append(bytes.Clone(file[:from]), with...), file[min(from+len(with), len(file)):]...)
		for _, file := range [][]byte{file, changed} {
			p, err := Read(file)
			if err != nil {
				continue
			}
			if again, err := Write(p); err != nil || !bytes.Equal(again, file) {
				t.Fatalf("read, and written otherwise: %v", err)
			}
			if r, ok := p.(Receipt); ok {
				record.holds(t, r, trusted)
			}
		}
	})
}

// A truth is what stands in a receipt that nobody changed.
type truth struct {
	checkpoint string
	bodies     map[int64]string
	values     map[int64]map[string]string
}

func onRecord(t testing.TB, receipt []byte) truth {
	t.Helper()
	p, err := Read(receipt)
	fatalIf(t, err)
	r := p.(Receipt)
	all := truth{r.Checkpoint, map[int64]string{}, map[int64]map[string]string{}}
	for _, e := range append(r.Entries, r.Policies[0].Published) {
		all.bodies[e.Number], all.values[e.Number] = e.ID+"\n"+e.Body, map[string]string{}
		for _, d := range e.Values {
			all.values[e.Number][d.Name] = d.Value
		}
	}
	return all
}

// holds checks that what a receipt proves, if anything, is on record.
func (all truth) holds(t *testing.T, r Receipt, trusted note.Verifiers) {
	t.Helper()
	f, err := r.Check(trusted)
	if err != nil {
		return
	}
	if r.Checkpoint != all.checkpoint || f.Checkpoint.Size != 23 || len(f.Entries) != len(r.Entries) {
		t.Errorf("a checkpoint was proved that nobody signed: %q", r.Checkpoint)
	}
	for i, e := range r.Entries {
		if all.bodies[e.Number] != e.ID+"\n"+e.Body || f.Entries[i].Seq != e.Number {
			t.Errorf("entry %d was proved and is not on record: %s %s", e.Number, e.ID, e.Body)
		}
		for name, value := range f.Entries[i].Values {
			if on, there := all.values[e.Number][name]; !there || on != value {
				t.Errorf("%s of entry %d was proved and is not on record: %q", name, e.Number, value)
			}
		}
		if e := f.Entries[i]; e.CallID != r.Subject && e.ID != r.Subject && e.JobID != "job_a" {
			t.Errorf("entry %d was proved as one of %s", e.Seq, r.Subject)
		}
	}
	for _, p := range f.Policies {
		if p.Version != 7 || p.Text != policySource || p.SHA256 != digestOf(policySource) || p.PublishedBy != "operator:cli" {
			t.Errorf("policy %d was proved and was never published: %q", p.Version, p.Text)
		}
	}
}
