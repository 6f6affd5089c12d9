package schemas

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// typeWords are the JSON types as an agent should read them.
var typeWords = map[string]string{
	"string": "a string", "integer": "a whole number", "number": "a number", "boolean": "true or false",
	"array": "a list", "object": "an object", "null": "null",
}

// formatWords are the string formats with a value of each that fits.
var formatWords = map[string]struct{ words, example string }{
	"date":      {"a date written YYYY-MM-DD", "2026-01-31"},
	"date-time": {"a time written as in RFC 3339, with its zone", "2026-01-31T09:00:00Z"},
	"email":     {"an e-mail address", "person@example.com"},
	"uri":       {"a web address", "https://example.com/"},
	"uuid":      {"a UUID", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"},
}

// problem says what is wrong with a value, not what the value was.
func problem(k any) string {
	switch k := k.(type) {
	case missing:
		return "is missing"
	case *kind.Type:
		return fmt.Sprintf("must be %s, not %s", typesWord(k.Want), gotWord(k))
	case notPlain:
		return "must be written as a plain whole number, without a point or exponent"
	case *kind.Enum:
		return "is not one of the allowed values"
	case *kind.Format:
		return "is not " + formatWord(k.Want)
	case *kind.Pattern:
		return "does not have the right form"
	case *kind.Minimum, *kind.ExclusiveMinimum:
		return "is too small"
	case *kind.Maximum, *kind.ExclusiveMaximum:
		return "is too large"
	case *kind.MultipleOf:
		return "is not a multiple of the step"
	case *kind.MinLength:
		return "is too short"
	case *kind.MaxLength:
		return "is too long"
	case *kind.MinItems:
		return "has too few entries"
	case *kind.MaxItems:
		return "has too many entries"
	case *kind.UniqueItems:
		return "has the same entry twice"
	}
	return "does not fit"
}

// rank orders faults of one field: what is wrong first with its type, then its form, then its size.
func rank(k any) int {
	switch k.(type) {
	case missing, unknown, *kind.Type:
		return 0
	case notPlain, *kind.Enum, *kind.Format, *kind.Pattern:
		return 1
	}
	return 2
}

// expected says what a value must be, from the schema alone.
func expected(s *jsonschema.Schema) string {
	if s != nil && s.Enum != nil {
		return "one of: " + listed(literals(s.Enum.Values))
	}
	switch typ := onlyType(s); typ {
	case "integer", "number":
		return typeWords[typ] + between(s)
	case "string":
		return stringWords(s)
	case "array":
		return "a list" + sized(s.MinItems, s.MaxItems, "entry", "entries") + each(s.Items2020)
	case "object":
		return objectWords(s)
	case "":
		return "any JSON value"
	default:
		return typeWords[typ]
	}
}

func stringWords(s *jsonschema.Schema) string {
	words := "a string"
	if s.Format != nil {
		words = formatWord(s.Format.Name)
	}
	words += sized(s.MinLength, s.MaxLength, "character", "characters")
	if s.Pattern != nil {
		words += " that matches " + s.Pattern.String()
	}
	return words
}

func objectWords(s *jsonschema.Schema) string {
	if len(s.Properties) == 0 {
		return "an object"
	}
	optional := slices.DeleteFunc(known(s), func(name string) bool { return slices.Contains(s.Required, name) })
	switch {
	case len(s.Required) == 0:
		return "an object with any of: " + listed(optional)
	case len(optional) == 0:
		return "an object with " + listed(s.Required)
	}
	return "an object with " + listed(s.Required) + "; and if wanted " + listed(optional)
}

func each(items *jsonschema.Schema) string {
	if items == nil {
		return ""
	}
	return ", each " + expected(items)
}

// between says the bounds of a number.
func between(s *jsonschema.Schema) string {
	low, high := decimal(s.Minimum), decimal(s.Maximum)
	words := ""
	switch {
	case low != "" && high != "":
		words = " from " + low + " to " + high
	case low != "":
		words = ", " + low + " or more"
	case high != "":
		words = ", " + high + " or less"
	}
	if s.ExclusiveMinimum != nil {
		words += ", more than " + decimal(s.ExclusiveMinimum)
	}
	if s.ExclusiveMaximum != nil {
		words += ", less than " + decimal(s.ExclusiveMaximum)
	}
	if s.MultipleOf != nil {
		words += ", in steps of " + decimal(s.MultipleOf)
	}
	return words
}

func decimal(r *big.Rat) string {
	if r == nil {
		return ""
	}
	places, _ := r.FloatPrec()
	return r.FloatString(places)
}

// sized says how many characters or entries there may be.
func sized(low, high *int, one, many string) string {
	count := func(n int) string {
		if n == 1 {
			return "1 " + one
		}
		return strconv.Itoa(n) + " " + many
	}
	switch {
	case low != nil && high != nil && *low == *high:
		return " of " + count(*low)
	case low != nil && high != nil:
		return fmt.Sprintf(" of %d to %s", *low, count(*high))
	case low != nil:
		return " of at least " + count(*low)
	case high != nil:
		return " of at most " + count(*high)
	}
	return ""
}

func typesWord(types []string) string {
	var words []string
	for _, t := range types {
		words = append(words, typeWords[t])
	}
	return strings.Join(words, " or ")
}

// gotWord is the type of what was sent.
func gotWord(k *kind.Type) string {
	switch {
	case k.Got == "boolean":
		return "a boolean"
	case k.Got == "number" && slices.Contains(k.Want, "integer"):
		return "a fraction"
	}
	return typeWords[k.Got]
}

func formatWord(format string) string {
	if f, ok := formatWords[format]; ok {
		return f.words
	}
	return "a string in the format " + format
}

func known(s *jsonschema.Schema) []string {
	if s == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.Properties))
}

// listed joins words, at most 30 of them: a refusal should not be longer than the schema.
func listed(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	if len(words) > 30 {
		words = append(slices.Clone(words[:30]), "…")
	}
	return strings.Join(words, ", ")
}

func literals(values []any) []string {
	var words []string
	for _, v := range values {
		words = append(words, fmt.Sprint(v))
	}
	return words
}
