package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// A document is the form of a text, before anything is known of what it should hold.
type document struct {
	root       *yaml.Node // nil: there is none
	at         map[string]Position
	problems   []Problem
	unreadable bool // it says things in a way that is not read, so its content would be misread
}

// parse checks the characters and the form.
func parse(text []byte) *document {
	d := &document{at: map[string]Position{"": {Line: 1, Column: 1, Text: 1}}}
	if len(text) > MaxSize {
		d.refuse(nil, "", fmt.Sprintf("the text is %d bytes long", len(text)), fmt.Sprintf("%d bytes", MaxSize))
		return d
	}
	if d.problems = characters(text); d.problems != nil {
		return d
	}
	if d.compose(text); d.root != nil {
		d.walk(d.root, "", 1)
	}
	return d
}

// refuse notes what makes the content unreadable.
func (d *document) refuse(n *yaml.Node, path, problem, expected string) {
	d.unreadable = true
	p := Problem{Path: path, Problem: problem, Expected: expected}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
	}
	d.problems = append(d.problems, p)
}

// compose builds the tree of the only document.
func (d *document) compose(text []byte) {
	// One more than is allowed, so that the first too deep thing is found with its path by walk and a flood ends here.
	loader, err := yaml.NewLoader(bytes.NewReader(text), yaml.WithStreamNodes(), yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(4*MaxDepth))))
	if err != nil {
		panic("strict: " + err.Error()) // the options above contradict each other
	}
	for documents := 0; documents < 2; {
		n := new(yaml.Node)
		if err := loader.Load(n); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			d.syntax(text, err)
			return
		}
		switch {
		case n.Kind == yaml.StreamNode:
			d.directives(n)
			continue
		case documents == 1:
			d.refuse(n, "", "there is a second document", "one document, without a further ---")
		case len(n.Content) == 1:
			d.root = n.Content[0]
		}
		documents++
	}
}

func (d *document) directives(n *yaml.Node) {
	if n.Stream != nil && (n.Stream.Version != nil || len(n.Stream.TagDirectives) > 0) {
		d.refuse(n, "", "there is a line that begins with %", "a document without directives")
	}
}

// syntax tells where a text stops being YAML. One that ends too early does so on its last line: the parser says the one behind it.
func (d *document) syntax(text []byte, err error) {
	p := Problem{Line: 1, Column: 1, Problem: "is not YAML: " + err.Error()}
	if at, ok := errors.AsType[*yaml.LoadError](err); ok {
		p.Line, p.Column, p.Problem = min(max(1, at.Mark.Line), lines(text)), max(1, at.Mark.Column), "is not YAML: "+at.Message
		if at.ContextMsg != "" && at.ContextMark.Line > 0 {
			p.Problem += fmt.Sprintf(" (%s on line %d)", at.ContextMsg, at.ContextMark.Line)
		}
	}
	d.unreadable = true
	d.problems = append(d.problems, p)
}

// lines is how many lines a text has, however they end.
func lines(text []byte) int {
	return 1 + bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r")) - bytes.Count(text, []byte("\r\n"))
}

// walk goes through a value and everything in it.
func (d *document) walk(n *yaml.Node, path string, depth int) {
	d.plain(n, path)
	switch n.Kind {
	case yaml.MappingNode:
		if d.deep(n, path, depth) {
			return
		}
		d.members(n, path, depth)
	case yaml.SequenceNode:
		if d.deep(n, path, depth) {
			return
		}
		for i, entry := range n.Content {
			below := Index(path, i)
			d.at[below] = positionOf(entry, entry)
			d.walk(entry, below, depth+1)
		}
	}
}

func (d *document) deep(n *yaml.Node, path string, depth int) bool {
	if depth > MaxDepth {
		d.refuse(n, path, "is too deep inside other things", fmt.Sprintf("lists and mappings %d deep", MaxDepth))
	}
	return depth > MaxDepth
}

// plain refuses what says something that does not stand there.
func (d *document) plain(n *yaml.Node, path string) {
	switch {
	case n.Kind == yaml.AliasNode:
		d.refuse(n, path, "is an alias (*"+shown(n.Value)+")", "the value itself; text that begins with * needs quotes")
	case n.Anchor != "":
		d.refuse(n, path, "has an anchor (&"+shown(n.Anchor)+")", "values without anchors; text that begins with & needs quotes")
	case n.Style&yaml.TaggedStyle != 0:
		d.refuse(n, path, "has a tag ("+shown(n.Tag)+")", "values without tags; text that begins with ! needs quotes")
	case n.Kind == yaml.ScalarNode && strings.ContainsFunc(n.Value, func(c rune) bool { return c != '\n' && c != '\t' && invisible(c) }):
		d.refuse(n, path, "holds an invisible character", "letters, digits, punctuation, spaces, also where they are written as escapes")
	}
}

// members goes through a mapping. Keys that differ only by case are the same to a person who reads quickly.
func (d *document) members(n *yaml.Node, path string, depth int) {
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		d.plain(key, path)
		switch {
		case key.Kind != yaml.ScalarNode || isNull(key):
			d.refuse(key, path, "has a key that is not a name", "names as keys")
			continue
		case key.Value == "<<" && isPlain(key):
			d.refuse(key, path, "has a merge key (<<)", "the values themselves")
			continue
		}
		below := Key(path, key.Value)
		if before := first[strings.ToLower(key.Value)]; before != nil {
			d.twice(before, key, below)
			continue
		}
		first[strings.ToLower(key.Value)] = key
		d.at[below] = positionOf(key, value)
		d.walk(value, below, depth+1)
	}
}

func (d *document) twice(before, key *yaml.Node, path string) {
	problem := fmt.Sprintf("is there twice, first on line %d", before.Line)
	if before.Value != key.Value {
		problem = fmt.Sprintf("differs only by case from %s on line %d", shown(before.Value), before.Line)
	}
	d.problems = append(d.problems, Problem{Line: key.Line, Column: key.Column, Path: path, Problem: problem, Expected: "each name once"})
}
