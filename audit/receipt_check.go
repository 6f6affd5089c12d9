package audit

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Unproved says which part of a receipt does not hold.
type Unproved struct {
	Part string `json:"part"` // the checkpoint, entry 12, policy 3, …
	Why  string `json:"why"`
}

func (u *Unproved) Error() string { return u.Part + ": " + u.Why }

func unproved(part, why string, args ...any) error {
	return &Unproved{part, fmt.Sprintf(why, args...)}
}

// Findings is what a receipt proves.
type Findings struct {
	Subject    string        `json:"subject"`
	Log        string        `json:"log"`
	Checkpoint Checkpoint    `json:"checkpoint"`
	Entries    []Shown       `json:"entries"` // by number
	Policies   []PolicyShown `json:"policies"`
}

// Shown is a proved entry and what of its personal values was disclosed.
type Shown struct {
	Sequenced
	Values map[string]string `json:"values,omitempty"`
}

// PolicyShown is a proved text of a policy, and who put it in force when.
type PolicyShown struct {
	Version     int64     `json:"version"`
	SHA256      string    `json:"sha256"`
	Text        string    `json:"text"`
	PublishedBy string    `json:"published_by"`
	PublishedAt time.Time `json:"published_at"`
}

// Check holds a receipt to the keys that are trusted, and to nothing else. The error is *Unproved.
func (r Receipt) Check(trusted note.Verifiers) (Findings, error) {
	if err := r.bounded(); err != nil {
		return Findings{}, err
	}
	c, err := openCheckpoint(r.Checkpoint, trusted)
	if err != nil {
		return Findings{}, unproved("the checkpoint", "%v; it names the key %.80q", err, KeyOf(r.Checkpoint))
	}
	if r.Key != KeyOf(r.Checkpoint) {
		return Findings{}, unproved("the key", "the receipt says %.80q and its checkpoint %.80q", r.Key, KeyOf(r.Checkpoint))
	}
	f := Findings{Subject: r.Subject, Log: c.origin, Checkpoint: Checkpoint{c.size, c.at, r.Checkpoint}, Entries: []Shown{}, Policies: []PolicyShown{}}
	for _, p := range r.Entries {
		e, err := p.check(c)
		if err != nil {
			return Findings{}, err
		}
		f.Entries = append(f.Entries, e)
	}
	if err := f.together(); err != nil {
		return Findings{}, err
	}
	if err := r.policies(c, &f); err != nil {
		return Findings{}, err
	}
	return f, nil
}

// bounded refuses what MakeReceipt would not have made, before anything of it is computed.
func (r Receipt) bounded() error {
	switch {
	case r.Format != FormatReceipt:
		return unproved("the receipt", "its format is %.40q, not %s", r.Format, FormatReceipt)
	case len(r.Entries) == 0:
		return unproved("the receipt", "it has no entries")
	case len(r.Entries) > maxProved:
		return unproved("the receipt", "it has %d entries, of at most %d", len(r.Entries), maxProved)
	case len(r.Policies) > maxPolicies:
		return unproved("the receipt", "it has %d policies, of at most %d", len(r.Policies), maxPolicies)
	}
	return nil
}

// check proves one entry: that its bytes, under its id and number, are under the root that was signed.
func (p ProvedEntry) check(c checkpoint) (Shown, error) {
	part := fmt.Sprintf("entry %d", p.Number)
	switch {
	case p.Number < 1 || p.Number > c.size:
		return Shown{}, unproved(part, "the checkpoint covers entries 1 to %d", c.size)
	case len(p.Proof) > maxPath || len(p.Body) > maxBody:
		return Shown{}, unproved(part, "it is longer than an entry or its proof can be")
	case tlog.CheckRecord(p.Proof, c.size, c.root, p.Number-1, leaf(p.ID, p.Body)) != nil:
		return Shown{}, unproved(part, "its text and proof do not give the root that was signed: one of them was changed, or it is another entry's")
	}
	e, err := decodeBody(p.Body)
	if err != nil || e.ID != p.ID {
		return Shown{}, unproved(part, "it is no entry of a gate's record")
	}
	s := Shown{Sequenced: Sequenced{p.Number, e}}
	return s, p.disclose(&s)
}

// disclose holds the values that are told to the digests in the entry.
func (p ProvedEntry) disclose(s *Shown) error {
	for _, d := range p.Values {
		digest, there := s.Digests[d.Name]
		if !there || (value{d.Name, d.Salt, d.Value}).digest() != digest {
			return unproved(fmt.Sprintf("entry %d", p.Number), "the value %.40q is not the one whose digest is on record", d.Name)
		}
		if _, twice := s.Values[d.Name]; twice {
			return unproved(fmt.Sprintf("entry %d", p.Number), "the value %.40q is told twice", d.Name)
		}
		if s.Values == nil {
			s.Values = map[string]string{}
		}
		s.Values[d.Name] = d.Value
	}
	return nil
}

func decodeBody(body string) (e Entry, err error) {
	err = json.Unmarshal([]byte(body), &e)
	return e, err
}

// together checks that the entries belong to the subject, each once and in order: proved entries of another call would
// tell something true about something else.
func (f *Findings) together() error {
	jobs := []string{}
	for _, e := range f.Entries {
		if e.CallID == f.Subject && e.JobID != "" {
			jobs = append(jobs, e.JobID)
		}
	}
	own := false
	for i, e := range f.Entries {
		part := fmt.Sprintf("entry %d", e.Seq)
		switch {
		case i > 0 && e.Seq <= f.Entries[i-1].Seq:
			return unproved(part, "the entries are not in the order of their numbers")
		case f.Subject == "":
			return unproved("the receipt", "it names no subject")
		case e.Merchant != f.Entries[0].Merchant:
			return unproved(part, "it is another merchant's")
		case e.CallID == f.Subject || e.JobID == f.Subject || e.ID == f.Subject:
			own = true
		case e.JobID == "" || !slices.Contains(jobs, e.JobID):
			return unproved(part, "it is not about %.80q", f.Subject)
		}
	}
	if !own {
		return unproved("the receipt", "none of its entries is of %.80q itself", f.Subject)
	}
	return nil
}

// policies proves the texts of policies, each of which an entry must have been decided by.
func (r Receipt) policies(c checkpoint, f *Findings) error {
	for i, p := range r.Policies {
		part := fmt.Sprintf("policy %d", p.Version)
		published, err := p.Published.check(c)
		if err != nil {
			return unproved(part, "its publishing, %v", err)
		}
		if err := p.check(published.Entry, f.Entries[0].Merchant); err != nil {
			return unproved(part, "%v", err)
		}
		if i > 0 && p.Version <= r.Policies[i-1].Version {
			return unproved(part, "the policies are not in the order of their versions")
		}
		if !slices.ContainsFunc(f.Entries, func(e Shown) bool { return e.PolicyVersion == p.Version }) {
			return unproved(part, "nothing in the receipt was decided by it")
		}
		f.Policies = append(f.Policies, PolicyShown{p.Version, p.SHA256, p.Text, published.Actor, published.At})
	}
	return nil
}
