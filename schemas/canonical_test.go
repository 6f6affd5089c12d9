package schemas_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dtcgate/dtcgate/schemas"
)

func TestCanonicalFormSortsNamesAndKeepsNumbers(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", `{}`},
		{" {\n} ", `{}`},
		{`{"b":1,"a":2}`, `{"a":2,"b":1}`},
		{`{"b":{"z":[],"y":{}},"a":[{"d":1,"c":2}]}`, `{"a":[{"c":2,"d":1}],"b":{"y":{},"z":[]}}`},
		{`{"a":-0,"b":1.50,"c":1e2,"d":1E+2,"e":0.1e-7}`, `{"a":-0,"b":1.50,"c":1e2,"d":1E+2,"e":0.1e-7}`},
		{`{"a":9007199254740991,"b":-9007199254740991}`, `{"a":9007199254740991,"b":-9007199254740991}`},
		{`{"a":"\u0041\/\u00e9\n\u001F\"\\"}`, `{"a":"A/é\n\u001f\"\\"}`},
		{`{"a":"\ud83d\ude00"}`, `{"a":"😀"}`},
		{`{"\u0062":1,"a":2}`, `{"a":2,"b":1}`},
		{`{"é":1,"z":2,"😀":3,"":4,"￮":5}`, `{"":4,"z":2,"é":1,"￮":5,"😀":3}`}, // bytes of UTF-8, not UTF-16 units
		{`{"a":[true,false,null]}`, `{"a":[true,false,null]}`},
	} {
		got, err := schemas.Canonical([]byte(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("Canonical(%s) = %s, %v; want %s", c.in, got, err, c.want)
		}
	}
}

func TestCanonicalRefusesWhatParsersReadDifferently(t *testing.T) {
	for _, c := range []struct{ in, reason, pointer string }{
		{`{"a":1,"a":1}`, "twice", "/a"},
		{`{"a":1,"A":1}`, "letter case", "/A"},
		{`{"x":[0,{"skus":1,"ſkus":1}]}`, "letter case", "/x/1/ſkus"},
		{`{"key":1,"\u212aey":1}`, "letter case", "/\u212aey"},
		{`{"a":1,"\u0061":1}`, "twice", "/a"},
		{"\xef\xbb\xbf{}", "byte order mark", ""},
		{"{\"a\":\"\xff\"}", "UTF-8", ""},
		{`{"a":"\ud800"}`, "surrogate", "/a"},
		{`{"a":"\ude00\ud83d"}`, "surrogate", "/a"},
		{`{"\udc00":1}`, "surrogate", ""},
		{`{"a":"\u0000"}`, "NUL", "/a"},
		{`{"a\u0000b":1}`, "NUL", ""},
		{"{\"a\":\"\x00\"}", "not well-formed", "/a"},
		{"{}\x00", "after its end", ""},
		{`{} {}`, "after its end", ""},
		{`{"a":1`, "complete", ""},
		{`{"a":"b`, "complete", "/a"},
		{` `, "complete", ""},
		{`{"a":1,}`, "not well-formed", ""},
		{`{"a":01}`, "not well-formed", ""},
		{`{'a':1}`, "not well-formed", ""},
		{`{"a":NaN}`, "not well-formed", "/a"},
		{`{{}:1}`, "not well-formed", ""},
		{`[]`, "object", ""},
		{`null`, "object", ""},
		{`{"a":9007199254740992}`, "beyond ±9007199254740991", "/a"},
		{`{"a":[1,-9007199254740993.0]}`, "beyond", "/a/1"},
		{`{"a":1e20}`, "beyond", "/a"},
		{`{"a":1e309}`, "exponent", "/a"},
		{`{"a":1e-1000000000}`, "exponent", "/a"},
		{`{"a":0.` + strings.Repeat("1", 31) + `}`, "32 characters", "/a"},
		{nested(65), "deeper than 64", strings.Repeat("/a", 64)[:0] + "/…" + strings.Repeat("/a", 8)},
	} {
		_, err := schemas.Canonical([]byte(c.in))
		var syntax *schemas.SyntaxError
		if !errors.As(err, &syntax) || !strings.Contains(syntax.Reason, c.reason) || syntax.Pointer != c.pointer {
			t.Errorf("Canonical(%.60s) = %#v, want a reason with %q at %q", c.in, err, c.reason, c.pointer)
		}
	}
	if _, err := schemas.Canonical([]byte(nested(64))); err != nil {
		t.Errorf("64 levels: %v", err)
	}
}

func nested(levels int) string {
	return strings.Repeat(`{"a":`, levels-1) + "{}" + strings.Repeat("}", levels-1)
}

func TestStrictTakesAnyJSONValueByTheSameRules(t *testing.T) {
	for _, in := range []string{`null`, `"x"`, `-1`, `[{"a":1},{"A":2}]`, ` true `} {
		if err := schemas.Strict([]byte(in)); err != nil {
			t.Errorf("Strict(%s) = %v", in, err)
		}
	}
	for _, in := range []string{``, `[{"a":1,"A":2}]`, `9007199254740993`, `1 2`} {
		if schemas.Strict([]byte(in)) == nil {
			t.Errorf("Strict(%s) takes it", in)
		}
	}
}

// The bounds are asserted by how far the reader went and what it allocated: a time would fail on a busy machine.
func TestBombsAreRefusedBeforeTheyAreRead(t *testing.T) {
	keys := new(strings.Builder)
	for i := range 1_000_000 {
		fmt.Fprintf(keys, `,"k%d":1`, i)
	}
	for name, c := range map[string]struct {
		in       string
		readUpTo int64
	}{
		"100,000 levels of arrays":  {`{"a":` + strings.Repeat("[", 100_000), 100},
		"100,000 levels of objects": {strings.Repeat(`{"a":`, 100_000), 400},
		"a million members":         {"{" + keys.String()[1:] + "}", 130_000},
		"a million entries":         {"[0" + strings.Repeat(",0", 1_000_000) + "]", 21_000},
		"a million digits":          {`{"a":` + strings.Repeat("9", 1_000_000) + `}`, 10},
		"a million decimals":        {`{"a":0.` + strings.Repeat("9", 1_000_000) + `}`, 10},
		"a huge exponent":           {`{"a":1e1000000000}`, 20},
	} {
		in := []byte(c.in)
		before := allocated()
		err := schemas.Strict(in)
		var syntax *schemas.SyntaxError
		if !errors.As(err, &syntax) || syntax.Offset > c.readUpTo {
			t.Errorf("%s: %v after %d bytes, want a refusal before %d", name, err, syntax.Offset, c.readUpTo)
		}
		if used := allocated() - before; used > 20<<20 {
			t.Errorf("%s: %d bytes allocated", name, used)
		}
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestEveryCaseVariantOfALetterIsADuplicate(t *testing.T) {
	for c := rune(0x20); c <= unicode.MaxRune; c++ {
		if !utf8.ValidRune(c) || strings.ContainsRune(`"\`, c) {
			continue
		}
		for v := unicode.SimpleFold(c); v != c; v = unicode.SimpleFold(v) {
			if schemas.Strict(fmt.Appendf(nil, `{"a%cb":1,"A%cB":2}`, c, v)) == nil {
				t.Errorf("%U and %U pass side by side", c, v)
			}
		}
	}
}

func TestNamesClashExactlyWhenEqualFold(t *testing.T) {
	letters := rapid.StringOfN(rapid.SampledFrom([]rune("kKsSſ\u212aaAéÉßẞσςΣiIİı_1")), 1, 4, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := letters.Draw(t, "a"), letters.Draw(t, "b")
		err := schemas.Strict(fmt.Appendf(nil, `{%q:1,%q:2}`, a, b))
		if got, want := err != nil, strings.EqualFold(a, b); got != want {
			t.Fatalf("%q and %q: refused %v, EqualFold %v", a, b, got, want)
		}
	})
}

func TestNumberBoundsAgreeWithExactArithmetic(t *testing.T) {
	limit := big.NewRat(1<<53-1, 1)
	literal := rapid.StringMatching(`-?(0|[1-9][0-9]{0,16}|90071992547409[0-9]{2})(\.[0-9]{1,8})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		text := literal.Draw(t, "number")
		value, _ := new(big.Rat).SetString(text)
		fits := value.Abs(value).Cmp(limit) <= 0 && len(text) <= 32
		if err := schemas.Strict([]byte(text)); (err == nil) != fits {
			t.Fatalf("%s: %v, want accepted %v", text, err, fits)
		}
	})
}

func TestCanonicalFormIsSortedStableAndTheSameValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := object(t, 3)
		first, err := schemas.Canonical([]byte(in))
		if err != nil {
			t.Skip("two of the drawn names fold to one")
		}
		sameValue(t, []byte(in), first)
		if !sorted(t, json.NewDecoder(bytes.NewReader(first))) {
			t.Fatalf("%s is not sorted", first)
		}
	})
}

// object draws JSON with members in any order and space where it may be.
func object(t *rapid.T, depth int) string {
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zé-ÿ_"\\]{0,3}`), 0, 5, rapid.ID).Draw(t, "names")
	var members []string
	for _, name := range names {
		quoted, _ := json.Marshal(name)
		members = append(members, string(quoted)+" : "+value(t, depth-1))
	}
	return "{ " + strings.Join(members, ",\n") + "}"
}

func value(t *rapid.T, depth int) string {
	kind := rapid.IntRange(0, 4).Draw(t, "kind")
	switch {
	case kind == 0 && depth > 0:
		return object(t, depth)
	case kind == 1 && depth > 0:
		return "[" + value(t, depth-1) + " , " + value(t, depth-1) + "]"
	case kind == 2:
		quoted, _ := json.Marshal(rapid.StringMatching(`[ -~é😀\n<>]{0,6}`).Draw(t, "text"))
		return string(quoted)
	case kind == 3:
		return rapid.SampledFrom([]string{"true", "false", "null"}).Draw(t, "word")
	}
	return rapid.StringMatching(`-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,5})?([eE][+-]?[0-5])?`).Draw(t, "number")
}

// sorted reads one value and says whether all its objects have their names in order.
func sorted(t *rapid.T, d *json.Decoder) bool {
	token, err := d.Token()
	if err != nil {
		t.Fatal(err)
	}
	bracket, _ := token.(json.Delim)
	if bracket == 0 {
		return true
	}
	ok, last, first := true, "", true
	for d.More() {
		if bracket == '{' {
			name, _ := d.Token()
			ok = ok && (first || last < name.(string))
			last, first = name.(string), false
		}
		ok = sorted(t, d) && ok
	}
	_, err = d.Token()
	return ok && err == nil
}

type failer interface {
	Helper()
	Fatalf(string, ...any)
}

// sameValue holds that canonical is canonical, and that another parser reads the same value in both.
func sameValue(t failer, in, canonical []byte) {
	t.Helper()
	again, err := schemas.Canonical(canonical)
	if err != nil || !bytes.Equal(again, canonical) {
		t.Fatalf("Canonical(%s) is %s, and of that %s, %v", in, canonical, again, err)
	}
	if diff := cmp.Diff(decoded(t, in), decoded(t, canonical)); diff != "" {
		t.Fatalf("the value changed (-in +canonical):\n%s", diff)
	}
}

func decoded(t failer, raw []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("encoding/json on %s: %v", raw, err)
	}
	return v
}

func TestFingerprintIsHexSHA256(t *testing.T) {
	const ofEmptyObject = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	if got := schemas.Fingerprint([]byte("{}")); got != ofEmptyObject {
		t.Errorf("Fingerprint({}) = %s", got)
	}
}

func TestPointersShowCallersNamesWithCare(t *testing.T) {
	_, err := schemas.Canonical([]byte(`{"x\u202e` + strings.Repeat("y", 500) + `":1e99}`))
	if text := err.Error(); len(text) > 200 || !strings.Contains(text, `\u202e`) || slices.Contains([]rune(text), '\u202e') {
		t.Errorf("the error is %q", text)
	}
}
