package schemas

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// keywords are the jsonschema tag words that do something, each with the kinds of field it does it for: text, number, list.
var keywords = map[string]string{
	"title": "*", "description": "*", "default": "tnlb", "example": "tnl", "enum": "tnl",
	"minLength": "tl", "maxLength": "tl", "pattern": "tl", "format": "tl",
	"minimum": "nl", "maximum": "nl", "exclusiveMinimum": "nl", "exclusiveMaximum": "nl", "multipleOf": "nl",
	"minItems": "l", "maxItems": "l", "uniqueItems": "l",
}

var numeric = []string{"minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"}

// mustEnd panics on a type that contains itself; the reflector would follow it for ever.
func mustEnd(t reflect.Type, above ...reflect.Type) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	if slices.Contains(above, t) {
		panic(fmt.Sprintf("schemas: %s contains itself", t))
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() || f.Anonymous {
			mustEnd(f.Type, append(slices.Clone(above), t)...)
		}
	}
}

// mustDescribe panics on a struct of arguments whose tags or types say less than their author thinks.
func mustDescribe(t reflect.Type) {
	mustEnd(t)
	eachField(t, func(f reflect.StructField) {
		where := fmt.Sprintf("schemas: %s.%s: ", t, f.Name)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name == "" && !f.Anonymous {
			panic(where + "has no json name")
		}
		if f.Type == reflect.TypeFor[time.Duration]() {
			panic(where + "a duration has no JSON form; take whole seconds")
		}
		for _, tag := range splitTag(f.Tag.Get("jsonschema")) {
			if fault := badTag(tag, kindOf(f.Type)); fault != "" {
				panic(where + fault)
			}
		}
	})
}

// eachField calls fn for the exported fields of t and of the structs inside it.
func eachField(t reflect.Type, fn func(reflect.StructField)) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		return
	}
	for i := range t.NumField() {
		if f := t.Field(i); (f.IsExported() || f.Anonymous) && f.Tag.Get("json") != "-" {
			fn(f)
			eachField(f.Type, fn)
		}
	}
}

// splitTag cuts a tag at its commas, not at those with a backslash before them.
func splitTag(tag string) []string {
	if tag == "" {
		return nil
	}
	parts := strings.Split(strings.ReplaceAll(tag, `\,`, "\x00"), ",")
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], "\x00", ",")
	}
	return parts
}

// badTag says what is wrong with one rule of a tag. The reflector ignores rules it does not know, so a misspelt bound would leave a
// field without one, and a comma would cut a description short.
func badTag(tag, kind string) string {
	if tag == "nullable" {
		return ""
	}
	word, value, ok := strings.Cut(tag, "=")
	kinds, known := keywords[word]
	switch {
	case !ok, !known:
		return fmt.Sprintf("jsonschema tag %q is not a rule (write a comma inside a value as \\\\,)", tag)
	case kinds != "*" && !strings.Contains(kinds, kind):
		return fmt.Sprintf("%q does nothing for this type", word)
	}
	if _, err := strconv.ParseFloat(value, 64); err != nil && slices.Contains(numeric, word) {
		return fmt.Sprintf("%q needs a number", word)
	}
	return ""
}

// kindOf is the letter that keywords uses for a type.
func kindOf(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "t"
	case reflect.Slice, reflect.Array:
		return "l"
	case reflect.Bool:
		return "b"
	case reflect.Struct, reflect.Map, reflect.Interface:
		return "o"
	}
	return "n"
}
