package schemas_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dtcgate/dtcgate/schemas"
)

type money struct {
	AmountMinor int64  `json:"amount_minor" jsonschema:"minimum=0,maximum=100000000"`
	Currency    string `json:"currency" jsonschema:"enum=GBP,enum=EUR,enum=USD"`
}

type line struct {
	Line int `json:"line" jsonschema:"minimum=1"`
	Qty  int `json:"qty" jsonschema:"minimum=1,maximum=1000"`
}

// write is what the arguments of writing tools share.
type write struct {
	Reason string `json:"reason" jsonschema:"minLength=10,maxLength=500,description=Why\\, for the person who approves"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// refund has the shapes that tools use: nested, repeated, optional, patterned, embedded.
type refund struct {
	OrderNo string     `json:"order_no" jsonschema:"pattern=^C?[0-9]{6}$,example=581483"`
	Version int        `json:"expected_version" jsonschema:"minimum=1"`
	Amount  money      `json:"amount"`
	Lines   []line     `json:"lines,omitempty" jsonschema:"maxItems=3"`
	Cause   string     `json:"cause" jsonschema:"enum=damaged,enum=fraud"`
	Notify  bool       `json:"notify_customer"`
	From    string     `json:"from,omitempty" jsonschema:"format=date"`
	SendAt  *time.Time `json:"send_at,omitempty"`
	Tags    []string   `json:"tags,omitempty" jsonschema:"maxItems=2,maxLength=10,uniqueItems=true"`
	Rate    float64    `json:"rate,omitempty" jsonschema:"exclusiveMinimum=0,maximum=1.5"`
	Note    *line      `json:"note,omitempty" jsonschema:"nullable"`
	write
}

const fits = `{"order_no":"581483","expected_version":3,"amount":{"amount_minor":1200,"currency":"GBP"},"lines":[{"line":1,"qty":2}],` +
	`"cause":"damaged","notify_customer":true,"from":"2026-02-01","send_at":"2026-02-01T00:00:00Z","tags":["a","b"],"rate":0.5,` +
	`"note":null,"reason":"arrived broken, see photo"}`

var refundSchema = schemas.Of[refund]()

// with is the arguments that fit, with some members set anew, or taken out where the value is "".
func with(t failer, members map[string]string) []byte {
	t.Helper()
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(fits), &all); err != nil {
		t.Fatalf("%v", err)
	}
	for name, value := range members {
		all[name] = json.RawMessage(value)
		if value == "" {
			delete(all, name)
		}
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return canonical(t, raw)
}

func canonical(t failer, raw []byte) []byte {
	t.Helper()
	out, err := schemas.Canonical(raw)
	if err != nil {
		t.Fatalf("Canonical(%s): %v", raw, err)
	}
	return out
}

func TestArgumentsThatFitHaveNothingWrong(t *testing.T) {
	if wrong := refundSchema.Check(with(t, nil)); wrong != nil {
		t.Errorf("Check = %+v", wrong)
	}
}

func TestEveryWrongFieldIsNamedAtOnce(t *testing.T) {
	got := refundSchema.Check(canonical(t, []byte(`{"orderNo":"581483","amount":{"amount_minor":12.0,"curency":"GBP"},
		"lines":[{"line":1,"qty":2},{"line":0,"qty":"2"}],"cause":"lost","notify_customer":null,"reason":"x"}`)))
	want := []schemas.Wrong{
		{Field: "amount.amount_minor", Problem: "must be written as a plain whole number, without a point or exponent", Expected: "a whole number from 0 to 100000000", Example: int64(1)},
		{Field: "amount.curency", Problem: "is not a field of this object; did you mean “currency”?", Expected: "only these fields: amount_minor, currency"},
		{Field: "amount.currency", Problem: "is missing", Expected: "one of: GBP, EUR, USD", Example: "GBP"},
		{Field: "cause", Problem: "is not one of the allowed values", Expected: "one of: damaged, fraud", Example: "damaged"},
		{Field: "expected_version", Problem: "is missing", Expected: "a whole number, 1 or more", Example: int64(1)},
		{Field: "lines[1].line", Problem: "is too small", Expected: "a whole number, 1 or more", Example: int64(1)},
		{Field: "lines[1].qty", Problem: "must be a whole number, not a string", Expected: "a whole number from 1 to 1000", Example: int64(1)},
		{Field: "notify_customer", Problem: "must be true or false, not null", Expected: "true or false", Example: true},
		{Field: "orderNo", Problem: "is not a field of this tool; did you mean “order_no”?", Expected: "only these fields: amount, cause, dry_run, expected_version, from, lines, note, notify_customer, order_no, rate, reason, send_at, tags"},
		{Field: "order_no", Problem: "is missing", Expected: "a string that matches ^C?[0-9]{6}$", Example: "581483"},
		{Field: "reason", Problem: "is too short", Expected: "a string of 10 to 500 characters", Example: "example text"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Check (-want +got):\n%s", diff)
	}
}

func TestEachProblemHasItsWords(t *testing.T) {
	for _, c := range []struct{ field, value, at, problem, expected string }{
		{"amount", ``, "amount", "is missing", "an object with amount_minor, currency"},
		{"amount", `5`, "amount", "must be an object, not a number", "an object with amount_minor, currency"},
		{"cause", `"DAMAGED"`, "cause", "is not one of the allowed values", "one of: damaged, fraud"},
		{"dry_run", `"true"`, "dry_run", "must be true or false, not a string", "true or false"},
		{"expected_version", `1e0`, "expected_version", "must be written as a plain whole number, without a point or exponent", "a whole number, 1 or more"},
		{"expected_version", `true`, "expected_version", "must be a whole number, not a boolean", "a whole number, 1 or more"},
		{"expected_version", `1.5`, "expected_version", "must be a whole number, not a fraction", "a whole number, 1 or more"},
		{"from", `"2026-02-30"`, "from", "is not a date written YYYY-MM-DD", "a date written YYYY-MM-DD"},
		{"lines", `[{"line":1,"qty":1},{"line":1,"qty":1},{"line":1,"qty":1},{"line":1,"qty":1}]`, "lines", "has too many entries", "a list of at most 3 entries, each an object with line, qty"},
		{"lines", `{"0":{}}`, "lines", "must be a list, not an object", "a list of at most 3 entries, each an object with line, qty"},
		{"note", `{"line":1}`, "note.qty", "is missing", "a whole number from 1 to 1000"},
		{"note", `[]`, "note", "must be an object or null, not a list", "an object with line, qty"},
		{"order_no", `"58148x"`, "order_no", "does not have the right form", "a string that matches ^C?[0-9]{6}$"},
		{"rate", `0`, "rate", "is too small", "a number, 1.5 or less, more than 0"},
		{"rate", `1.6`, "rate", "is too large", "a number, 1.5 or less, more than 0"},
		{"reason", `"` + strings.Repeat("é", 501) + `"`, "reason", "is too long", "a string of 10 to 500 characters"},
		{"send_at", `"tomorrow"`, "send_at", "is not a time written as in RFC 3339, with its zone", "a time written as in RFC 3339, with its zone"},
		{"send_at", `"2016-12-31T23:59:60Z"`, "send_at", "does not fit", "a time written as in RFC 3339, with its zone"},
		{"tags", `["a","a"]`, "tags", "has the same entry twice", "a list of at most 2 entries, each a string of at most 10 characters"},
		{"tags", `["abcdefghijk"]`, "tags[0]", "is too long", "a string of at most 10 characters"},
		{"sendat", `1`, "sendat", "is not a field of this tool; did you mean “send_at”?", ""},
		{"colour", `1`, "colour", "is not a field of this tool", ""},
	} {
		got := refundSchema.Check(with(t, map[string]string{c.field: c.value}))
		if len(got) != 1 || got[0].Field != c.at || got[0].Problem != c.problem || c.expected != "" && got[0].Expected != c.expected {
			t.Errorf("%s = %.60s: got %+v, want %q %q %q", c.field, c.value, got, c.at, c.problem, c.expected)
		}
	}
}

func TestNoAnswerHoldsTheValueThatWasSent(t *testing.T) {
	const secret = "sk_live_51H8"
	texts := []string{`"` + secret + `"`, `["` + secret + `"]`, `{"amount_minor":"` + secret + `","currency":"` + secret + `"}`}
	for _, name := range refundSchema.Names() {
		for _, text := range texts {
			for _, wrong := range refundSchema.Check(with(t, map[string]string{name: text})) {
				if said, _ := json.Marshal(wrong); strings.Contains(string(said), secret) {
					t.Errorf("%s = %s is answered %s", name, text, said)
				}
			}
		}
	}
}

func TestUnknownNamesAreCutAndEscaped(t *testing.T) {
	for name, want := range map[string]string{
		strings.Repeat("x", 1000): strings.Repeat("x", 40) + "…",
		"a\u202eb\u200bc":         `a\u202eb\u200bc`,
		"line\nbreak\x1b[31m":     `line\nbreak\x1b[31m`,
		"tag\U000E0041":           `tag\U000e0041`,
		"prix_€_été":              "prix_€_été",
	} {
		quoted, _ := json.Marshal(name)
		got := refundSchema.Check(canonical(t, fmt.Appendf(nil, `{%s:1,%s`, quoted, fits[1:])))
		if len(got) != 1 || got[0].Field != want {
			t.Errorf("%q is shown as %+v, want %q", name, got, want)
		}
	}
}

func TestAFloodOfWrongFieldsIsBounded(t *testing.T) {
	flood := "{"
	for i := range 9_000 {
		flood += fmt.Sprintf(`"field%05d":%d,`, i, i)
	}
	got := refundSchema.Check(canonical(t, []byte(flood+fits[1:])))
	if len(got) != 20 || got[0].Field != "field00000" || got[19].Field != "field00019" {
		t.Errorf("%d entries: %+v", len(got), got)
	}
	many := `[` + strings.Repeat(`{"line":0},`, 3_000) + `{}]`
	if got := refundSchema.Check(with(t, map[string]string{"lines": many})); len(got) != 20 {
		t.Errorf("%d entries for a list of wrong ones", len(got))
	}
}

// An agent that does what it is told, and nothing else, must arrive.
func TestFollowingTheExamplesFits(t *testing.T) {
	arguments := map[string]any{}
	for range 2 {
		raw, _ := json.Marshal(arguments)
		wrong := refundSchema.Check(canonical(t, raw))
		if wrong == nil {
			return
		}
		for _, w := range wrong {
			arguments[w.Field] = w.Example
		}
	}
	t.Errorf("still wrong: %v", arguments)
}

func TestExamplesAreMadeFromTypeFormatAndBounds(t *testing.T) {
	type shapes struct {
		Email  string         `json:"email" jsonschema:"format=email"`
		URL    string         `json:"url" jsonschema:"format=uri"`
		ID     string         `json:"id" jsonschema:"format=uuid"`
		SKU    string         `json:"sku" jsonschema:"pattern=^[A-Z0-9]{5}(-[a-z]+|x)?\\.?$"`
		Code   string         `json:"code" jsonschema:"pattern=^.\\d\\s[^a]+$"`
		Short  string         `json:"short" jsonschema:"maxLength=4"`
		Long   string         `json:"long" jsonschema:"minLength=100"`
		Minus  int            `json:"minus" jsonschema:"maximum=-5"`
		Above  int            `json:"above" jsonschema:"exclusiveMinimum=10,multipleOf=5"`
		Part   float64        `json:"part" jsonschema:"maximum=0.5"`
		Pair   []string       `json:"pair" jsonschema:"minItems=2,format=date"`
		Size   string         `json:"size" jsonschema:"default=medium"`
		Limit  int            `json:"limit" jsonschema:"default=10"`
		Share  float64        `json:"share" jsonschema:"example=0.25"`
		Tags   []string       `json:"tags" jsonschema:"minItems=1,enum=new,enum=sale"`
		Any    any            `json:"any" jsonschema:"description=Whatever the provider takes"`
		Free   map[string]any `json:"free"`
		Prices map[string]int `json:"prices"`
	}
	want := map[string]any{
		"email": "person@example.com", "url": "https://example.com/", "id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
		"sku": "11111", "code": "a1\t1", "short": "exam", "long": strings.Repeat("example text ", 9)[:100],
		"minus": int64(-5), "above": int64(15), "part": 0.5, "pair": []any{"2026-01-31", "2026-01-31"}, "size": "medium",
		"limit": int64(10), "share": 0.25, "tags": []any{"new"}, "any": nil, "free": map[string]any{}, "prices": map[string]any{},
	}
	got := map[string]any{}
	for _, w := range schemas.Of[shapes]().Check([]byte(`{}`)) {
		got[w.Field] = w.Example
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("examples (-want +got):\n%s", diff)
	}
}

// lax has types whose JSON Schema is wider than what Go reads.
type lax struct {
	Small  int8            `json:"small,omitempty"`
	Count  uint            `json:"count,omitempty"`
	When   time.Time       `json:"when,omitzero"`
	Blob   []byte          `json:"blob,omitempty"`
	Raw    json.RawMessage `json:"raw,omitempty"`
	Prices map[string]int  `json:"prices,omitempty"`
	Pair   [2]int          `json:"pair,omitempty"`
	Free   map[string]any  `json:"free,omitempty"`
}

// TestWhatPassesCheckDecodes draws values for members without regard to their type: most are refused, and those that are not
// must be readable.
func TestWhatPassesCheckDecodes(t *testing.T) {
	laxSchema := schemas.Of[lax]()
	passed := 0
	rapid.Check(t, func(t *rapid.T) {
		member := rapid.SampledFrom([]string{"small", "count", "when", "blob", "raw", "prices", "pair", "free"}).Draw(t, "member")
		in := canonical(t, fmt.Appendf(nil, `{%q:%s}`, member, loose(t)))
		if laxSchema.Check(in) == nil {
			passed++
			if _, err := schemas.Decode[lax](in); err != nil {
				t.Fatalf("%s: %v", in, err)
			}
		}
		field := rapid.SampledFrom(refundSchema.Names()).Draw(t, "field")
		in = with(t, map[string]string{field: loose(t)})
		if refundSchema.Check(in) == nil {
			passed++
			if _, err := schemas.Decode[refund](in); err != nil {
				t.Fatalf("%s: %v", in, err)
			}
		}
	})
	if passed == 0 {
		t.Error("nothing passed: the property was not tried")
	}
}

func loose(t *rapid.T) string {
	return rapid.OneOf(
		rapid.SampledFrom([]string{
			`null`, `true`, `-0`, `-1`, `200`, `1.0`, `1e2`, `70000`, `9007199254740991`, `0.5`, `""`, `"x"`, `"AAAA"`, `"!"`, `[]`, `[1,2]`, `[1,2,3]`,
			`[1]`, `{}`, `{"a":1}`, `{"a":1.5}`, `{"a":null}`, `{"a":{"b":[1.50]}}`, `"2026-01-31"`, `"2026-01-31T09:00:00Z"`, `"2026-01-31t09:00:00z"`,
			`"2016-12-31T23:59:60Z"`, `"0000-01-01T00:00:00.1234567891234+23:59"`, `["a","b"]`, `{"line":1,"qty":2}`, `[{"line":1,"qty":1}]`,
		}),
		rapid.StringMatching(`-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,3})?(e[0-9])?`),
		rapid.StringMatching(`"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{1,9})?(Z|[+-][0-2][0-9]:[0-5][0-9])"`),
	).Draw(t, "value")
}

func TestDecodeReadsExactNamesAndRefusesOthers(t *testing.T) {
	got, err := schemas.Decode[money]([]byte(`{"amount_minor":1200,"currency":"GBP"}`))
	if err != nil || got != (money{1200, "GBP"}) {
		t.Errorf("Decode = %+v, %v", got, err)
	}
	for _, in := range []string{
		`{"Amount_Minor":1}`, `{"amount_minor":1,"colour":"sk_live_51H8"}`, `{"amount_minor":"sk_live_51H8"}`, `{"amount_minor":1.0}`, `[]`,
	} {
		got, err := schemas.Decode[money]([]byte(in))
		if err == nil || got != (money{}) || strings.Contains(err.Error(), "sk_live") {
			t.Errorf("Decode(%s) = %+v, %v", in, got, err)
		}
	}
}

func TestCheckOfBytesThatAreNotJSONSaysSo(t *testing.T) {
	if got := refundSchema.Check([]byte(`{"a":`)); len(got) != 1 || got[0].Problem != "is not JSON" {
		t.Errorf("Check = %+v", got)
	}
}

func TestWordsForAgentsArePrintable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name, _ := json.Marshal(rapid.String().Draw(t, "name"))
		in, err := schemas.Canonical(fmt.Appendf(nil, `{%s:1}`, name))
		if err != nil {
			t.Skip("holds a NUL")
		}
		for _, w := range refundSchema.Check(in) {
			if strings.ContainsFunc(w.Field+w.Problem+w.Expected, func(c rune) bool { return !unicode.IsPrint(c) || unicode.Is(unicode.Cf, c) }) {
				t.Fatalf("%q", w)
			}
		}
	})
}

func BenchmarkCanonical(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := schemas.Canonical([]byte(fits)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	for name, in := range map[string][]byte{"fits": with(b, nil), "wrong": []byte(`{"orderNo":1,"lines":[{}]}`)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				refundSchema.Check(in)
			}
		})
	}
}
