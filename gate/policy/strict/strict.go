// Package strict reads YAML that people write, and refuses whatever its author may have meant in another way.
//
// YAML was made to be guessed at: no is a truth value, 1_000 a number, 0777 another one, 12:30 was a number once, a tab looks like
// spaces, the second of two equal keys wins, and a short text with anchors may stand for a huge one. A policy decides what agents
// may do, so nothing in it is guessed. The type of the Go field says how a scalar is read, never its look: text is text, a whole
// number has plain decimal digits, a truth value is true or false. Where the look of a plain scalar and the field disagree (a field
// of text that is given no or 12), the reader asks for quotes instead of choosing. Anchors, aliases, merge keys, tags, directives
// and further documents are refused: a reader of the text must see all that it says where it says it.
//
// Reading goes in three steps, and each reports everything it finds: the characters, the form of the YAML, and what the Go type
// makes of it. A step that finds what makes the next one meaningless ends the reading. A [Problem] carries its line and its path,
// what is wrong, what is allowed, and the nearest name that there is. [Lines] serves the checks that come after, which know a path
// and not a line; [Locate] gives their problems one.
//
// Struct fields go by their yaml tag, or else by their name in lower case, as in go.yaml.in/yaml; inline structs, pointers, maps by
// text, lists, [yaml.Unmarshaler] and [encoding.TextUnmarshaler] are read. A type that cannot be read strictly, such as an
// interface, panics: it is a mistake of the program, not of the text.
package strict

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Bounds of a text and of what is told about it.
const (
	MaxSize     = 256 << 10 // bytes
	MaxDepth    = 32        // lists and mappings inside each other
	maxProblems = 100
)

// A Problem is one thing that is wrong with a text.
type Problem struct {
	Line       int    `json:"line"`       // from 1; 0: of the whole text
	Column     int    `json:"column"`     // from 1, in characters; 0: the line alone is known
	Path       string `json:"path"`       // profiles.analyst.tools[2]; empty: of the whole text
	Problem    string `json:"problem"`    // what is wrong
	Expected   string `json:"expected"`   // what is allowed
	Suggestion string `json:"suggestion"` // what may have been meant
}

// Error is the problem in one line, in the form that editors follow once the name of the file stands before it.
func (p Problem) Error() string {
	var b strings.Builder
	switch {
	case p.Column > 0:
		fmt.Fprintf(&b, "%d:%d: ", p.Line, p.Column)
	case p.Line > 0:
		fmt.Fprintf(&b, "%d: ", p.Line)
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Problem)
	if p.Expected != "" {
		b.WriteString("; allowed: " + p.Expected)
	}
	if p.Suggestion != "" {
		b.WriteString("; did you mean " + p.Suggestion + "?")
	}
	return b.String()
}

// Problems are several, as one error. An UnmarshalYAML that returns a Problem or Problems, of [DecodeNode] for one, has them kept
// as they are, with the path of its value put before theirs.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Decode reads a text into what into points to and returns what is wrong with it, in the order of the text; nil when nothing is. An
// empty text sets nothing. A list that is written and empty is not nil, so that it can be told from one that is left out. After
// problems, into holds what could be read, for further checks only: it must not be used.
func Decode(text []byte, into any) []Problem {
	doc := parse(text)
	if doc.root == nil || doc.unreadable {
		return ordered(doc.problems)
	}
	r := reader{}
	r.value(doc.root, target(into), "")
	return ordered(append(doc.problems, r.problems...))
}

// DecodeNode reads a part of a document that is being decoded, for a custom UnmarshalYAML. Its error is Problems.
func DecodeNode(n *yaml.Node, into any) error {
	r := reader{}
	r.value(n, target(into), "")
	if len(r.problems) > 0 {
		return Problems(r.problems)
	}
	return nil
}

func target(into any) reflect.Value {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic(fmt.Sprintf("strict: cannot read into %T, which is not a pointer", into))
	}
	return v.Elem()
}

// ordered sorts problems as they stand in the text, and bounds how many are told.
func ordered(all []Problem) []Problem {
	slices.SortStableFunc(all, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	if more := len(all) - maxProblems; more > 0 {
		all = append(all[:maxProblems], Problem{Problem: fmt.Sprintf("there are %d more problems", more)})
	}
	return all
}

// found gives what a custom type says about its value a position and a path.
func found(n *yaml.Node, path string, err error) []Problem {
	var several Problems
	var one Problem
	switch {
	case errors.As(err, &several):
	case errors.As(err, &one):
		several = Problems{one}
	default:
		several = Problems{{Problem: err.Error()}}
	}
	several = slices.Clone(several)
	for i := range several {
		p := &several[i]
		p.Path = join(path, p.Path)
		if p.Line == 0 {
			p.Line, p.Column = n.Line, n.Column
		}
	}
	return several
}
