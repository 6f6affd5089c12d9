package condition

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/go-json-experiment/json/jsontext"
)

// errValue says of an argument that Cedar has no value for it. It never repeats the argument, which may be a secret.
type errValue struct{ at, why string }

func (e errValue) Error() string { return fmt.Sprintf("context.input%s %s", e.at, e.why) }

// readInput makes the arguments into a record of as much as is wanted. All of them are read: one that Cedar cannot hold is an error
// wherever it stands, so that what a policy sees is never less than what the tool gets. What has no type, because it may be any JSON,
// cannot be looked at and is passed over.
func readInput(args []byte, s *shape, w *want) (cedar.Value, error) {
	d := jsontext.NewDecoder(bytes.NewReader(args))
	if d.PeekKind() != '{' {
		return nil, errValue{"", "is not there"}
	}
	v, err := s.read(d, w)
	if syntax := (*jsontext.SyntacticError)(nil); errors.As(err, &syntax) {
		return nil, errValue{"", "is not JSON"}
	}
	return v, err
}

// read takes one value off d. Where w is nil it is only looked over, and the value is nil.
func (s *shape) read(d *jsontext.Decoder, w *want) (cedar.Value, error) {
	if s == nil {
		return nil, d.SkipValue()
	}
	kind := d.PeekKind()
	switch {
	case kind == 0:
		_, err := d.ReadToken()
		return nil, err
	case s.kind == record && kind == '{':
		return s.readRecord(d, w)
	case s.kind == set && kind == '[':
		return s.readSet(d, w)
	case s.kind == record || s.kind == set:
		return nil, s.unfit(d)
	}
	raw, err := d.ReadValue()
	if err != nil {
		return nil, err
	}
	return s.scalar(d, raw, w != nil)
}

func (s *shape) unfit(d *jsontext.Decoder) error {
	return errValue{string(d.StackPointer()), "is no " + s.String()}
}

func (s *shape) scalar(d *jsontext.Decoder, raw jsontext.Value, wanted bool) (cedar.Value, error) {
	switch kind := raw.Kind(); {
	case s.kind == boolean && (kind == 't' || kind == 'f'):
		return cedar.Boolean(kind == 't'), nil
	case s.kind == text && kind == '"':
		if !wanted {
			return nil, nil
		}
		unquoted, err := jsontext.AppendUnquote(nil, raw)
		return cedar.String(unquoted), err
	case s.kind == long && kind == '0':
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err == nil {
			return cedar.Long(n), nil
		}
	case s.kind == decimal && kind == '0':
		if v, err := decimalFrom(string(raw)); err == nil {
			return v, nil
		}
		return nil, errValue{string(d.StackPointer()), "has more than four places, an exponent, or is too large"}
	}
	return nil, s.unfit(d)
}

// decimalFrom reads a JSON number without rounding.
func decimalFrom(literal string) (cedar.Value, error) {
	if n, err := strconv.ParseInt(literal, 10, 64); err == nil {
		return types.NewDecimal(n, 0)
	}
	return types.ParseDecimal(literal)
}

func (s *shape) readSet(d *jsontext.Decoder, w *want) (cedar.Value, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	var all []cedar.Value
	for d.PeekKind() != ']' {
		v, err := s.of.read(d, w)
		if err != nil {
			return nil, err
		}
		if w != nil {
			all = append(all, v)
		}
	}
	if _, err := d.ReadToken(); err != nil || w == nil {
		return nil, err
	}
	return cedar.NewSet(all...), nil
}

func (s *shape) readRecord(d *jsontext.Decoder, w *want) (cedar.Value, error) {
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	var m cedar.RecordMap
	if w != nil {
		m = cedar.RecordMap{}
	}
	for d.PeekKind() != '}' {
		if err := s.readMember(d, w, m); err != nil {
			return nil, err
		}
	}
	if _, err := d.ReadToken(); err != nil || w == nil {
		return nil, err
	}
	return cedar.NewRecord(m), nil
}

func (s *shape) readMember(d *jsontext.Decoder, w *want, into cedar.RecordMap) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	name := token.String()
	m := s.member(name)
	if m == nil && !s.open {
		return errValue{string(d.StackPointer()), "is not an argument of this tool"}
	}
	var of *shape
	if m != nil {
		of = m.shape
	}
	wanted := w.get(name)
	v, err := of.read(d, wanted)
	if err == nil && v != nil && wanted != nil {
		into[cedar.String(name)] = v
	}
	return err
}
