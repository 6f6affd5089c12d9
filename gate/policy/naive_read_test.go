package policy_test

import (
	"math"
	"strconv"
	"time"

	"github.com/dtcgate/dtcgate/auth"
)

// How the naive evaluator reads what stands in a document.

// at follows names into the document; what is not there is nil.
func at(v any, path ...string) any {
	for _, name := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

func items(v any) []any { all, _ := v.([]any); return all }

func str(v any) string { s, _ := v.(string); return s }

func texts(v any) []string {
	var all []string
	for _, one := range items(v) {
		all = append(all, str(one))
	}
	return all
}

func num(v any) int64 { n, _ := v.(int); return int64(n) }

func truth(v any) bool { b, _ := v.(bool); return b }

// moment reads a time, which a YAML library may have read already.
func moment(v any) time.Time {
	if t, ok := v.(time.Time); ok {
		return t
	}
	t, err := time.Parse(time.RFC3339, str(v))
	if err != nil {
		panic(err)
	}
	return t
}

// thousandths reads points of trust.
func thousandths(v any, missing int64) int64 {
	switch n := v.(type) {
	case int:
		return int64(n) * 1000
	case float64:
		return int64(math.Round(n * 1000))
	}
	return missing
}

// span reads a duration such as 30m.
func span(v any) time.Duration {
	s := str(v)
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s[:len(s)-1])
	if err != nil {
		panic(err)
	}
	return time.Duration(n) * map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}[s[len(s)-1]]
}

// clock reads a time of day as minutes.
func clock(v any) int {
	at, err := time.Parse("15:04", str(v))
	if err != nil {
		panic(err)
	}
	return 60*at.Hour() + at.Minute()
}

// level reads a word or L4; nothing is L0.
func level(v any) auth.Level {
	for i, word := range []string{"L0", "L1", "L2", "L3", "L4", "L5", "L6", "L7"} {
		if v == word {
			return auth.Level(i)
		}
	}
	return map[string]auth.Level{"low": 1, "medium": 4, "high": 7}[str(v)]
}

// fits matches character by character. A star stands only at the end, alone or after . _ : or /, and for one character at least.
func fits(pattern, name string) bool {
	if pattern == "*" {
		return name != ""
	}
	for i := range len(pattern) {
		if pattern[i] == '*' && i == len(pattern)-1 {
			before := pattern[i-1]
			return (before == '.' || before == '_' || before == ':' || before == '/') && len(name) > i
		}
		if i >= len(name) || pattern[i] != name[i] {
			return false
		}
	}
	return len(pattern) == len(name)
}

func fitsOne(patterns any, names ...string) bool {
	for _, p := range texts(patterns) {
		for _, name := range names {
			if fits(p, name) {
				return true
			}
		}
	}
	return false
}

func has(list any, name string) bool {
	for _, one := range texts(list) {
		if one == name {
			return true
		}
	}
	return false
}

// period walks from a time to both sides for as long as the calendar shows the same hour, day, week or month.
func period(every string, now time.Time) (from, until time.Time) {
	shown := func(t time.Time) string {
		switch every {
		case "hour":
			return t.Format("2006-01-02T15 -07:00")
		case "week":
			return t.AddDate(0, 0, -(int(t.Weekday())+6)%7).Format(time.DateOnly)
		case "month":
			return t.Format("2006-01")
		}
		return t.Format(time.DateOnly)
	}
	edge := func(towards time.Duration) time.Time {
		t := now
		for _, step := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
			for shown(t.Add(towards*step)) == shown(now) {
				t = t.Add(towards * step)
			}
		}
		return t
	}
	return edge(-1).Truncate(time.Second), edge(1).Truncate(time.Second).Add(time.Second)
}
