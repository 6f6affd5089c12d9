package schemas

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// exampleOf is a value that fits: the schema's own example, its default or first allowed value, or one made from type and
// bounds. What was made is checked; where that fails, no example is better than a wrong one.
func exampleOf(s *jsonschema.Schema) (any, bool) {
	if s == nil {
		return nil, false
	}
	value := sample(s)
	return value, value != nil && s.Validate(value) == nil
}

func sample(s *jsonschema.Schema) any {
	switch s = notNull(s); {
	case s == nil:
		return nil
	case len(s.Examples) > 0:
		return plain(s.Examples[0])
	case s.Enum != nil:
		return plain(s.Enum.Values[0])
	case s.Default != nil:
		return plain(*s.Default)
	}
	switch onlyType(s) {
	case "integer", "number":
		return sampleNumber(s)
	case "string":
		return sampleString(s)
	case "boolean":
		return true
	case "array":
		return sampleList(s)
	case "object":
		return sampleObject(s)
	}
	return nil
}

// mustFit panics when a declared example or default does not fit the schema it stands in.
func mustFit(s *jsonschema.Schema, where string) {
	declared := s.Examples
	if s.Default != nil {
		declared = append(slices.Clone(declared), *s.Default)
	}
	for _, value := range declared {
		if s.Validate(value) != nil {
			panic(fmt.Sprintf("schemas: %s: the example or default %v does not fit", where, value))
		}
	}
	for name, property := range s.Properties {
		mustFit(notNull(property), where+"."+name)
	}
	if s.Items2020 != nil {
		mustFit(s.Items2020, where+"[]")
	}
}

// sampleNumber is the lowest allowed integer above zero if there is one, else the allowed one nearest to zero.
func sampleNumber(s *jsonschema.Schema) any {
	one := big.NewRat(1, 1)
	if s.MultipleOf != nil {
		one.Set(s.MultipleOf)
	}
	n := new(big.Rat).Set(one)
	if s.Minimum != nil && s.Minimum.Cmp(n) > 0 {
		n.Set(s.Minimum)
	}
	if s.ExclusiveMinimum != nil && s.ExclusiveMinimum.Cmp(n) >= 0 {
		n.Add(s.ExclusiveMinimum, one)
	}
	if s.Maximum != nil && s.Maximum.Cmp(n) < 0 {
		n.Set(s.Maximum)
	}
	if n.IsInt() && n.Num().IsInt64() {
		return n.Num().Int64()
	}
	f, _ := n.Float64()
	return f
}

// sampleString satisfies format before pattern before length; where a schema has several that disagree, the check drops it.
func sampleString(s *jsonschema.Schema) any {
	if s.Format != nil {
		if f, ok := formatWords[s.Format.Name]; ok {
			return f.example
		}
	}
	if s.Pattern != nil {
		return matching(s.Pattern.String())
	}
	words := "example text"
	if s.MinLength != nil && len(words) < *s.MinLength {
		words = strings.Repeat(words+" ", *s.MinLength/len(words)+1)[:*s.MinLength]
	}
	if s.MaxLength != nil && len(words) > *s.MaxLength {
		words = words[:*s.MaxLength]
	}
	return words
}

func sampleList(s *jsonschema.Schema) any {
	entry := sample(s.Items2020)
	if entry == nil {
		return nil
	}
	list := []any{entry}
	for s.MinItems != nil && len(list) < min(*s.MinItems, 3) {
		list = append(list, entry)
	}
	return list
}

// sampleObject holds the required members only: what an agent must send, not all that it might.
func sampleObject(s *jsonschema.Schema) any {
	object := map[string]any{}
	for _, name := range s.Required {
		value := sample(s.Properties[name])
		if value == nil {
			return nil
		}
		object[name] = value
	}
	return object
}

// plain turns the numbers of a compiled schema into Go numbers: other encoders would write a json.Number as a string.
func plain(v any) any {
	number, ok := v.(json.Number)
	if !ok {
		return v
	}
	if n, err := number.Int64(); err == nil {
		return n
	}
	f, _ := number.Float64()
	return f
}

// matching is the shortest simple text that a pattern takes, "" when it has none that can be found.
func matching(pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	var b strings.Builder
	match(&b, re)
	return b.String()
}

// match takes the first branch of a choice and as few repeats as are allowed.
func match(b *strings.Builder, re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		b.WriteRune(pick(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('a')
	case syntax.OpCapture, syntax.OpPlus, syntax.OpAlternate:
		match(b, re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			match(b, sub)
		}
	case syntax.OpRepeat:
		for range min(re.Min, 64) {
			match(b, re.Sub[0])
		}
	}
}

// pick takes a character a person would, from the ranges of a class.
func pick(ranges []rune) rune {
	for i := 0; i+1 < len(ranges); i += 2 {
		for _, c := range "1Aa" {
			if ranges[i] <= c && c <= ranges[i+1] {
				return c
			}
		}
	}
	if len(ranges) == 0 {
		return 'a'
	}
	return ranges[0]
}
