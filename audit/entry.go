package audit

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/dtcgate/dtcgate/schemas"
)

// errFacts says that the facts of an entry are no JSON.
var errFacts = errors.New("the facts are no JSON")

// appendJSON writes an entry byte for byte as encoding/json does, which takes several times as long; every call waits for it.
func (e *Entry) appendJSON(b []byte) ([]byte, error) {
	w := members(append(b, '{'))
	w.always("id", e.ID)
	w.name("at")
	w = append(e.At.AppendFormat(append(w, '"'), time.RFC3339Nano), '"')
	w.always("merchant", e.Merchant)
	w.always("event", e.Event)
	w.text("call_id", e.CallID)
	w.text("job_id", e.JobID)
	w.text("actor", e.Actor)
	w.text("tool", e.Tool)
	w.text("action", e.Action)
	w.text("transport", e.Transport)
	w.text("source", e.Source)
	w.chain(e.Chain)
	w.text("status", e.Status)
	w.text("code", e.Code)
	w.text("level", e.Level)
	w.checks(e.Checks)
	w.number("policy_version", e.PolicyVersion)
	w.text("policy_rule", e.PolicyRule)
	w.text("approval_id", e.ApprovalID)
	w.text("binding", e.Binding)
	w.text("resource", e.Resource)
	w.text("idempotency_key", e.IdempotencyKey)
	w.number("customers", e.Customers)
	w.number("money_minor", e.MoneyMinor)
	w.text("currency", e.Currency)
	w.number("latency_micros", e.LatencyMicros)
	w.number("cost_micros", e.CostMicros)
	w.number("count", e.Count)
	w.text("reason", e.Reason)
	if len(e.Facts) > 0 {
		if !json.Valid(e.Facts) {
			return nil, errFacts
		}
		w.name("facts")
		w = schemas.AppendCompact(w, e.Facts)
	}
	w.digests(e.Digests)
	return append(w, '}'), nil
}

// members are the members of a JSON object as they are written.
type members []byte

func (w *members) name(name string) {
	if last := (*w)[len(*w)-1]; last != '{' {
		*w = append(*w, ',')
	}
	*w = append(append(append(*w, '"'), name...), '"', ':')
}

func (w *members) always(name, text string) {
	w.name(name)
	*w = schemas.AppendQuoted(*w, text)
}

func (w *members) text(name, text string) {
	if text != "" {
		w.always(name, text)
	}
}

func (w *members) number(name string, n int64) {
	if n != 0 {
		w.name(name)
		*w = strconv.AppendInt(*w, n, 10)
	}
}

func (w *members) chain(chain []string) {
	if len(chain) == 0 {
		return
	}
	w.name("chain")
	for i, who := range chain {
		*w = schemas.AppendQuoted(append(*w, separator(i)), who)
	}
	*w = append(*w, ']')
}

func (w *members) checks(checks []Check) {
	if len(checks) == 0 {
		return
	}
	w.name("checks")
	for i, c := range checks {
		*w = append(*w, separator(i))
		*w = schemas.AppendQuoted(append(*w, `{"name":`...), c.Name)
		*w = schemas.AppendQuoted(append(*w, `,"verdict":`...), c.Verdict)
		*w = append(*w, '}')
	}
	*w = append(*w, ']')
}

func (w *members) digests(digests map[string]string) {
	if len(digests) == 0 {
		return
	}
	w.name("digests")
	names := slices.Sorted(maps.Keys(digests))
	for i, name := range names {
		at := byte(',')
		if i == 0 {
			at = '{'
		}
		*w = schemas.AppendQuoted(append(*w, at), name)
		*w = schemas.AppendQuoted(append(*w, ':'), digests[name])
	}
	*w = append(*w, '}')
}

// separator is what stands before the i-th of a list.
func separator(i int) byte {
	if i == 0 {
		return '['
	}
	return ','
}
