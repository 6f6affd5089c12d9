package tools

import "unicode/utf8"

// A Fact is one thing that the server itself read for the people who are asked about a call: {"Order", "70003 of 3 Nov 2026, paid"}.
// It stands beside the agent's reason, so that they need not believe it. Facts may hold personal data: no agent is shown one, and what
// keeps them must be able to forget them. They name days and not distances ("3 Nov 2026", not "3 weeks ago"), for a card is read late.
type Fact struct {
	Label string `json:"label"`
	Value string `json:"value"`
	// Quoted says that somebody outside wrote the value: it is shown as their words, and proves nothing.
	Quoted bool `json:"quoted,omitempty"`
}

// Limits of what a tool may say of one call.
const (
	maxFacts     = 12
	maxFactRunes = 300
)

// bounded keeps facts to what fits on a card: code that says more than maxFacts loses the last of them, and a long value its end.
func bounded(facts []Fact) []Fact {
	facts = facts[:min(len(facts), maxFacts)]
	for i := range facts {
		facts[i].Value = cutRunes(facts[i].Value, maxFactRunes)
	}
	return facts
}

// cutRunes shortens a text to so many runes, and shows that.
func cutRunes(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most]) + " …"
}
