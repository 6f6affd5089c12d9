package main

import (
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// docs/policy.md is read as a person reads it. A yaml block that says its language is a whole document; any other is a part of the first one, which
// stands with the other parts of its section in place of those of the same name, and a cedar block is the part conditions. A block
// "yaml refused" is a document with mistakes, and the text behind it what is told of them. A block "yaml assertions" is proved of the
// default document. A table whose first column is "key of" is asked of a gate, row by row.

// policyPage is what is to be read.
const policyPage = "../../docs/policy.md"

var pageRegistry = tools.NewRegistry(dtc.Tools()...)

// A pageBlock is a fenced block, a table, or the head of a section.
type pageBlock struct {
	line int    // of the page
	kind string // of a block what stands behind its fence; "table", "section"
	text string
}

var fenced = regexp.MustCompile("^```(.*)$")

// blocksOf takes a page apart.
func blocksOf(page string) (all []pageBlock) {
	var open *pageBlock
	for i, line := range strings.Split(page, "\n") {
		fence := fenced.FindStringSubmatch(line)
		switch {
		case open != nil && open.kind != "table" && fence != nil:
			all, open = append(all, *open), nil
		case open != nil && (open.kind != "table" || strings.HasPrefix(line, "|")):
			open.text += line + "\n"
		case open != nil:
			all, open = append(all, *open), nil
		case fence != nil:
			open = &pageBlock{line: i + 1, kind: fence[1]}
		case strings.HasPrefix(line, "|"):
			open = &pageBlock{line: i + 1, kind: "table", text: line + "\n"}
		case strings.HasPrefix(line, "## "):
			all = append(all, pageBlock{line: i + 1, kind: "section", text: line[3:]})
		}
	}
	return all
}

// A document is one that is put together from parts, each with the name that it stands under.
type document []documentPart

type documentPart struct{ name, text string }

var partHead = regexp.MustCompile(`(?m)^([a-z]+):`)

func partsOf(text string) (d document) {
	heads := partHead.FindAllStringSubmatchIndex(text, -1)
	for i, head := range heads {
		end := len(text)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		d = append(d, documentPart{text[head[2]:head[3]], text[head[0]:end]})
	}
	return d
}

// with is the document with parts in place of those of the same name.
func (d document) with(parts document) document {
	var all document
	for _, p := range d {
		if parts.part(p.name) == "" {
			all = append(all, p)
		}
	}
	return append(all, parts...)
}

func (d document) part(name string) string {
	for _, p := range d {
		if p.name == name {
			return p.text
		}
	}
	return ""
}

func (d document) text() string {
	var b strings.Builder
	for _, p := range d {
		b.WriteString(p.text)
	}
	return b.String()
}

// A pageReader goes through the page. base is its first document, now the one of the section so far.
type pageReader struct {
	*testing.T
	shop      string // a database with the demo, for tables to begin with a copy of
	base, now document
	refused   []strict.Problem // of the last document that is shown with mistakes
	counted   map[string]int
}

func TestThePolicyPageIsTrue(t *testing.T) {
	r := &pageReader{T: t, shop: demoFile(t), counted: map[string]int{}}
	for _, b := range blocksOf(readPage(t, policyPage)) {
		r.read(b)
	}
	if r.counted["yaml"] < 8 || r.counted["cedar"] < 2 || r.counted["row"] < 40 || r.counted["yaml refused"] < 2 || r.counted["yaml assertions"] == 0 {
		t.Errorf("only %v were found: this test looks in the wrong place", r.counted)
	}
}

func (r *pageReader) read(b pageBlock) {
	r.counted[b.kind]++
	switch b.kind {
	case "section":
		r.now = r.base
	case "yaml":
		parts := partsOf(b.text)
		if r.base == nil {
			r.base = parts
		}
		r.takes(b, parts)
	case "cedar":
		r.takes(b, document{{"conditions", "conditions: |\n  " + strings.ReplaceAll(strings.TrimSpace(b.text), "\n", "\n  ") + "\n"}})
	case "yaml refused":
		if _, r.refused = policy.New([]byte(b.text), pageRegistry); len(r.refused) == 0 {
			r.refused, _ = policy.Review([]byte(b.text), policy.Catalogue{Registry: pageRegistry})
		}
	case "text":
		r.told(b)
	case "yaml assertions":
		r.proves(b)
	case "yaml workflow":
		if err := yaml.Unmarshal([]byte(b.text), new(any)); err != nil {
			r.Errorf("line %d: %v", b.line, err)
		}
	case "table":
		if strings.HasPrefix(b.text, "| key of ") {
			r.asks(b)
		}
	}
}

// takes takes parts over into the document of the section, which must be a policy.
func (r *pageReader) takes(b pageBlock, parts document) {
	if parts.part("language") != "" {
		r.now = nil
	}
	r.now = r.now.with(parts)
	if problems, _ := policy.Review([]byte(r.now.text()), policy.Catalogue{Registry: pageRegistry}); len(problems) > 0 {
		r.Errorf("line %d: %v in\n%s", b.line, strict.Problems(problems), r.now.text())
	}
}

// told holds what the page says of a document with mistakes to what is told of it.
func (r *pageReader) told(b pageBlock) {
	var want strings.Builder
	for _, p := range r.refused {
		want.WriteString("draft.yaml:" + p.Error() + "\n")
	}
	if r.refused != nil && b.text != want.String() {
		r.Errorf("line %d: what is told of the document above is\n%s", b.line, want.String())
	}
	r.refused = nil
}

// proves has what the page asserts proved of the default document.
func (r *pageReader) proves(b pageBlock) {
	p, problems := policy.New(policy.Default, pageRegistry)
	if len(problems) > 0 {
		r.Fatal(strict.Problems(problems))
	}
	proof, problems := policy.Prove(r.Context(), p, pageRegistry, []byte(b.text), func(int, int) {})
	if len(problems) > 0 {
		r.Fatalf("line %d: %v", b.line, strict.Problems(problems))
	}
	for _, f := range proof.Findings {
		if f.Result != policy.Holds {
			r.Errorf("line %d: %s: %s, as %+v shows", b.line, f.Name, f.Result, f.Witness)
		}
	}
}
