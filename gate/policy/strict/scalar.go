package strict

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"
)

// What a field takes, in words.
const (
	wantText     = "text"
	wantBool     = "true or false"
	wantWhole    = "a whole number, in decimal digits alone"
	wantNumber   = "a number such as 12 or 0.5"
	wantDuration = "a length of time such as 90s or 1h30m"
	wantTime     = "a time with its zone, such as 2026-11-27T00:00:00Z"
)

var (
	whole  = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
)

// Plain scalars that some version of YAML takes for something else than text: https://yaml.org/type/ for 1.1, section 10.3 of the
// specification for 1.2.
var (
	likeNull   = regexp.MustCompile(`^(~|null|Null|NULL)?$`)
	likeBool   = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false)$`)
	likeNumber = regexp.MustCompile(`^[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*(:[0-5]?[0-9])*(\.[0-9_]*)?([eE][-+]?[0-9_]+)?|\.[0-9][0-9_]*([eE][-+]?[0-9_]+)?|\.(?i:inf|nan))$`)
	likeTime   = regexp.MustCompile(`^[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt \t].*)?$`)
)

const quotedStyles = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle

func isPlain(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Style&quotedStyles == 0 }
func isNull(n *yaml.Node) bool  { return isPlain(n) && likeNull.MatchString(n.Value) }

// kindWord is what a node looks like.
func kindWord(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case !isPlain(n):
		return "text in quotes"
	case likeBool.MatchString(n.Value):
		return shown(n.Value) + ", which may be read as true or false"
	case likeNumber.MatchString(n.Value):
		return shown(n.Value) + ", which may be read as a number"
	case likeTime.MatchString(n.Value):
		return shown(n.Value) + ", which may be read as a time"
	}
	return "text"
}

func (r *reader) scalar(n *yaml.Node, v reflect.Value, path string) {
	switch {
	case v.Kind() == reflect.String:
		r.text(n, v, path)
	case v.Kind() == reflect.Bool:
		r.truth(n, v, path)
	case v.CanInt(), v.CanUint():
		r.whole(n, v, path)
	case v.CanFloat():
		r.number(n, v, path)
	default:
		panic(fmt.Sprintf("strict: cannot read %s", v.Type()))
	}
}

// text takes anything in quotes, and plain text that nothing takes for something else.
func (r *reader) text(n *yaml.Node, v reflect.Value, path string) {
	switch {
	case n.Kind != yaml.ScalarNode || isNull(n):
		r.mismatch(n, path, wantText)
	case isPlain(n) && (likeBool.MatchString(n.Value) || likeNumber.MatchString(n.Value) || likeTime.MatchString(n.Value)):
		r.mismatch(n, path, wantText)
		last := &r.problems[len(r.problems)-1]
		last.Expected, last.Suggestion = "text; put it in quotes", strconv.Quote(n.Value)
	}
	if n.Kind == yaml.ScalarNode {
		v.SetString(n.Value)
	}
}

func (r *reader) truth(n *yaml.Node, v reflect.Value, path string) {
	if isPlain(n) && (n.Value == "true" || n.Value == "false") {
		v.SetBool(n.Value == "true")
		return
	}
	r.mismatch(n, path, wantBool)
	if last := &r.problems[len(r.problems)-1]; n.Kind == yaml.ScalarNode && likeBool.MatchString(n.Value) {
		last.Suggestion = map[byte]string{'y': "true", 't': "true", 'n': "false", 'f': "false"}[n.Value[0]|0x20]
		if c := n.Value[len(n.Value)-1] | 0x20; last.Suggestion == "" {
			last.Suggestion = map[byte]string{'n': "true", 'f': "false"}[c] // on, off
		}
	}
}

func (r *reader) whole(n *yaml.Node, v reflect.Value, path string) {
	if !isPlain(n) || !whole.MatchString(n.Value) {
		r.mismatch(n, path, wantWhole)
		return
	}
	bits := v.Type().Bits()
	if v.CanInt() {
		if i, err := strconv.ParseInt(n.Value, 10, bits); err == nil {
			v.SetInt(i)
			return
		}
		high := uint64(math.MaxUint64) >> (65 - bits)
		r.problem(n, path, "is out of range", fmt.Sprintf("a whole number from -%d to %d", high+1, high))
		return
	}
	u, err := strconv.ParseUint(n.Value, 10, bits)
	if err != nil {
		r.problem(n, path, "is out of range", fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-bits)))
		return
	}
	v.SetUint(u)
}

func (r *reader) number(n *yaml.Node, v reflect.Value, path string) {
	if !isPlain(n) || !number.MatchString(n.Value) {
		r.mismatch(n, path, wantNumber)
		return
	}
	f, err := strconv.ParseFloat(n.Value, v.Type().Bits())
	if err != nil {
		r.problem(n, path, "is out of range", wantNumber)
		return
	}
	v.SetFloat(f)
}

func (r *reader) duration(n *yaml.Node, into *time.Duration, path string) {
	d, err := time.ParseDuration(n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		r.mismatch(n, path, wantDuration)
	}
	*into = d
}

// moment reads a time of RFC 3339.
func (r *reader) moment(n *yaml.Node, into *time.Time, path string) {
	at, err := time.Parse(time.RFC3339, n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		r.mismatch(n, path, wantTime)
	}
	*into = at
}
