package store

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"time"
)

// crockford is Crockford's base32: its order is the order of bytes, and it has no I, L, O, U to misread.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// idCount orders the ids that this process makes for the same instant. It starts below 2^31, so that it does not wrap.
var idCount atomic.Uint32

func init() { idCount.Store(uint32(random() >> 33)) }

// NewID makes an id: prefix, "_" and 26 characters of Crockford base32, a UUIDv7 of the instant at. Ids of one process
// sort by at (to a quarter of a microsecond) and then by when they were made. Nobody can guess one, but ids are not secrets.
func NewID(prefix string, at time.Time) string {
	ms := uint64(at.UnixMilli())
	// RFC 9562, section 6.2: method 3 (12 more bits of time), then method 1 (a counter), then chance.
	fraction := uint64(at.Nanosecond()%1e6) << 12 / 1e6
	hi := ms<<16 | 7<<12 | fraction
	lo := 2<<62 | uint64(idCount.Add(1))<<30 | random()>>34
	return prefix + "_" + encodeID(hi, lo)
}

// FirstID is the id before all that NewID makes from the instant at on, for a range of ids that is one of time.
func FirstID(prefix string, at time.Time) string {
	ms := uint64(at.UnixMilli())
	return prefix + "_" + encodeID(ms<<16|7<<12|uint64(at.Nanosecond()%1e6)<<12/1e6, 2<<62)
}

// IDTime reads the instant, to the microsecond, off an id that NewID made.
func IDTime(id string) (time.Time, bool) {
	hi, lo, ok := decodeID(id[strings.LastIndexByte(id, '_')+1:])
	if !ok || hi>>12&0xf != 7 || lo>>62 != 2 {
		return time.Time{}, false
	}
	micros := (hi&0xfff*1000 + 0xfff) >> 12 // rounding up undoes NewID's rounding down
	return time.UnixMicro(int64(hi>>16*1000 + micros)).UTC(), true
}

// encodeID writes 128 bits as 26 digits of 5 bits; the first has only 3.
func encodeID(hi, lo uint64) string {
	var b [26]byte
	for i := range b {
		b[25-i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(b[:])
}

func decodeID(s string) (hi, lo uint64, ok bool) {
	if len(s) != 26 || s[0] > '7' {
		return 0, 0, false
	}
	for i := range len(s) {
		digit := strings.IndexByte(crockford, s[i])
		if digit < 0 {
			return 0, 0, false
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(digit)
	}
	return hi, lo, true
}

func random() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails (crypto/rand ends the program instead)
	return binary.BigEndian.Uint64(b[:])
}
