package policy

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// The names of the personal values that are kept beside a call's record, where they can be erased.
const (
	ArgumentsKept = "arguments"
	NameKept      = "name" // of the credential; kept where the policy looks at it
)

// The events under which decisions about calls stand on record.
const (
	EventCall    = "call"         // as it came
	EventResumed = "call.resumed" // as it was judged again after it had waited
)

// A Record is a call as it stands on record, with the facts by which it was decided.
type Record struct {
	Event     string
	CallID    string
	Tool      string
	Status    string // done, dry_run, pending_approval, queued, refused, failed, replayed
	Rule      string // that decided
	RefusedBy string // the check that refused it; "" where none did
	Version   int64  // of the policy it was decided under
	Facts     Facts
	Named     bool // the name of its caller is kept
	Lost      Loss // why the facts cannot be decided by again; "" when they can
}

// A Loss says why a recorded call cannot be decided again.
type Loss string

// The losses. The first three are of what was never there or is there no more, the last of what is not kept.
const (
	LostFacts     Loss = "it was recorded before facts were kept"
	LostTool      Loss = "there is no such tool any more"
	LostArguments Loss = "its arguments are erased"
	LostLength    Loss = "its arguments are longer than what is kept"
	LostBatch     Loss = "it is a batch, whose calls are decided one by one"
	LostName      Loss = "the name of its caller is not kept, or erased"
)

// entry is what a Record takes of an audit.Entry. The rest is skipped and not decoded.
type entry struct {
	Tool          string         `json:"tool"`
	Transport     string         `json:"transport"`
	Source        string         `json:"source"`
	Status        string         `json:"status"`
	Checks        jsontext.Value `json:"checks"`
	PolicyVersion int64          `json:"policy_version"`
	PolicyRule    string         `json:"policy_rule"`
	Facts         *Facts         `json:"facts"`
}

// Recall makes a Record of what is kept, with the arguments and the name as its first two personal values.
func Recall(registry *tools.Registry, k audit.Kept) (Record, error) {
	var e entry
	if err := json.Unmarshal([]byte(k.Body), &e); err != nil {
		return Record{}, fmt.Errorf("reading entry %s: %w", k.ID, err)
	}
	r := Record{Event: k.Event, CallID: k.CallID, Tool: e.Tool, Status: e.Status, Rule: e.PolicyRule, Version: e.PolicyVersion}
	if e.Status == "refused" {
		var err error
		if r.RefusedBy, err = refusedBy(e.Checks); err != nil {
			return r, fmt.Errorf("reading the checks of entry %s: %w", k.ID, err)
		}
	}
	if e.Facts == nil {
		r.Lost = LostFacts
		return r, nil
	}
	r.Facts = *e.Facts
	r.Facts.Transport, r.Facts.Source, r.Facts.Resumed = e.Transport, e.Source, k.Event == EventResumed
	r.complete(registry, k)
	return r, nil
}

// Granted reports whether a call ran because people had agreed to it beforehand, by a standing grant.
func (r *Record) Granted() bool { return strings.HasPrefix(r.Rule, RuleGrant) }

// complete adds to the facts what is kept beside them, and notes what is not.
func (r *Record) complete(registry *tools.Registry, k audit.Kept) {
	f := &r.Facts
	if f.At.IsZero() {
		f.At, _ = store.IDTime(k.CallID)
	}
	var known bool
	if f.Tool, known = registry.Find(r.Tool); !known {
		r.Lost = LostTool
		return
	}
	arguments, name := k.Personal[0], k.Personal[1]
	f.Args, f.Name, r.Named = []byte(arguments.Text), name.Text, name.Kept
	switch {
	case f.Tool.Batches():
		r.Lost = LostBatch
	case !arguments.Kept:
		r.Lost = LostArguments
	case len(f.Args) > 0 && !strings.HasSuffix(arguments.Text, "}"):
		r.Lost = LostLength
	}
}

// refusedBy gives the check that refused: the last one, if it did.
func refusedBy(checks jsontext.Value) (string, error) {
	var all []audit.Check
	if len(checks) == 0 {
		return "", nil
	}
	if err := json.Unmarshal(checks, &all); err != nil || len(all) == 0 || all[len(all)-1].Verdict == "ok" {
		return "", err
	}
	return all[len(all)-1].Name, nil
}

// LooksAtName reports whether a condition of the policy may look at the name of a caller's credential.
func (p *Policy) LooksAtName() bool {
	return p.looks["principal.name"] || p.looks["principal"] && p.looks["context"] // the last two: at whatever there is
}

func (p *Policy) looksAt(paths []string) {
	for _, path := range paths {
		p.looks[path] = true
	}
}
