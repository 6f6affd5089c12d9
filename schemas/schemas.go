// Package schemas is what a tool's arguments and answers must look like, said once, in the Go struct that the tool uses.
//
// Arguments come from a model that may be confused or steered by someone else, over three transports, and people later vote on
// them. So there is one strict reading of the bytes ([Canonical]), and everything after it, the schema check, the approval's
// hash, the person's screen and the tool itself, works on its result. Two parsers that disagree about a duplicate name or a
// big number are a way round the gate; there is no second parser here to disagree.
//
// [Of] turns a struct into a closed JSON Schema and compiles it. [Schema.Check] names every wrong field at once, in words and
// with an example, because an agent that is told all of it corrects itself in one turn. It never repeats the value it was
// given: that may be a secret, or text meant for the model that reads the refusal. What passes Check, [Decode] can read.
//
// [Answer] and [Envelope] describe what comes back. They are slim, because every client pays for them in each list of tools,
// and they always leave room for "parked": the TypeScript clients throw on an answer that its schema does not cover.
//
// The folder also holds the golden schema of each tool, NAME.json; they change only by a test's -update in tools/dtc.
package schemas

import (
	"encoding/json"
	"reflect"
	"slices"
	"sync"

	invopop "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schema is the JSON Schema of one Go type. It does not change after it is made and may be used concurrently.
type Schema struct {
	JSON json.RawMessage // the same bytes for the same struct, in the struct's field order
	Hash string          // hex SHA-256 of JSON: two servers with one Hash ask for the same arguments

	names    []string
	envelope bool // of a write
	compiled func() *jsonschema.Schema
	decode   func([]byte) error
}

// Of is the schema of a tool's arguments: a closed object, checked by [Schema.Check]. Rules come from struct tags,
//
//	Limit int `json:"limit,omitempty" jsonschema:"minimum=1,maximum=50,description=How many rows; 10 if left out"`
//
// where a field without omitempty is required and a comma inside a value is written \\, (two backslashes in a raw tag).
// It panics on a struct that cannot be described, and on tags that the library would drop in silence.
func Of[T any]() *Schema {
	t := reflect.TypeFor[T]()
	mustDescribe(t)
	s := finish(reflected(t))
	s.decode = func(canonical []byte) error { return unmarshal(canonical, new(T)) }
	mustFit(s.compiled(), t.String())
	return s
}

// Answer is the schema of what a read returns: types, enums and required names, no prose and no bounds. The object is open, so
// that a field added later breaks no client, and a parked read (status and job_id instead of the answer) fits too.
func Answer[T any]() *Schema {
	t := reflect.TypeFor[T]()
	mustEnd(t)
	return finish(allowParked(slim(reflected(t))))
}

// Envelope is the schema of what a write returns. Only what a client acts on is described; approval, preview, undo and the
// like are explained by the answers themselves. The result is not required: a parked or queued call has none yet.
func Envelope[T any]() *Schema {
	t := reflect.TypeFor[T]()
	mustEnd(t)
	s := finish(envelope(slim(reflected(t))))
	s.envelope = true
	return s
}

// Example is an object that fits, with the members that are required; nil when none could be made.
func (s *Schema) Example() any {
	example, _ := exampleOf(s.compiled())
	return example
}

// Names lists the members of the object, in the order of the struct.
func (s *Schema) Names() []string { return s.names }

// Property says what JSON type a member has ("string", "integer", "number", "boolean", "array", "object"), for callers that
// start from text, such as REST query parameters. The type is empty when the member takes more than one.
func (s *Schema) Property(name string) (typ string, ok bool) {
	sub, ok := s.compiled().Properties[name]
	if !ok {
		return "", false
	}
	return onlyType(notNull(sub)), true
}

// Requires reports whether an object without the member is refused.
func (s *Schema) Requires(name string) bool { return slices.Contains(s.compiled().Required, name) }

func finish(root *invopop.Schema) *Schema {
	raw := text(root)
	return &Schema{
		JSON:     raw,
		Hash:     Fingerprint(raw),
		names:    names(root),
		compiled: sync.OnceValue(func() *jsonschema.Schema { return compile(raw) }),
	}
}
