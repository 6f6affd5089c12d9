package auth

import (
	"fmt"
	"strings"
)

// A Level is how much harm a call can do, 0 (an internal read) to 7 (irreversible and wide). It is computed from a
// tool's risk vector (package tools), never typed; here it serves as the ceiling of a key.
type Level int

// MaxLevel is the highest level there is.
const MaxLevel Level = 7

// Word is the level in three words: low is 0-1, medium 2-4, high 5-7.
func (l Level) Word() string {
	switch {
	case l <= 1:
		return "low"
	case l <= 4:
		return "medium"
	}
	return "high"
}

func (l Level) String() string { return fmt.Sprintf("L%d", int(l)) }

// MarshalText writes the level as L0 to L7.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what MarshalText wrote, and the words that stand for levels.
func (l *Level) UnmarshalText(text []byte) (err error) {
	*l, err = ParseLevel(string(text))
	return err
}

// ParseLevel reads a ceiling: a word, which stands for the highest level it covers, or a level such as L4.
func ParseLevel(s string) (Level, error) {
	switch strings.ToLower(s) {
	case "low":
		return 1, nil
	case "medium":
		return 4, nil
	case "high":
		return MaxLevel, nil
	}
	if len(s) == 2 && s[0] == 'L' && s[1] >= '0' && s[1] <= '7' {
		return Level(s[1] - '0'), nil
	}
	return 0, fmt.Errorf("ceiling %q is not a level; write low, medium, high, or L0 to L7", s)
}
