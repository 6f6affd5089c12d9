package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/dtcgate/dtcgate/approvals/plain"
)

// output is stdout. It keeps the first error, so that commands can print without looking and run can still tell that
// nobody got to read it.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err == nil {
		_, o.err = o.w.Write(p)
	}
	return len(p), nil
}

// asJSON is the flag of commands whose answer a program may read.
type asJSON struct {
	JSON bool `name:"json" help:"Print one JSON document."`
}

// print answers with v as JSON or with what text writes.
func (f asJSON) print(a *app, v any, text func(w io.Writer)) error {
	if !f.JSON {
		text(a.out)
		return nil
	}
	return writeJSON(a.out, v)
}

// writeJSON escapes what visible does, which is the same text to a program.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	var shown strings.Builder
	for _, r := range b.String() {
		if r == '\n' || unicode.IsGraphic(r) {
			shown.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&shown, `\u%04x`, unit)
		}
	}
	_, err := io.WriteString(w, shown.String())
	return err
}

// table writes rows under a header in aligned columns; every cell is made visible.
func table(w io.Writer, header []string, rows [][]string) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			row[i] = visible(cell)
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	t.Flush()
}

// visible escapes all that would steer a terminal or hide on it: line ends and other control characters, and format
// characters such as those that turn the direction of writing. Agents choose some of the text that is printed here.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsGraphic(r) {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, `\u%04x`, r)
	}
	return b.String()
}

// plainly is text of others, whole and on one line: what is not what it looks like stands as an escape such as [U+202E], as on people's pages.
func plainly(text string) string {
	var b strings.Builder
	shown := plain.Show(text)
	for _, p := range slices.Concat(shown.Parts, shown.Rest) {
		if p.Escaped {
			b.WriteString("[" + p.Text + "]")
		} else {
			b.WriteString(visible(p.Text))
		}
	}
	return b.String()
}

// when writes a time for people; the zero time is empty.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// activeUntil says in a list whether something is active or when it was revoked.
func activeUntil(revoked time.Time) string {
	if revoked.IsZero() {
		return "active"
	}
	return "revoked " + when(revoked)
}

// isTerminal reports whether w is a terminal, or another device that nobody reads as a file.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
