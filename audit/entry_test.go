package audit

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// anyEntry fills every field of an entry, whatever fields there are, or leaves it empty.
func anyEntry(t *rapid.T) (e Entry) {
	texts := rapid.OneOf(rapid.String(), rapid.Just(""), rapid.SampledFrom([]string{"<b>&", "\u2028", "a\x00\"\\", "\xff", "£😀\u202e"}))
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		switch f := v.Field(i); f.Interface().(type) {
		case string:
			f.SetString(texts.Draw(t, name))
		case int64:
			f.SetInt(rapid.OneOf(rapid.Int64(), rapid.Just(int64(0))).Draw(t, name))
		case time.Time:
			f.Set(reflect.ValueOf(time.UnixMicro(rapid.Int64Range(0, 1<<52).Draw(t, name)).UTC()))
		case []string:
			f.Set(reflect.ValueOf(rapid.SliceOfN(texts, 0, 4).Draw(t, name)))
		case []Check:
			f.Set(reflect.ValueOf(rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Check {
				return Check{texts.Draw(t, "name"), texts.Draw(t, "verdict")}
			}), 0, 4).Draw(t, name)))
		case json.RawMessage:
			f.Set(reflect.ValueOf(json.RawMessage(rapid.SampledFrom([]string{"", `{}`, `{ "a" : [1, "<\u0000>"] }`}).Draw(t, name))))
		case map[string]string:
			f.Set(reflect.ValueOf(rapid.MapOfN(texts, texts, 0, 3).Draw(t, name)))
		default:
			t.Fatalf("the field %s is of a type that this test does not know", name)
		}
	}
	return e
}

// A field that appendJSON left out would be on no record.
func TestAnEntryIsWrittenAsByEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyEntry(t)
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.appendJSON(nil)
		if err != nil || string(got) != string(want) {
			t.Errorf("%v\n%s\nby encoding/json:\n%s", err, got, want)
		}
	})
}

func TestFactsThatAreNoJSONAreNotWritten(t *testing.T) {
	for _, facts := range []string{"{", `{"a":1}x`, "\xff", `"a`} {
		if _, err := Seal(Entry{Event: "call", Facts: json.RawMessage(facts)}, time.Now()); err == nil {
			t.Errorf("an entry with the facts %q was sealed", facts)
		}
	}
}
