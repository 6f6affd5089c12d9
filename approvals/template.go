package approvals

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/shop"
)

// A Template says which calls a standing grant is for: those of one agent to one tool, whose arguments are as Arguments says, and how much of
// them. It is sealed when people are asked about it.
type Template struct {
	V          int              `json:"v"`
	Merchant   string           `json:"merchant"`
	Agent      string           `json:"agent"` // at the root of a chain: key_…, jwt_…
	Tool       string           `json:"tool"`
	SchemaHash string           `json:"tool_schema_sha256"`
	Arguments  map[string]Bound `json:"arguments"` // by name; a call has all of these, and beside them only what Guards names
	Count      int64            `json:"count"`
	Each       Amounts          `json:"each"`  // of one call at most
	Total      Amounts          `json:"total"` // of all calls together at most
	Until      time.Time        `json:"until"` // the first moment after it
}

// Amounts are what a call, or many together, would do: money moved and customers reached. No money is none, of whatever currency.
type Amounts struct {
	Money     *shop.Money `json:"money,omitempty"`
	Customers int64       `json:"customers,omitempty"`
}

// A Bound says which values an argument may have. Exactly one of its ways is set.
type Bound struct {
	OneOf []json.RawMessage `json:"one_of,omitempty"` // one of these, whole
	From  *int64            `json:"from,omitempty"`   // a whole number from here
	To    *int64            `json:"to,omitempty"`     // to here
	Money *shop.Money       `json:"money,omitempty"`  // an amount of its currency, of 0 to this
	Any   bool              `json:"any,omitempty"`    // any text, number or truth value
}

// Guards reports whether an argument says why a call is made, or by which key it is known, or what its caller has seen. It may differ from call to
// call, because a call never does more for it: what was seen and is not there refuses the call, and a rehearsal is no call.
func Guards(argument string) bool {
	return argument == "reason" || argument == "idempotency_key" || argument == "dry_run" || strings.HasPrefix(argument, "expected_")
}

// Fits reports whether canonical arguments are among those that the template is for. What it does not know it does not fit.
func (t Template) Fits(args []byte) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(args, &members) != nil {
		return false
	}
	for name, bound := range t.Arguments {
		if value, there := members[name]; !there || !bound.Holds(value) {
			return false
		}
	}
	for name := range members {
		if _, named := t.Arguments[name]; !named && !Guards(name) {
			return false
		}
	}
	return true
}

// Holds reports whether a canonical value is one of those that the bound lets be.
func (b Bound) Holds(value json.RawMessage) bool {
	switch {
	case len(b.OneOf) > 0:
		return slices.ContainsFunc(b.OneOf, func(one json.RawMessage) bool { return bytes.Equal(one, value) })
	case b.Money != nil:
		return b.holdsMoney(value)
	case b.From != nil && b.To != nil:
		n, ok := whole(value)
		return ok && n >= *b.From && n <= *b.To
	}
	return b.Any && len(value) > 0 && strings.IndexByte(`{[n`, value[0]) < 0
}

func (b Bound) holdsMoney(value json.RawMessage) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(value, &members) != nil || len(members) != 2 {
		return false
	}
	n, ok := whole(members["amount_minor"])
	return ok && n >= 0 && n <= b.Money.AmountMinor && string(members["currency"]) == strconv.Quote(b.Money.Currency)
}

// whole reads a number that is written as a whole one. Written in another way (1e2, 1.0) it is left to people.
func whole(value json.RawMessage) (int64, bool) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == string(value)
}

// ways counts how many of a bound's ways are set.
func (b Bound) ways() int {
	n := 0
	for _, set := range []bool{len(b.OneOf) > 0, b.From != nil || b.To != nil, b.Money != nil, b.Any} {
		if set {
			n++
		}
	}
	return n
}

// maxChoices bounds the values of one bound.
const maxChoices = 200

// Unfit says what is wrong with a bound; "" when nothing is.
func (b Bound) Unfit() string {
	switch {
	case b.ways() != 1:
		return "is to be said in exactly one way"
	case len(b.OneOf) > maxChoices:
		return fmt.Sprintf("names more than %d values", maxChoices)
	case (b.From == nil) != (b.To == nil) || b.From != nil && *b.From > *b.To:
		return "is no range"
	case b.Money != nil && (b.Money.AmountMinor < 0 || !slices.Contains(shop.Currencies, b.Money.Currency)):
		return "is no amount of money"
	}
	return ""
}

// String says in words which values there may be.
func (b Bound) String() string {
	switch {
	case len(b.OneOf) > 0:
		values := make([]string, len(b.OneOf))
		for i, v := range b.OneOf {
			values[i] = string(v)
		}
		return anyOf(values)
	case b.Money != nil:
		return "at most " + b.Money.String()
	case b.From != nil && b.To != nil:
		return fmt.Sprintf("%d to %d", *b.From, *b.To)
	}
	return "anything"
}

// Lines say in words which arguments a call has, one a line.
func (t Template) Lines() string {
	lines := make([]string, 0, len(t.Arguments)+1)
	for _, name := range slices.Sorted(maps.Keys(t.Arguments)) {
		lines = append(lines, name+": "+t.Arguments[name].String())
	}
	return strings.Join(append(lines, "and nothing else but its reason, its idempotency_key and what it says it has seen (expected_…)"), "\n")
}

// Within reports whether a is at most most. Less than nothing is within nothing.
func (a Amounts) Within(most Amounts) bool {
	if a.Customers < 0 || a.Customers > most.Customers {
		return false
	}
	if a.Money == nil || a.Money.AmountMinor == 0 {
		return true
	}
	return most.Money != nil && a.Money.Currency == most.Money.Currency && a.Money.AmountMinor > 0 && a.Money.AmountMinor <= most.Money.AmountMinor
}

// Minor is the money in minor units.
func (a Amounts) Minor() int64 {
	if a.Money == nil {
		return 0
	}
	return a.Money.AmountMinor
}

// String says amounts in words.
func (a Amounts) String() string {
	var parts []string
	if a.Money != nil {
		parts = append(parts, a.Money.String())
	}
	if a.Customers > 0 {
		parts = append(parts, shop.Thousands(a.Customers)+" customers")
	}
	if len(parts) == 0 {
		return "no money"
	}
	return strings.Join(parts, " and ")
}

// Written gives the template in its canonical form, in which it is asked about, stored and sealed.
func (t Template) Written() ([]byte, error) {
	raw, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("writing the template: %w", err)
	}
	text, err := schemas.Canonical(raw)
	if err != nil {
		return nil, fmt.Errorf("writing the template: %w", err)
	}
	return text, nil
}

// Seal is SHA-256 over a domain tag and the canonical form of a template, in hex.
func Seal(text []byte) string {
	sum := sha256.Sum256(append([]byte("dtcgate-grant-v1\x00"), text...))
	return hex.EncodeToString(sum[:])
}

// Unseal reads a template that fits its seal.
func Unseal(text []byte, seal string) (t Template, err error) {
	if Seal(text) != seal {
		return t, ErrAltered
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return t, fmt.Errorf("reading the template: %w", err)
	}
	return t, nil
}
