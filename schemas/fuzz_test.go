package schemas_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/dtcgate/dtcgate/schemas"
)

// FuzzArguments holds that arguments which the schema passes have one reading: the strict decoder and encoding/json find the same in what
// was sent, in its canonical form, and in what they write of it.
func FuzzArguments(f *testing.F) {
	f.Add([]byte(fits))
	f.Add([]byte(`{"when":"2026-01-31T09:00:00Z","blob":"AAAA","pair":[1,2]}`))
	f.Add([]byte(`{"small":-128,"count":0,"raw":{"b":1.50,"a":[null]},"prices":{"é":1,"":2},"free":{"x":{"y":9007199254740991}}}`))
	f.Add([]byte(strings.Replace(fits, `"rate":0.5`, `"rate":1.50e0 , "dry_run":true`, 1)))
	f.Add([]byte(strings.Replace(fits, `"note":null`, `"note":{"qty":2,"line":1},"Reason":"another reason"`, 1)))
	laxSchema := schemas.Of[lax]()
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, err := schemas.Canonical(raw)
		if err != nil || len(raw) == 0 {
			return
		}
		oneReading[refund](t, refundSchema, raw, in)
		oneReading[lax](t, laxSchema, raw, in)
	})
}

func oneReading[T any](t *testing.T, schema *schemas.Schema, raw, in []byte) {
	t.Helper()
	wrong := schema.Check(in)
	for _, w := range wrong {
		if w.Problem == "" {
			t.Fatalf("%s is refused without a word: %+v", in, wrong)
		}
	}
	got, err := schemas.Decode[T](in)
	if wrong != nil {
		return
	}
	if err != nil {
		t.Fatalf("%s passes and cannot be read: %v", in, err)
	}
	var other T
	if err := json.Unmarshal(raw, &other); err != nil {
		t.Fatalf("%q passes and encoding/json cannot read it: %v", raw, err)
	}
	sameWritten(t, raw, got, other)
	written, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	again, err := schemas.Canonical(written)
	if err != nil {
		t.Fatalf("%s is written %s, which is refused: %v", in, written, err)
	}
	if other, err = schemas.Decode[T](again); err != nil {
		t.Fatalf("%s is written %s, which cannot be read: %v", in, written, err)
	}
	sameWritten(t, written, got, other)
}

// sameWritten compares two readings by the canonical form of what encoding/json writes of them: a json.RawMessage holds the order in
// which members came.
func sameWritten[T any](t *testing.T, raw []byte, one, other T) {
	t.Helper()
	a, errA := json.Marshal(one)
	b, errB := json.Marshal(other)
	a, canonicalA := schemas.Canonical(a)
	b, canonicalB := schemas.Canonical(b)
	if err := errors.Join(errA, errB, canonicalA, canonicalB); err != nil || !bytes.Equal(a, b) {
		t.Fatalf("%q is read as %s and as %s: %v", raw, a, b, err)
	}
}

// FuzzCanonical holds that whatever is taken has one canonical form, which every spelling of it leads to and every reader reads alike, and
// in which no object has two names that any reader would hold for one and no number that any would hold for another.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"b":[1,2.50,{"z":null}],"a":"\u00e9\ud83d\ude00"}`, `{"a":1,"A":2}`, `{"a":"\ud800"}`, `{"a":1e309}`, `{"k":1,"\u212a":2}`,
		`{"a":9007199254740993}`, "\xef\xbb\xbf{}", `{"a":"\u0000"}`, nested(65), `{"a":-0.0e-0}`, `[1]`, `{"a":tru`, `{"a":"<\/\u2028\u007f\b>"}`,
		`{"a":9007199254740991,"b":9007199254740991.0,"c":90071992547409910e-1,"d":0.1e16}`, `{"b":{"b":1,"a":2},"a":{}}`, "{\"a\":1}\n{}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		canonical, err := schemas.Canonical(raw)
		if strict := schemas.Strict(raw); strict != nil && err == nil && len(raw) > 0 || strict == nil && err != nil && firstOf(raw) == '{' {
			t.Fatalf("%q: Canonical says %v, Strict %v", raw, err, strict)
		}
		if err != nil {
			var syntax *schemas.SyntaxError
			if !errors.As(err, &syntax) || syntax.Reason == "" {
				t.Fatalf("the error is %#v", err)
			}
			return
		}
		if len(raw) == 0 {
			return
		}
		sameValue(t, raw, canonical)
		unambiguous(t, canonical)
		for _, spelled := range respelled(t, canonical) {
			if again, err := schemas.Canonical(spelled); err != nil || !bytes.Equal(again, canonical) {
				t.Fatalf("%s is spelled %s, and of that Canonical is %s, %v", canonical, spelled, again, err)
			}
		}
	})
}

// firstOf is what a JSON text begins with.
func firstOf(raw []byte) byte {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return 0
	}
	return raw[0]
}

// respelled gives a canonical text with blanks, and with every character of its strings escaped.
func respelled(t *testing.T, canonical []byte) [][]byte {
	t.Helper()
	var blanks bytes.Buffer
	if err := json.Indent(&blanks, canonical, "\r\n", " \t"); err != nil {
		t.Fatal(err)
	}
	var escaped []byte
	for raw := canonical; len(raw) > 0; {
		if raw[0] != '"' {
			escaped, raw = append(escaped, raw[0]), raw[1:]
			continue
		}
		var text string
		d := json.NewDecoder(bytes.NewReader(raw))
		if err := d.Decode(&text); err != nil {
			t.Fatal(err)
		}
		escaped, raw = append(escaped, escapes(text)...), raw[d.InputOffset():]
	}
	return [][]byte{blanks.Bytes(), escaped}
}

func escapes(text string) []byte {
	out := []byte{'"'}
	for _, unit := range utf16.Encode([]rune(text)) {
		out = fmt.Appendf(out, `\u%04x`, unit)
	}
	return append(out, '"')
}

// unambiguous walks a canonical text in the order of its tokens.
func unambiguous(t *testing.T, canonical []byte) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(canonical))
	d.UseNumber()
	oneMeaning(t, d)
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("%s goes on: %v", canonical, err)
	}
}

func oneMeaning(t *testing.T, d *json.Decoder) {
	t.Helper()
	token, err := d.Token()
	if err != nil {
		t.Fatal(err)
	}
	switch token := token.(type) {
	case json.Number:
		exact(t, token)
	case json.Delim:
		var names []string
		for d.More() {
			if token == '{' {
				name, _ := d.Token()
				names = append(names, name.(string))
			}
			oneMeaning(t, d)
		}
		_, _ = d.Token()
		distinct(t, names)
	}
}

func distinct(t *testing.T, names []string) {
	t.Helper()
	if len(names) > 100 {
		return // all pairs would take too long
	}
	for i, a := range names {
		for _, b := range names[:i] {
			if a <= b || strings.EqualFold(a, b) {
				t.Fatalf("the names %q and %q of one object are not in order, or one to some reader", b, a)
			}
		}
	}
}

// exact holds that a number which is whole is the same as a float64.
func exact(t *testing.T, n json.Number) {
	t.Helper()
	value, ok := new(big.Rat).SetString(n.String())
	if !ok {
		t.Fatalf("%s is no number", n)
	}
	if value.Cmp(big.NewRat(1<<53, 1)) >= 0 || value.Cmp(big.NewRat(-1<<53, 1)) <= 0 {
		t.Fatalf("%s is beyond what a float64 tells apart", n)
	}
	if float, _ := value.Float64(); value.IsInt() && new(big.Rat).SetFloat64(float).Cmp(value) != 0 {
		t.Fatalf("%s is %v to other readers", n, float)
	}
}
