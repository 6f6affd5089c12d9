package strict

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// A Position is where something stands in a text.
type Position struct {
	Line, Column int // of the key, or of the entry of a list; from 1
	Text         int // the line on which a value of text begins: the one below the | of a block, else that of the value
}

// Key is the path of a member of a mapping: profiles.analyst, or profiles["a.b"] where the name could be mistaken for a path.
func Key(path, name string) string {
	if name == "" || strings.ContainsFunc(name, func(c rune) bool {
		return c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	}) {
		return path + "[" + strconv.Quote(name) + "]"
	}
	return join(path, name)
}

// Index is the path of an entry of a list, from 0.
func Index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func join(path, below string) string {
	if path == "" || below == "" || below[0] == '[' {
		return path + below
	}
	return path + "." + below
}

// parent is the path without its last step.
func parent(path string) string {
	if strings.HasSuffix(path, `"]`) {
		return path[:max(0, strings.LastIndex(path, `["`))]
	}
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// Lines is where each path of a text stands; the whole document is at the path "". Of a text that cannot be read it has what there
// is.
func Lines(text []byte) map[string]Position { return parse(text).at }

// Locate gives problems that know only a path the line of it, or of the nearest thing around it that the text has, and puts them in
// order.
func Locate(lines map[string]Position, problems []Problem) []Problem {
	for i := range problems {
		p := &problems[i]
		for path := p.Path; p.Line == 0; path = parent(path) {
			at, ok := lines[path]
			if ok {
				p.Line, p.Column = at.Line, at.Column
			}
			if path == "" {
				break
			}
		}
	}
	return ordered(problems)
}

func positionOf(key, value *yaml.Node) Position {
	at := Position{Line: key.Line, Column: key.Column, Text: value.Line}
	if value.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		at.Text++
	}
	return at
}
