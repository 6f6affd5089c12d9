package store

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// inserts are the texts of an engine's INSERTs, which are made once. All its methods may be used concurrently.
type inserts struct {
	words string             // the first ones
	place func(i int) string // writes the i-th parameter, from 1

	mu    sync.Mutex
	texts map[string]string
}

var (
	// Rows that came before one that is refused stay in place. SQLite then need not keep every page it changes as it was before the statement, which
	// was a fifth of a bulk load; and a failed statement's transaction, or its savepoint, is rolled back anyhow. Its driver looks a numbered
	// parameter up by name, for each one through all of them, which was two fifths.
	sqliteInserts = inserts{words: "INSERT OR FAIL INTO", place: func(int) string { return "?" }}

	postgresInserts = inserts{words: "INSERT INTO", place: func(i int) string { return "$" + strconv.Itoa(i) }}
)

// text is an INSERT of n rows.
func (t *inserts) text(into string, cols []string, n int) string {
	key := into + " " + strconv.Itoa(n) + " " + strings.Join(cols, " ")
	t.mu.Lock()
	defer t.mu.Unlock()
	if text := t.texts[key]; text != "" {
		return text
	}
	if t.texts == nil || len(t.texts) >= maxStatements {
		t.texts = map[string]string{}
	}
	text := t.make(into, cols, n)
	t.texts[key] = text
	return text
}

func (t *inserts) make(into string, cols []string, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s (%s) VALUES ", t.words, into, strings.Join(cols, ", "))
	for i := range n * len(cols) {
		switch {
		case i == 0:
			b.WriteString("(")
		case i%len(cols) == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		b.WriteString(t.place(i + 1))
	}
	return b.String() + ")"
}
