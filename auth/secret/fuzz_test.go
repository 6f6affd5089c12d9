package secret

import (
	"hash/crc32"
	"strings"
	"testing"
)

// FuzzKey holds the parser of our own secrets to a second one: a prefix, 43 characters, and a CRC-32 of all before in six
// digits of base 62.
func FuzzKey(f *testing.F) {
	f.Add(New(Key))
	f.Add(New(Person))
	f.Add("")
	f.Add(Key)
	f.Add(strings.ToUpper(New(Key)))
	f.Add(New(Key) + "0")
	f.Add(New(SubToken))
	f.Add("st_" + strings.Repeat("0", randomLen+checksumLen))
	f.Fuzz(func(t *testing.T, s string) {
		for _, prefix := range prefixes {
			if got, want := WellFormed(prefix, s), formed(prefix, s); got != want {
				t.Fatalf("%q with %s: %t, and by the second parser %t", s, prefix, got, want)
			}
			body := prefix + s
			if len(s) == randomLen && !WellFormed(prefix, body+digits(crc32.ChecksumIEEE([]byte(body)))) {
				t.Fatalf("%q with its checksum is refused", body)
			}
		}
	})
}

func formed(prefix, s string) bool {
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok || len(rest) != 49 {
		return false
	}
	body := s[:len(prefix)+43]
	return s == body+digits(crc32.ChecksumIEEE([]byte(body)))
}

// digits writes n in six digits of base 62.
func digits(n uint32) string {
	var out []byte
	for range 6 {
		out = append([]byte{"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[n%62]}, out...)
		n /= 62
	}
	return string(out)
}
