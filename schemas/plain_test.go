package schemas

import (
	"encoding/json"
	"strings"
	"testing"
)

var plainCases = map[string]bool{
	`{"a":1,"b":[true,false,null,-2.5,"x"],"c":{"d":{}}}`: true,
	` {"a" : "\u00e9\n\"\/" } `:                           true,
	`{"a":"é😀"}`:                                          true,
	`{"a":123456789012345}`:                               true,
	`{"a":1234567890123456}`:                              false,
	`{"a":1e0}`:                                           false,
	`{"a":01}`:                                            false,
	`{"a":-}`:                                             false,
	`{"a":1.}`:                                            false,
	`{"a":1,}`:                                            false,
	`{"a":1 "b":2}`:                                       false,
	`{,}`:                                                 false,
	`{"a":[1,]}`:                                          false,
	`{"a":1,"A":2}`:                                       false,
	`{"b":{"a":1},"a":2}`:                                 true,
	`{"\u0061":1}`:                                        false,
	`{"é":1}`:                                             false,
	`{"a":"\ud83d\ude00"}`:                                false,
	`{"a":"\u0000"}`:                                      false,
	"{\"a\":\"\x00\"}":                                    false,
	"{\"a\":\"\xff\"}":                                    false,
	"\ufeff{}":                                            false,
	`{}{}`:                                                false,
	`{"a":nul}`:                                           false,
	`{"a":truee}`:                                         false,
	``:                                                    false,
	`{"a":` + strings.Repeat("[", 15) + strings.Repeat("]", 15) + `}`: true,
	`{"a":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + `}`: false,
	`{"a":[` + strings.Repeat("1,", 998) + `1]}`:                      true,
	`{"a":[` + strings.Repeat("1,", 999) + `1]}`:                      false,
}

func isPlain(raw []byte) bool {
	p := ReadPlain(raw)
	return p.Object(nil) && p.Done()
}

func TestPlainJSONIsTold(t *testing.T) {
	for raw, want := range plainCases {
		if got := isPlain([]byte(raw)); got != want {
			t.Errorf("%.60q is plain: %t", raw, got)
		}
	}
}

func TestReadingPlainJSONAllocatesNothing(t *testing.T) {
	raw := []byte(`{"a":1,"b":[true,false,null,-2.5,"x"],"c":{"d":{"e":"some text\n"}}}`)
	if n := testing.AllocsPerRun(100, func() { isPlain(raw) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// What is taken as plain, the strict reader must take too, and others must read the same members of.
func FuzzPlain(f *testing.F) {
	for raw := range plainCases {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := map[string]json.RawMessage{}
		p := ReadPlain(raw)
		if !p.Object(func(name []byte) bool {
			value, ok := p.Value()
			got[string(name)] = value
			return ok
		}) || !p.Done() {
			return
		}
		if err := Strict(raw); err != nil {
			t.Fatalf("%q is plain and not strict: %v", raw, err)
		}
		want := map[string]json.RawMessage{}
		if err := json.Unmarshal(raw, &want); err != nil || len(got) != len(want) {
			t.Fatalf("%q has the members %q: %v", raw, want, err)
		}
		for name, value := range want {
			if string(got[name]) != string(value) {
				t.Fatalf("%q has %q as %s", raw, name, got[name])
			}
		}
	})
}
