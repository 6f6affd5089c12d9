package secret

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestASecretWithOneWrongCharacterIsRefusedBeforeAnyLookup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := New(Key)
		if !WellFormed(Key, s) || WellFormed(Person, s) {
			t.Fatalf("%q is not taken for a key", s)
		}
		at := rapid.IntRange(len(Key), len(s)-1).Draw(t, "at")
		other := rapid.SampledFrom([]byte(base62)).Draw(t, "other")
		if s[at] != other && WellFormed(Key, s[:at]+string(other)+s[at+1:]) {
			t.Fatalf("%q is well formed with another character at %d", s, at)
		}
	})
}

// A secret has 256 bits of chance (T53 asks for 192): 43 characters of 62, of which no two secrets share a long run.
func TestSecretsAreLongAndNeverAlike(t *testing.T) {
	seen := map[string]bool{}
	for range 10_000 {
		s := New(Key)
		body := s[len(Key) : len(Key)+randomLen]
		for _, part := range []string{body[1:15], body[15:29], body[29:]} {
			if seen[part] {
				t.Fatalf("a part of %q came twice", s)
			}
			seen[part] = true
		}
	}
}

func TestSecretsOfOursAreCutOutOfTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var text, want string
		for i := range rapid.IntRange(1, 4).Draw(t, "pieces") {
			between := rapid.StringOfN(rapid.SampledFrom([]rune("aZ9_ sq_agt_é\"")), 0, 60, -1).Draw(t, fmt.Sprint("between", i))
			one := New(rapid.SampledFrom(prefixes).Draw(t, fmt.Sprint("prefix", i)))
			text, want = text+between+one, want+between+Hint(one)
		}
		if got := Redact(text); got != want || In(got) || !In(text) {
			t.Fatalf("%q became %q", text, got)
		}
	})
	wrong := New(Key)
	wrong = wrong[:20] + strings.Map(func(r rune) rune { return map[bool]rune{true: '1', false: '0'}[r == '0'] }, wrong[20:21]) + wrong[21:]
	if Redact(wrong) != wrong {
		t.Error("a text whose checksum is wrong was cut")
	}
	var log bytes.Buffer
	line := "panic: " + New(SubToken) + "\n"
	if n, err := Redacting(&log).Write([]byte(line)); n != len(line) || err != nil || In(log.String()) || !strings.HasPrefix(log.String(), "panic: st_") {
		t.Errorf("%d, %v: %q", n, err, log.String())
	}
}
