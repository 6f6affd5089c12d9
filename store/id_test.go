package store_test

import (
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/dtcgate/dtcgate/store"
)

func TestAnIDTellsItsTime(t *testing.T) {
	shape := regexp.MustCompile(`^ord_[0-7][0-9A-HJKMNP-TV-Z]{25}$`)
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMicro(rapid.Int64Range(0, 1<<52).Draw(t, "µs")).UTC()
		id := store.NewID("ord", at)
		if got, ok := store.IDTime(id); !ok || !got.Equal(at) {
			t.Errorf("%s of %v says %v, %v", id, at, got, ok)
		}
		if !shape.MatchString(id) {
			t.Errorf("id %q", id)
		}
	})
}

func TestAnIDIsAUUIDv7(t *testing.T) {
	const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	at := time.Date(2026, 11, 22, 9, 0, 0, 123_456_000, time.UTC)
	var u uuid.UUID
	for _, c := range store.NewID("x", at)[2:] {
		carry := slices.Index([]rune(crockford), c)
		for i := 15; i >= 0; i-- { // u = u*32 + digit
			n := int(u[i])<<5 | carry
			u[i], carry = byte(n), n>>8
		}
	}
	if u.Version() != 7 || u.Variant() != uuid.RFC4122 {
		t.Errorf("%s is version %d, variant %v", u, u.Version(), u.Variant())
	}
	ms := int64(0)
	for _, b := range u[:6] {
		ms = ms<<8 | int64(b)
	}
	if ms != at.UnixMilli() {
		t.Errorf("%s holds %d ms, want %d", u, ms, at.UnixMilli())
	}
}

func TestIDsSortByTimeThenByMaking(t *testing.T) {
	at := time.Now().Truncate(time.Microsecond)
	var made []string
	for i := range 100_000 {
		made = append(made, store.NewID("x", at.Add(time.Duration(i/10)*time.Microsecond)))
	}
	if !slices.IsSorted(made) {
		t.Error("ids are out of order")
	}
	if len(slices.Compact(made)) != 100_000 {
		t.Error("an id came twice")
	}
}

func TestWhatIsNoIDHasNoTime(t *testing.T) {
	id := store.NewID("x", time.Now())
	for _, s := range []string{"", "x_", id[:27], id + "0", "x_8" + id[3:], "x_u" + id[3:], "x_00000000000000000000000000"} {
		if at, ok := store.IDTime(s); ok {
			t.Errorf("%q says %v", s, at)
		}
	}
}
