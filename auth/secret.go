package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"math/big"
	"strings"
)

// Prefixes name the kind of a secret, so that people and scanners can tell what leaked.
const (
	prefixKey    = "sq_agt_"
	prefixSub    = "st_"
	prefixPerson = "sq_usr_"

	prefixSession = "sq_ses_" // in the cookie of a browser, never in a header
	prefixLink    = "sq_lnk_" // behind the # of a link
)

const (
	base62       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	randomLen    = 43 // 256 bits in base62
	checksumLen  = 6  // a CRC-32 in base62
	hintLen      = 4  // what is kept of a secret in clear beside its prefix
	sizeOfRandom = 32
)

// newSecret makes a secret of 256 random bits: prefix, 43 characters of base62, 6 of checksum.
func newSecret(prefix string) string {
	var b [sizeOfRandom]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails since Go 1.24; it crashes the program instead
	body := prefix + inBase62(new(big.Int).SetBytes(b[:]), randomLen)
	return body + checksum(body)
}

// wellFormed reports whether s can be a secret with this prefix. It costs no lookup.
func wellFormed(prefix, s string) bool {
	if len(s) != len(prefix)+randomLen+checksumLen || !strings.HasPrefix(s, prefix) {
		return false
	}
	body := s[:len(s)-checksumLen]
	return checksum(body) == s[len(body):]
}

func checksum(body string) string {
	return inBase62(big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))), checksumLen)
}

// inBase62 writes n with leading zeros in exactly width characters.
func inBase62(n *big.Int, width int) string {
	out := make([]byte, width)
	base, digit := big.NewInt(62), new(big.Int)
	n = new(big.Int).Set(n)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = base62[digit.Int64()]
	}
	return string(out)
}

func hashSecret(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// hint is what is kept of a secret in clear, so that people can tell secrets apart.
func hint(s string) string { return s[:strings.LastIndexByte(s, '_')+1+hintLen] + "…" }
