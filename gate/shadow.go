package gate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/rehearsal"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A draft may run as the shadow of the policy in force: of every call it is asked what it would have said, in the transaction of the call's record,
// and where that is something else it is recorded beside it. It decides nothing, and whatever is wrong with it ends with it: the call goes on.

// shadows are the drafts that have been made ready, by their hash; nil for one that cannot be read.
type shadows struct {
	mu    sync.Mutex
	ready map[string]*policy.Policy
}

// keepShadows bounds how many are at hand. Past it all are forgotten and read again.
const keepShadows = 1000

func (s *shadows) find(hash string) (p *policy.Policy, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, known = s.ready[hash]
	return p, known
}

func (s *shadows) keep(hash string, p *policy.Policy) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready == nil || len(s.ready) >= keepShadows {
		s.ready = map[string]*policy.Policy{}
	}
	s.ready[hash] = p
}

// shadow asks the shadow, if there is one, about a call that has just been recorded, and records where it differs. Its error is the database's, with
// which the call's own record is lost too.
func (g *Gate) shadow(tx *store.Tx, c *call, event, status string, code tools.Code) error {
	if c.Principal.PolicyShadow == "" || c.Tool == nil || c.Tool.Batches() {
		return nil
	}
	var differs *audit.Entry
	err := g.safely(c.ID, func() (err error) {
		differs, err = g.differing(tx, c, event, status, code)
		return err
	})
	if err != nil {
		g.log.Error().Str("call_id", c.ID).Err(err).Msg("the shadow of the policy could not be asked")
		return nil
	}
	if differs != nil {
		_, err = audit.Append(tx, *differs)
	}
	return err
}

// differing is the entry that says what the shadow would have said; nil where it agrees.
func (g *Gate) differing(tx *store.Tx, c *call, event, status string, code tools.Code) (*audit.Entry, error) {
	hash := c.Principal.PolicyShadow
	draft, err := g.shadowAt(tx, c.Principal.Merchant, hash)
	if draft == nil {
		return nil, err
	}
	live := policy.Record{Event: event, CallID: c.ID, Tool: c.Tool.Name, Status: status, Rule: c.decidedBy(), Version: c.PolicyVersion, Facts: c.facts, Named: true}
	live.Facts.Resumed = event == policy.EventResumed
	if last := len(c.checks) - 1; status == "refused" && last >= 0 && c.checks[last].Verdict != "ok" {
		live.RefusedBy = c.checks[last].Name
	}
	kind, v := rehearsal.Compare(draft, live, rehearsal.Live{Ask: c.ask, Code: code})
	if kind == "" {
		return nil, nil
	}
	return c.differs(hash, live, kind, v), nil
}

// differs tells both verdicts. It has nothing of the arguments.
func (c *call) differs(hash string, live policy.Record, kind rehearsal.Kind, v policy.Verdict) *audit.Entry {
	e := audit.Entry{
		Merchant: c.Principal.Merchant, Event: policy.EventDiffers, CallID: c.ID, JobID: c.job, Actor: byItself, Chain: []string{byItself}, Tool: c.Tool.Name, Action: c.action,
		Status: string(kind), PolicyVersion: live.Version, PolicyRule: v.Rule, Resource: shadowNamed(hash), Customers: c.preview.Customers,
		Checks: []audit.Check{{Name: "live", Verdict: live.Status + " " + live.Rule}, {Name: "draft", Verdict: string(v.Outcome) + " " + v.Rule}},
	}
	switch {
	case kind == rehearsal.Perhaps:
		e.PolicyRule, e.Checks[1].Verdict = "", "would get past "+live.Rule
	case v.Refusal != nil:
		e.Code, e.Reason = string(v.Refusal.Code), v.Refusal.Message
	case v.Outcome == policy.Park:
		e.Reason = "It takes the approval of " + v.Ask.Needs() + "."
	}
	if m := c.preview.Money; m != nil {
		e.MoneyMinor, e.Currency = m.AmountMinor, m.Currency
	}
	return &e
}

func shadowNamed(hash string) string { return "policy_draft:" + hash[:min(16, len(hash))] }

// shadowAt gives a shadow that is ready. One that cannot be read is told once and left alone from then on.
func (g *Gate) shadowAt(tx *store.Tx, merchant, hash string) (*policy.Policy, error) {
	p, known := g.shadows.find(hash)
	if known {
		return p, nil
	}
	p, err := policy.LoadShadow(tx, g.tools, merchant, hash)
	if err == nil || errors.Is(err, policy.ErrUnreadable) {
		g.shadows.keep(hash, p)
	}
	return p, err
}

// The operations on shadows.
var (
	opCast = Op{Event: "policy.shadow.cast", Scope: auth.PolicyAdmin}
	opLift = Op{Event: "policy.shadow.lifted", Scope: auth.PolicyAdmin}
)

// CastShadow lets a draft run beside the version in force. Every error is a *tools.Refusal.
func (g *Gate) CastShadow(ctx context.Context, by By, source, note string) (policy.Shadow, error) {
	err := g.safely("shadow", func() error {
		return g.db.Read(ctx, func(tx *store.Tx) error { // before the rights are taken, as when it is published
			p, err := permitted(tx, by, opCast)
			if err == nil {
				err = fitToPublish(p, source, note, nil)
			}
			if err == nil {
				_, err = g.readyDraft(tx, p.Merchant, source)
			}
			return err
		})
	})
	if err != nil {
		return policy.Shadow{}, g.refusePerson(ctx, by.Principal, opCast.Event+".refused", Ballot{Channel: by.Transport, Source: by.Source}, err)
	}
	return Administer(ctx, g, by, opCast, func(tx *store.Tx, p auth.Principal) (policy.Shadow, audit.Entry, error) {
		s, err := policy.CastShadow(tx, policy.Shadow{Merchant: p.Merchant, Source: source, Author: p.Chain()[0], Note: note})
		return s, audit.Entry{Resource: shadowNamed(s.Hash), Reason: note}, err
	})
}

// LiftShadow ends the run of a draft.
func (g *Gate) LiftShadow(ctx context.Context, by By) (policy.Shadow, error) {
	return Administer(ctx, g, by, opLift, func(tx *store.Tx, p auth.Principal) (policy.Shadow, audit.Entry, error) {
		s, err := policy.FindShadow(tx, p.Merchant)
		if err == nil {
			err = policy.LiftShadow(tx, p.Merchant)
		}
		return s, audit.Entry{Resource: shadowNamed(s.Hash)}, noShadow(err)
	})
}

func noShadow(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return tools.Refuse(tools.NotFound, "Cast one with `dtcgate policy shadow FILE --note TEXT`.", "No draft runs beside the policy.")
	}
	return err
}

// A ShadowReport is where a shadow has differed since it was cast.
type ShadowReport struct {
	policy.Shadow
	Differences int64           `json:"differences"`
	Complete    bool            `json:"complete"` // false where there are more than are counted
	Tools       []ShadowCount   `json:"tools"`    // most first
	Examples    []ShadowExample `json:"examples"`
}

// A ShadowCount is how often a shadow differed about a tool in one way.
type ShadowCount struct {
	Tool  string         `json:"tool"`
	Kind  rehearsal.Kind `json:"kind"`
	Calls int64          `json:"calls"`
}

// A ShadowExample is one call about which a shadow differed.
type ShadowExample struct {
	CallID string         `json:"call_id"`
	Tool   string         `json:"tool"`
	Kind   rehearsal.Kind `json:"kind"`
	Live   string         `json:"live"`  // what became of the call, and by which rule
	Draft  string         `json:"draft"` // what the draft says, and by which rule
	Why    string         `json:"why,omitempty"`
}

// The bounds of a ShadowReport.
const (
	shadowCounted  = 100_000 // entries
	shadowExamples = 5       // of each tool and kind
	shadowShown    = 200     // examples in all
)

// ShadowReport counts where the shadow has differed.
func (g *Gate) ShadowReport(ctx context.Context, by By) (ShadowReport, error) {
	op := Op{Event: "policy.shadow.read", Scope: auth.PolicyAdmin}
	return examine(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (r ShadowReport, resource string, err error) {
		if r.Shadow, err = policy.FindShadow(tx, p.Merchant); err != nil {
			return r, "", noShadow(err)
		}
		return r, shadowNamed(r.Hash), r.read(tx)
	})
}

func (r *ShadowReport) read(tx *store.Tx) error {
	counts := map[ShadowCount]int64{} // with Calls of 0
	page := audit.Span{Merchant: r.Merchant, Events: []string{policy.EventDiffers}, After: store.FirstID("aud", r.At), Until: "b", Limit: replayAtOnce}
	for read := 0; read < shadowCounted; read += page.Limit {
		all, err := audit.Between(tx, page)
		if err != nil {
			return err
		}
		for _, kept := range all {
			if err := r.count(counts, kept.Body); err != nil {
				return err
			}
		}
		if r.Complete = len(all) < page.Limit; r.Complete {
			break
		}
		page.After = all[len(all)-1].ID
	}
	r.Tools = []ShadowCount{}
	for k := range maps.Keys(counts) {
		k.Calls = counts[k]
		r.Tools = append(r.Tools, k)
	}
	slices.SortFunc(r.Tools, func(a, b ShadowCount) int {
		return cmp.Or(cmp.Compare(b.Calls, a.Calls), strings.Compare(a.Tool, b.Tool), strings.Compare(string(a.Kind), string(b.Kind)))
	})
	return nil
}

func (r *ShadowReport) count(counts map[ShadowCount]int64, body string) error {
	var e audit.Entry
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		return fmt.Errorf("reading the record: %w", err)
	}
	if e.Resource != shadowNamed(r.Hash) || len(e.Checks) != 2 {
		return nil
	}
	k := ShadowCount{Tool: e.Tool, Kind: rehearsal.Kind(e.Status)}
	r.Differences++
	counts[k]++
	if counts[k] <= shadowExamples && len(r.Examples) < shadowShown {
		r.Examples = append(r.Examples, ShadowExample{CallID: e.CallID, Tool: e.Tool, Kind: k.Kind, Live: e.Checks[0].Verdict, Draft: e.Checks[1].Verdict, Why: e.Reason})
	}
	return nil
}
