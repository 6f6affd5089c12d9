package schemas

import (
	"bytes"
	"encoding/json"
	"testing"
)

var awkward = []string{
	"", "plain", `<a href="x">&amp;</a>`, "line\nend\r\ttab\b\f\x00\x1f\x7f", "\u2028\u2029\u2027\u202a", "é😀\ufffd", "\xff\xe2\x80", "\xe2\x80\xa8\xe2", `\"`,
	`{"a": [1, 2 , {"b" :"< \" \\ > &\u2028"}] }`, "[\n\t1\r\n]", `"\\"`, `{"a":"\\\" , :"}`,
}

// What we write is what the go-sdk would have had encoding/json write.
func FuzzJSONIsWrittenAsByEncodingJSON(f *testing.F) {
	for _, text := range awkward {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendQuoted([]byte("x"), text); string(got[1:]) != string(want) {
			t.Errorf("%q is written %s, not %s", text, got[1:], want)
		}
		if !json.Valid([]byte(text)) {
			return
		}
		if want, err = json.Marshal(json.RawMessage(text)); err != nil {
			t.Fatal(err)
		}
		if got := AppendCompact(nil, []byte(text)); !bytes.Equal(got, want) {
			t.Errorf("%q is written %s, not %s", text, got, want)
		}
	})
}
