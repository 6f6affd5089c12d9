package schemas

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
)

// Decode reads canonical arguments into the struct of the tool. Names match exactly and unknown ones are refused. It succeeds on
// whatever the Check of Of[T] passed; the error names the place, never the value.
func Decode[T any](canonical []byte) (T, error) {
	var v T
	if err := unmarshal(canonical, &v); err != nil {
		var zero T
		return zero, fmt.Errorf("decoding arguments at %q: they do not fit %T", pointer(misfit(err)), zero)
	}
	return v, nil
}

// unmarshal is the one way to a struct. Version 2 of the decoder matches names by case and takes neither duplicates nor bad UTF-8;
// encoding/json does the opposite in all three.
func unmarshal(canonical []byte, into any) error {
	return json.Unmarshal(canonical, into, json.RejectUnknownMembers(true))
}

// misfit is the path of the value that a decoding error is about.
func misfit(err error) []string {
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return nil
	}
	var path []string
	for step := range semantic.JSONPointer.Tokens() {
		path = append(path, step)
	}
	return path
}
