// Package secret is what a secret of ours looks like.
//
// A secret is a prefix that names its kind, so that people and scanners can tell what leaked; 256 random bits as 43 digits of
// base 62; and a CRC-32 of all that in six more, which refuses what was mistyped or made up before anything is looked up.
// A secret exists in clear in one answer. What is stored is its SHA-256, under which it is found again: a slow hash
// protects secrets that can be guessed, and these cannot. Beside the hash stands a hint, the prefix and four digits, by
// which people tell their secrets apart.
//
// Because of that form a secret is found wherever somebody pasted it. Redact cuts it down to its hint: the record and
// the log pass everything through it, and the gate refuses calls that hold one.
//
// Who a secret belongs to, and whether it opens anything, is package auth's to say.
package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"math/big"
	"strings"
)

// The prefixes of all secrets that are made here.
const (
	Key      = "sq_agt_"
	SubToken = "st_"
	Person   = "sq_usr_"
	Session  = "sq_ses_" // in the cookie of a browser, never in a header
	Link     = "sq_lnk_" // behind the # of a link
)

var prefixes = []string{Key, SubToken, Person, Session, Link}

const (
	base62       = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	randomLen    = 43 // 256 bits in base62
	checksumLen  = 6  // a CRC-32 in base62
	hintLen      = 4  // what is kept of a secret in clear beside its prefix
	sizeOfRandom = 32
)

// Shortest is how many bytes a secret has at least.
const Shortest = len(SubToken) + randomLen + checksumLen

// New makes a secret of 256 random bits: prefix, 43 characters of base62, 6 of checksum.
func New(prefix string) string {
	var b [sizeOfRandom]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails since Go 1.24; it crashes the program instead
	body := prefix + inBase62(new(big.Int).SetBytes(b[:]), randomLen)
	return body + checksum(body)
}

// WellFormed reports whether s can be a secret with this prefix. It costs no lookup.
func WellFormed(prefix, s string) bool {
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

// Hash is what is stored of a secret: its SHA-256 in hex.
func Hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// Hint is what is kept of a secret in clear, so that people can tell secrets apart. s is one that New has made.
func Hint(s string) string { return s[:strings.LastIndexByte(s, '_')+1+hintLen] + "…" }
