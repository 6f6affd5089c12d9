package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

var placeholder = regexp.MustCompile(`\{([^{}]+)\}`)

// placeholders gives the names of the arguments in a route's path.
func placeholders(path string) []string {
	var names []string
	for _, match := range placeholder.FindAllStringSubmatch(path, -1) {
		names = append(names, match[1])
	}
	return names
}

// members are a tool's arguments on the way from a REST request to one JSON object.
type members map[string]json.RawMessage

// arguments puts together the three places where a REST request may hold a tool's arguments: body, query and path. An
// argument may stand in two of them if it is the same in both. The query counts for every method, because ?dry_run=true
// must not be overlooked on a POST. What is wrong with the JSON itself is left to the gate, which records it;
// arguments that contradict each other are INVALID_ARGUMENTS, and the gate is told so.
func arguments(w http.ResponseWriter, r *http.Request, t *tools.Tool, inPath []string, accept func(map[string]json.RawMessage)) ([]byte, error) {
	raw, err := body(w, r)
	if err != nil {
		return nil, err
	}
	if r.URL.RawQuery == "" && len(inPath) == 0 && accept == nil {
		return raw, nil // there is nothing to put together
	}
	canonical, err := schemas.Canonical(raw)
	if err != nil {
		return raw, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, tools.Refuse(codeMalformed, "Percent-encode names and values, and join them by &.", "The query cannot be read.")
	}
	args := members{}
	if err := json.Unmarshal(canonical, &args); err != nil {
		return nil, err
	}
	if accept != nil {
		accept(args)
	}
	for name, values := range query {
		if err := args.add(t, name, values...); err != nil {
			return nil, err
		}
	}
	for _, name := range inPath {
		if err := args.add(t, name, r.PathValue(name)); err != nil {
			return nil, err
		}
	}
	return json.Marshal(args)
}

// add takes an argument that came as text, in the type that the tool's schema has for it.
func (m members) add(t *tools.Tool, name string, values ...string) error {
	kind, _ := t.Input.Property(name)
	value := typed(kind, values)
	if old, both := m[name]; both && !bytes.Equal(old, value) {
		return tools.Wrong(shown(name), "is there twice, with different values", "one value, in one place", nil)
	}
	m[name] = value
	return nil
}

// typed writes text as JSON of a schema's type. Text that is not of that type stays text: the schema check names it.
func typed(kind string, values []string) json.RawMessage {
	if kind == "array" {
		return list(values)
	}
	if len(values) != 1 {
		return quotedList(values)
	}
	text := values[0]
	if first, isJSON := jsonKind(text); isJSON && wants(kind, first) {
		return json.RawMessage(text)
	}
	return quoted(text)
}

// wants reports whether a JSON value that begins as first is meant as JSON by a text for this type.
func wants(kind string, first jsontext.Kind) bool {
	switch kind {
	case "integer", "number":
		return first == '0'
	case "boolean":
		return first == 't' || first == 'f'
	case "object":
		return first == '{'
	}
	return false
}

// list reads an array out of a query: repeated, separated by commas, or one JSON array.
func list(values []string) json.RawMessage {
	if len(values) == 1 {
		if first, isJSON := jsonKind(values[0]); isJSON && first == '[' {
			return json.RawMessage(values[0])
		}
		values = strings.Split(values[0], ",")
	}
	return quotedList(values)
}

func jsonKind(text string) (first jsontext.Kind, ok bool) {
	value := jsontext.Value(text)
	return value.Kind(), schemas.Strict(value) == nil
}

func quotedList(values []string) json.RawMessage {
	var out bytes.Buffer
	for i, v := range values {
		out.WriteString([]string{"[", ","}[min(i, 1)])
		out.Write(quoted(v))
	}
	out.WriteByte(']')
	return out.Bytes()
}

// quoted writes text as a JSON string, as schemas.Canonical does. Bytes that are not UTF-8 stay as they are, for the
// gate to refuse: replaced, two different texts would become one.
func quoted(text string) json.RawMessage {
	if !utf8.ValidString(text) {
		return json.RawMessage(`"` + text + `"`)
	}
	literal, err := jsontext.AppendQuote(nil, text)
	if err != nil {
		return json.RawMessage(`""`)
	}
	return literal
}
