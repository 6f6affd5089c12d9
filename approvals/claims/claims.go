// Package claims holds what an agent says to the record.
//
// An agent asks for a call and gives a reason. People read both, and a reason that tells of another amount, another order or fewer customers
// than the call is about is how a person comes to agree to what they did not mean. Check finds the amounts, numbers, percentages, ids,
// names and dates of a reason and says of each how it stands to the record: the canonical arguments, the effect that the server
// computed and the facts that it read. What outsiders wrote (Fact.Quoted) is no record.
//
// A reason is read as a person would see it: hidden characters are skipped, digits and letters of other scripts count as what they
// look like, numbers may be spelled out in English ("twelve hundred") or shortened (£1.2k). Other languages are read for their figures alone.
//
// Three sets decide. The effect: what the call does to its object (its money, its customers, its ids). The rest of the record: the
// order's total, what was given back before. And the reason itself: whether it names the effect anywhere. Then
//
//   - what is of the effect matches;
//   - what the reason says is done ("refund £12") and is not of the effect differs, and so does what the record has elsewhere, unless
//     the effect is named as well;
//   - what is of the rest of the record matches;
//   - what is not on record, in a reason that never names the effect, differs when it makes the call look smaller, or names another object;
//   - everything else is unknown, as most figures are: "2 days ago".
//
// A difference of money, customers, a discount, or the id or name of what the call is about is material: who approves has to say that they have seen
// it. Everything else is told and asks nothing, because a card full of marks is not read.
//
// No model of language is asked. What is missed is what needs understanding: "a small refund", "the usual customers", a date that implies another
// order. The server's own sentence stands above the reason for that. The work is linear in the reason, which the gate keeps to 500
// characters, and in the record; beyond maxRead nothing is read, and that is a claim that differs.
package claims

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/dtcgate/dtcgate/tools"
)

// A Kind is what a claim is about.
type Kind string

// The kinds of claims.
const (
	Money   Kind = "money"
	Number  Kind = "number"
	Percent Kind = "percent"
	ID      Kind = "id"
	Name    Kind = "name"
	Date    Kind = "date"
)

// A Verdict is how a claim stands to the record.
type Verdict string

// The verdicts.
const (
	Matches Verdict = "matches"
	Differs Verdict = "differs"
	Unknown Verdict = "unknown" // the record does not say
)

// A Claim is a number, an id or a name of an agent's reason, held to the record.
type Claim struct {
	Text     string  `json:"text"` // as it stands in the reason
	Kind     Kind    `json:"kind"`
	Verdict  Verdict `json:"verdict"`
	Record   string  `json:"record,omitempty"`   // what the record says, where it differs
	Material bool    `json:"material,omitempty"` // it is about what the call does: who approves must have seen it
}

// A Record is what a reason is held to.
type Record struct {
	Args     json.RawMessage // canonical
	Preview  tools.Preview
	Resource string // type:id of what the call is about
	Facts    []tools.Fact
}

// Bounds of the work: of a reason and of the record, in characters, and of what is told.
const (
	maxRead    = 4000
	maxRecord  = 32000
	maxClaims  = 60
	maxShown   = 3 // values of the record beside a claim
	maxDecoded = 4000
)

// Check holds a reason to the record.
func Check(reason string, against Record) []Claim {
	known := index(against)
	said, whole := prefix(reason, maxRead)
	mentions := find(said)
	known.hear(mentions)
	var all []Claim
	for _, m := range mentions {
		if c, told := known.judge(m); told && len(all) < maxClaims {
			c.Text = said[m.start:m.end]
			all = append(all, c)
		}
	}
	if !whole || len(mentions) > maxClaims {
		all = append(all, Claim{Text: "…", Kind: Number, Verdict: Differs, Record: "the reason is too long to be held to the record", Material: true})
	}
	return all
}

// prefix is the first of a text, and whether that is all of it.
func prefix(text string, most int) (string, bool) {
	if utf8.RuneCountInString(text) <= most {
		return text, true
	}
	return string([]rune(text)[:most]), false
}
