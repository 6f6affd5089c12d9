package strict_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"

	"github.com/dtcgate/dtcgate/gate/policy/strict"
)

// A document has a field of each kind that is read.
type document struct {
	Name     string             `yaml:"name,omitempty"`
	Off      bool               `yaml:"off,omitempty"`
	Count    int                `yaml:"count,omitempty"`
	Tiny     int8               `yaml:"tiny,omitempty"`
	Size     uint16             `yaml:"size,omitempty"`
	Share    float64            `yaml:"share,omitempty"`
	Rest     time.Duration      `yaml:"rest,omitempty"`
	From     time.Time          `yaml:"from,omitempty"`
	Level    word               `yaml:"level,omitempty"`
	Either   either             `yaml:"either,omitempty"`
	Tools    []string           `yaml:"tools,omitempty"`
	Limit    *int64             `yaml:"limit,omitempty"`
	Profiles map[string]profile `yaml:"profiles,omitempty"`
	Match    `yaml:",inline"`
	Plain    string
	Skipped  string `yaml:"-"`
}

type Match struct {
	Classes []class `yaml:"classes,omitempty"`
}

type class string

type profile struct {
	Tools []string `yaml:"tools,omitempty"`
	Below *profile `yaml:"below,omitempty"`
}

// A word reads itself from text.
type word string

func (w *word) UnmarshalText(text []byte) error {
	if *w = word(text); *w != "low" && *w != "high" {
		return strict.Problem{Problem: "is not a level", Expected: "low, high", Suggestion: strict.Suggest(string(*w), []string{"low", "high"})}
	}
	return nil
}

func (w word) MarshalText() ([]byte, error) { return []byte(w), nil }

// An either is written as a word or as a mapping.
type either struct {
	word word
	more *profile
}

func (e *either) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.MappingNode {
		return strict.DecodeNode(n, &e.more)
	}
	return strict.DecodeNode(n, &e.word)
}

func (e either) MarshalYAML() (any, error) {
	if e.more != nil {
		return e.more, nil
	}
	return e.word, nil
}

func (e either) IsZero() bool { return e.word == "" && e.more == nil }

var equal = cmp.Options{cmpopts.EquateEmpty(), cmp.AllowUnexported(either{})}

const whole = `# A comment.
name: Spring launch
off: true
count: -12
tiny: 127
size: 65535
share: 0.25
rest: 1h30m
from: 2026-11-27T00:00:00+01:00
level: low
either: {tools: [a]}
tools: [dtc_search_orders, 'no', "12", api.get.*, "21:00"]
limit: 0
classes:
- spend
profiles:
  analyst:
    tools:
    - "*"
    below: {}
  'on': {}
  "a.b":
plain: |
  no
  12
`

func TestADocumentSaysWhatItSays(t *testing.T) {
	var got document
	if problems := strict.Decode([]byte(whole), &got); problems != nil {
		t.Fatal(strict.Problems(problems))
	}
	zero := int64(0)
	want := document{
		Name: "Spring launch", Off: true, Count: -12, Tiny: 127, Size: 65535, Share: 0.25, Rest: 90 * time.Minute,
		From: time.Date(2026, 11, 26, 23, 0, 0, 0, time.UTC), Level: "low", Either: either{more: &profile{Tools: []string{"a"}}},
		Tools: []string{"dtc_search_orders", "no", "12", "api.get.*", "21:00"}, Limit: &zero,
		Profiles: map[string]profile{"analyst": {Tools: []string{"*"}, Below: &profile{}}, "on": {}, "a.b": {}},
		Match:    Match{Classes: []class{"spend"}}, Plain: "no\n12\n",
	}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Error(diff)
	}
}

func TestEachFaultIsToldWithItsPlaceAndWhatIsAllowed(t *testing.T) {
	for text, want := range map[string]string{
		// Fields.
		"nme: a":                       "1:1: nme: there is no field nme here; allowed: name, off, count, tiny, size, share, rest, from, level, either, tools, limit, profiles, classes, plain; did you mean name?",
		"profiles: {a: {tolls: []}}":   "1:16: profiles.a.tolls: there is no field tolls here; allowed: tools, below; did you mean tools?",
		"match: {classes: []}":         "1:1: match: there is no field match here",
		"skipped: a":                   "1:1: skipped: there is no field skipped here",
		"name: a\nname: b":             "2:1: name: is there twice, first on line 1; allowed: each name once",
		"profiles:\n  a: {}\n  A: {}":  "3:3: profiles.A: differs only by case from a on line 2",
		"profiles: {a: {}, \"a\": {}}": "1:19: profiles.a: is there twice",
		"classes: [a]\nclasses: [b]":   "2:1: classes: is there twice",
		"[a]: b":                       "1:1: has a key that is not a name",
		"? \n: b":                      "has a key that is not a name",
		"profiles: {no: {}}":           "1:12: profiles.no: must be text, not no, which may be read as true or false; allowed: text; put it in quotes; did you mean \"no\"?",
		"profiles: {1_0: {}}":          "1:12: profiles.1_0: must be text",
		// Kinds.
		"- a":                   "1:1: must be a mapping (lines of the form name: value), not a list",
		"a":                     "1:1: must be a mapping",
		"tools: a":              "1:8: tools: must be a list (lines that begin with a dash, or [a, b]), not text",
		"tools: [{a: b}]":       "1:9: tools[0]: must be text, not a mapping",
		"name:":                 "name: has no value; allowed: text, or leave the line out",
		"tools: [a, ]\nname: ~": "2:7: name: has no value",
		"profiles: [a]":         "1:11: profiles: must be a mapping",
		"profiles: {a: [b]}":    "1:15: profiles.a: must be a mapping",
		// Text.
		"name: no":         `1:7: name: must be text, not no, which may be read as true or false; allowed: text; put it in quotes; did you mean "no"?`,
		"name: Off":        `did you mean "Off"?`,
		"name: 12":         `1:7: name: must be text, not 12, which may be read as a number`,
		"name: 1_000":      `which may be read as a number`,
		"name: 0o17":       `which may be read as a number`,
		"name: 0x1F":       `which may be read as a number`,
		"name: 21:00":      `which may be read as a number`,
		"name: .inf":       `which may be read as a number`,
		"name: 1e3":        `which may be read as a number`,
		"name: 2026-11-27": `which may be read as a time`,
		// Truth values and numbers.
		"off: yes":                   "1:6: off: must be true or false, not yes, which may be read as true or false; allowed: true or false; did you mean true?",
		"off: OFF":                   "did you mean false?",
		"off: on":                    "did you mean true?",
		"off: \"true\"":              "1:6: off: must be true or false, not text in quotes",
		"off: 1":                     "1:6: off: must be true or false, not 1, which",
		"count: 1_000":               "1:8: count: must be a whole number, in decimal digits alone, not 1_000",
		"count: 010":                 "count: must be a whole number",
		"count: 0x10":                "count: must be a whole number",
		"count: +1":                  "count: must be a whole number",
		"count: 1.0":                 "count: must be a whole number",
		"count: 1e3":                 "count: must be a whole number",
		"count: 12:30":               "count: must be a whole number",
		"count: '1'":                 "count: must be a whole number",
		"count: 9223372036854775808": "1:8: count: is out of range; allowed: a whole number from -9223372036854775808 to 9223372036854775807",
		"tiny: 128":                  "1:7: tiny: is out of range; allowed: a whole number from -128 to 127",
		"size: -1":                   "1:7: size: is out of range; allowed: a whole number from 0 to 65535",
		"share: .inf":                "share: must be a number",
		"share: 1e999":               "share: is out of range",
		"share: 1_0":                 "share: must be a number",
		"limit: a":                   "1:8: limit: must be a whole number",
		"rest: 30":                   "1:7: rest: must be a length of time such as 90s or 1h30m, not 30, which may be read as a number",
		"from: 2026-11-27":           "1:7: from: must be a time with its zone, such as 2026-11-27T00:00:00Z",
		"from: 2026-11-27 00:00:00Z": "1:7: from: must be a time",
		// Types that read themselves.
		"level: lo":                "1:8: level: is not a level; allowed: low, high; did you mean low?",
		"level: [low]":             "1:8: level: must be text, not a list",
		"either: hgh":              "1:9: either: is not a level; allowed: low, high; did you mean high?",
		"either: {tols: []}":       "1:10: either.tols: there is no field tols here; allowed: tools, below; did you mean tools?",
		"either: {tools: [a, {}]}": "1:21: either.tools[1]: must be text, not a mapping",
		"either:":                  "either: has no value",
		// Form.
		"name: &a b":                        "1:7: name: has an anchor (&a)",
		"name: &a b\nplain: *a":             "2:8: plain: is an alias (*a)",
		"profiles: {a: &x {}, b: {<<: *x}}": "1:26: profiles.b: has a merge key (<<)",
		"name: !!str 12":                    "1:7: name: has a tag (!!str)",
		"!!map {name: a}":                   "has a tag",
		"? !!str name\n: a":                 "has a tag",
		"%YAML 1.1\n---\nname: a":           "there is a line that begins with %",
		"%TAG ! tag:a,2026:\n---\na: b":     "there is a line that begins with %",
		"name: a\n---\nname: b":             "2:1: there is a second document; allowed: one document, without a further ---",
		"name: a\n---\n[":                   "is not YAML",
		"name: [a":                          "is not YAML",
		"name: a: b":                        "1:8: is not YAML",
		"name: *":                           "is not YAML",
		"name: \"a":                         "is not YAML",
		// Characters.
		"name: a\n\toff: true":   "2:1: there is a tab; allowed: spaces",
		"name: a # \t":           "1:11: there is a tab",
		"name: \xff":             "1:7: there is a byte that is not UTF-8",
		"name: é\u202e":          "1:8: there is an invisible character (U+202E)",
		"\ufeffname: a":          "1:1: there is an invisible character (U+FEFF)",
		"name: a\rname: b":       "1:8: there is an invisible character (U+000D)",
		"name: a\u2028off: true": "(U+2028)",
		"name: a\u0085off: true": "(U+0085)",
		"name: a\x00":            "(U+0000)",
		"name: \"a\\u202eb\"":    "1:7: name: holds an invisible character",
		"name: \"a\\0\"":         "1:7: name: holds an invisible character",
		"\"a\\x07\": b":          "holds an invisible character",
	} {
		problems := strict.Decode([]byte(text), new(document))
		if got := strict.Problems(problems).Error(); len(problems) == 0 || !strings.Contains(got, want) {
			t.Errorf("%q:\n%s\nwant %s", text, got, want)
		}
	}
}

func TestAllFaultsAreToldAtOnceInTheirOrder(t *testing.T) {
	text := "nme: a\noff: yes\nprofiles:\n  a: {tolls: [], tools: b}\n  a: {}\ncount: many\n"
	var got []string
	for _, p := range strict.Decode([]byte(text), new(document)) {
		got = append(got, fmt.Sprintf("%d:%d %s", p.Line, p.Column, p.Path))
	}
	want := []string{"1:1 nme", "2:6 off", "4:7 profiles.a.tolls", "4:25 profiles.a.tools", "5:3 profiles.a", "6:8 count"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	problems := strict.Decode([]byte("tools: ["+strings.Repeat("no, ", 150)+"]"), new(document))
	if len(problems) != 101 || problems[100].Problem != "there are 50 more problems" {
		t.Errorf("%d problems, the last %v", len(problems), problems[len(problems)-1])
	}
}

func TestWhatIsOneFaultIsToldOnce(t *testing.T) {
	for _, text := range []string{"name: a\nname: b", "profiles: {a: {}, a: {}}", "profiles: {no: {}}", "off: yes", "name: &a b", "name: \t"} {
		if problems := strict.Decode([]byte(text), new(document)); len(problems) != 1 {
			t.Errorf("%q: %v", text, problems)
		}
	}
}

func TestNothingIsReadOfATextThatSaysNothing(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "null", "~", "{}", "\r\n"} {
		got := document{}
		if problems := strict.Decode([]byte(text), &got); problems != nil || cmp.Diff(document{}, got, equal) != "" {
			t.Errorf("%q: %v, %+v", text, problems, got)
		}
	}
}

func TestAListThatIsWrittenAndEmptyIsNotOneThatIsLeftOut(t *testing.T) {
	for text, written := range map[string]bool{"tools: []": true, "tools:": true, "name: a": false} {
		var got document
		if problems := strict.Decode([]byte(text), &got); problems != nil || (got.Tools != nil) != written {
			t.Errorf("%q: %v, %#v", text, problems, got.Tools)
		}
	}
}

func TestATextHasASizeAndADepth(t *testing.T) {
	var into document
	if problems := strict.Decode([]byte("name: "+strings.Repeat("a", strict.MaxSize)), &into); len(problems) != 1 || problems[0].Problem != "the text is 262150 bytes long" {
		t.Error(problems)
	}
	nested := func(n int) []byte {
		return []byte("profiles: {a: " + strings.Repeat("{below: ", n) + "{}" + strings.Repeat("}", n) + "}")
	}
	if problems := strict.Decode(nested(strict.MaxDepth-3), &into); problems != nil {
		t.Error(problems)
	}
	if problems := strict.Decode(nested(strict.MaxDepth-2), &into); len(problems) != 1 || !strings.Contains(problems[0].Problem, "deep") || problems[0].Line != 1 {
		t.Error(problems)
	}
	for _, flood := range []string{"[", "{", "{a: ", "- ", "? ", "a: [", "&a [", "[*a, "} {
		if problems := strict.Decode([]byte(strings.Repeat(flood, strict.MaxSize/len(flood))), &into); len(problems) == 0 {
			t.Errorf("%q without end was read", flood)
		}
	}
}

func TestLinesKnowsWhereEachPathStands(t *testing.T) {
	text := "name: a\nprofiles:\n  analyst:\n    tools:\n    - a\n    - b\n  \"a.b\": {}\nplain: |  # Cedar\n\n  permit\n"
	lines := strict.Lines([]byte(text))
	for path, want := range map[string]strict.Position{
		"": {1, 1, 1}, "name": {1, 1, 1}, "profiles": {2, 1, 3}, "profiles.analyst": {3, 3, 4}, "profiles.analyst.tools": {4, 5, 5},
		"profiles.analyst.tools[1]": {6, 7, 6}, `profiles["a.b"]`: {7, 3, 7}, "plain": {8, 1, 9},
	} {
		if got := lines[path]; got != want {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
	problems := strict.Locate(lines, []strict.Problem{
		{Path: "plain.x[3].y"}, {Path: "profiles.analyst.tools[1]"}, {Path: `profiles["a.b"].tools[0]`}, {Path: "trust"}, {Path: "name", Line: 4, Column: 2},
	})
	var got []string
	for _, p := range problems {
		got = append(got, fmt.Sprintf("%s %d:%d", p.Path, p.Line, p.Column))
	}
	want := []string{"trust 1:1", "name 4:2", "profiles.analyst.tools[1] 6:7", `profiles["a.b"].tools[0] 7:3`, "plain.x[3].y 8:1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSuggestKnowsTheNearestNameAndNoneThatIsFar(t *testing.T) {
	names := []string{"dtc_search_orders", "dtc_search_products", "dtc_pause", "marketing", "manager"}
	for word, want := range map[string]string{
		"dtc_serch_orders": "dtc_search_orders", "DTC_PAUSE": "dtc_pause", "dtc-search-products": "dtc_search_products",
		"managr": "manager", "marketeer": "marketing", "finance": "", "": "", strings.Repeat("a", 1<<20): "",
	} {
		if got := strict.Suggest(word, names); got != want {
			t.Errorf("%.20q: %q, want %q", word, got, want)
		}
	}
}

func TestATypeThatCannotBeReadStrictlyIsAMistakeOfTheProgram(t *testing.T) {
	for name, into := range map[string]any{
		"an interface": &struct{ A any }{}, "a channel": &struct{ A chan int }{}, "keys of numbers": &struct{ A map[int]int }{}, "no pointer": document{}, "nil": (*document)(nil),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s was read", name)
				}
			}()
			strict.Decode([]byte("a: {1: 2}"), into)
		}()
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("name: \"a\\tb \"\nplain: >-\n  a\n\n  b\ntools: ['', \"<<\", '~', \"=\"]\nshare: 1e-7\n"))
	f.Add([]byte("profiles: {\"\": {}, 'a b': , \"y\": {below: {below: ~}}}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var first, second document
		problems := strict.Decode(text, &first)
		strict.Lines(text)
		for _, p := range problems {
			if p.Problem == "" || p.Line < 0 || p.Error() == "" {
				t.Errorf("a problem without words: %+v", p)
			}
		}
		if problems != nil {
			return
		}
		again, err := yaml.Dump(first)
		if err != nil {
			t.Fatal(err)
		}
		if problems := strict.Decode(again, &second); problems != nil {
			t.Fatalf("%v\n%s", errors.Join(strict.Problems(problems)), again)
		}
		if diff := cmp.Diff(first, second, equal); diff != "" {
			t.Errorf("%s\n%s", diff, again)
		}
	})
}
