package schemas_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/dtcgate/dtcgate/schemas"
)

type search struct {
	Query string   `json:"query,omitempty" jsonschema:"maxLength=100,description=Words in title\\, tags or code; <all> if left out"`
	Skus  []string `json:"skus,omitempty" jsonschema:"maxItems=50,pattern=^[0-9]{5}[A-Z]{0\\,2}$"`
	Limit int      `json:"limit,omitempty" jsonschema:"minimum=1,maximum=50,default=10"`
	From  string   `json:"from" jsonschema:"format=date,example=2026-01-31" jsonschema_extras:"x-mcp-header=From"`
	Price money    `json:"price" jsonschema:"description=At most"`
	Admin string   `json:"-"`
}

func TestInputSchemaIsAClosedInlineObject(t *testing.T) {
	const want = `{"properties":{` +
		`"query":{"type":"string","maxLength":100,"description":"Words in title, tags or code; <all> if left out"},` +
		`"skus":{"items":{"type":"string","pattern":"^[0-9]{5}[A-Z]{0,2}$"},"type":"array","maxItems":50},` +
		`"limit":{"type":"integer","maximum":50,"minimum":1,"default":10},` +
		`"from":{"type":"string","format":"date","examples":["2026-01-31"],"x-mcp-header":"From"},` +
		`"price":{"properties":{"amount_minor":{"type":"integer","maximum":100000000,"minimum":0},` +
		`"currency":{"type":"string","enum":["GBP","EUR","USD"]}},"additionalProperties":false,"type":"object",` +
		`"required":["amount_minor","currency"],"description":"At most"}},` +
		`"additionalProperties":false,"type":"object","required":["from","price"]}`
	s := schemas.Of[search]()
	if diff := cmp.Diff(want, string(s.JSON)); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
	if s.Hash != schemas.Fingerprint(s.JSON) {
		t.Errorf("Hash = %s", s.Hash)
	}
	if diff := cmp.Diff([]string{"query", "skus", "limit", "from", "price"}, s.Names()); diff != "" {
		t.Errorf("Names (-want +got):\n%s", diff)
	}
	for range 5 {
		if again := schemas.Of[search](); !bytes.Equal(again.JSON, s.JSON) {
			t.Fatalf("the bytes changed:\n%s", again.JSON)
		}
	}
}

func TestEmptyStructIsAnObjectWithoutFields(t *testing.T) {
	s := schemas.Of[struct{}]()
	if want := `{"properties":{},"additionalProperties":false,"type":"object"}`; string(s.JSON) != want {
		t.Errorf("schema is %s", s.JSON)
	}
	if wrong := s.Check([]byte(`{}`)); wrong != nil {
		t.Errorf("Check({}) = %+v", wrong)
	}
	want := []schemas.Wrong{{Field: "a", Problem: "is not a field of this tool", Expected: "only these fields: none"}}
	if diff := cmp.Diff(want, s.Check([]byte(`{"a":1}`))); diff != "" {
		t.Errorf("Check (-want +got):\n%s", diff)
	}
}

// With invopop's ExpandedStruct the inner type would replace the outer one, whose bare name it shares. A type declared in a
// function has the bare name too.
func TestInnerTypeMayShareTheOuterTypesName(t *testing.T) {
	type inner = order
	type order struct {
		Order  inner  `json:"order"`
		Reason string `json:"reason"`
	}
	if diff := cmp.Diff([]string{"order", "reason"}, schemas.Of[order]().Names()); diff != "" {
		t.Errorf("Names (-want +got):\n%s", diff)
	}
}

type order struct {
	OrderNo string `json:"order_no"`
}

func TestPropertyTellsTheTypeOfAMember(t *testing.T) {
	for name, want := range map[string]string{
		"order_no": "string", "expected_version": "integer", "amount": "object", "lines": "array", "notify_customer": "boolean",
		"tags": "array", "rate": "number", "note": "object", "send_at": "string", "reason": "string",
	} {
		if got, ok := refundSchema.Property(name); !ok || got != want {
			t.Errorf("Property(%s) = %q, %v; want %q", name, got, ok, want)
		}
	}
	if got, ok := refundSchema.Property("orderNo"); ok {
		t.Errorf("Property(orderNo) = %q", got)
	}
}

func TestMistakesInAStructPanicAtStart(t *testing.T) {
	for name, c := range map[string]struct {
		describe func() *schemas.Schema
		says     string
	}{
		"not a struct":             {schemas.Of[[]string], "not a struct"},
		"an answer that is a list": {schemas.Answer[[]string], "not a struct"},
		"no json name":             {schemas.Of[struct{ A int }], "json name"},
		"a misspelt rule": {schemas.Of[struct {
			A int `json:"a" jsonschema:"minium=1"`
		}], "minium"},
		"a comma in a description": {schemas.Of[struct {
			A int `json:"a" jsonschema:"description=One, two"`
		}], "comma"},
		"a rule for another type": {schemas.Of[struct {
			A int `json:"a" jsonschema:"maxLength=1"`
		}], "does nothing"},
		"a bound that is no number": {schemas.Of[struct {
			A []struct {
				B int `json:"b" jsonschema:"minimum=one"`
			} `json:"a"`
		}], "needs a number"},
		"a pattern that does not compile": {schemas.Of[struct {
			A string `json:"a" jsonschema:"pattern=(?=x)"`
		}], "pattern"},
		"an example that does not fit": {schemas.Of[struct {
			A []struct {
				B string `json:"b" jsonschema:"pattern=^[0-9]+$,example=order"`
			} `json:"a"`
		}], "does not fit"},
		"a default that does not fit": {schemas.Of[struct {
			A int `json:"a" jsonschema:"maximum=5,default=10"`
		}], "does not fit"},
		"a type that contains itself": {schemas.Of[tree], "contains itself"},
		"a recursive answer":          {schemas.Answer[tree], "contains itself"},
		"a recursive result":          {schemas.Envelope[tree], "contains itself"},
		"a duration": {schemas.Of[struct {
			A time.Duration `json:"a"`
		}], "seconds"},
	} {
		func() {
			defer func() {
				if said := fmt.Sprint(recover()); !strings.Contains(said, c.says) {
					t.Errorf("%s: panic is %q, want %q in it", name, said, c.says)
				}
			}()
			c.describe()
		}()
	}
}

type tree struct {
	Children []tree `json:"children"`
}

type campaign struct {
	ID     string         `json:"campaign_id" jsonschema:"description=Which"`
	Status string         `json:"status" jsonschema:"enum=draft,enum=sent"`
	Kind   string         `json:"kind" jsonschema:"enum=email,enum=sms"`
	Cost   *money         `json:"cost,omitempty"`
	Extra  any            `json:"extra,omitempty"`
	Labels map[string]any `json:"labels,omitempty"`
	Rows   []any          `json:"rows,omitempty"`
	Sums   map[string]int `json:"sums,omitempty"`
	Note   *line          `json:"note,omitempty" jsonschema:"nullable"`
}

const parked = `{"status":"pending_approval","job_id":"job_01","poll":"/jobs/job_01","approval":{"needs":"2 people"},"preview":{"customers":2184}}`

func TestAnswerSchemaIsSlimOpenAndFitsAParkedRead(t *testing.T) {
	const want = `{"anyOf":[{"required":["campaign_id","status","kind"]},{"required":["status","job_id"]}],"properties":{` +
		`"campaign_id":{"type":"string"},"status":{"type":"string"},"kind":{"type":"string","enum":["email","sms"]},` +
		`"cost":{"properties":{"amount_minor":{"type":"integer"},"currency":{"type":"string","enum":["GBP","EUR","USD"]}},` +
		`"type":"object","required":["amount_minor","currency"]},"labels":{"type":"object"},"rows":{"type":"array"},` +
		`"sums":{"additionalProperties":{"type":"integer"},"type":"object"},` +
		`"note":{"oneOf":[{"properties":{"line":{"type":"integer"},"qty":{"type":"integer"}},"type":"object","required":["line","qty"]},{"type":"null"}]}` +
		`},"type":"object"}`
	s := schemas.Answer[campaign]()
	if diff := cmp.Diff(want, string(s.JSON)); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
	accepts(t, s, `{"campaign_id":"c","status":"sent","kind":"sms","simulated":true}`, parked)
	refuses(t, s, `{}`, `{"status":"sent","kind":"sms"}`, `{"campaign_id":"c","status":"sent","kind":"fax"}`, `{"campaign_id":1,"status":"sent","kind":"sms"}`)
}

func TestEnvelopeFitsEveryOutcomeOfAWrite(t *testing.T) {
	s := schemas.Envelope[money]()
	accepts(t, s, parked, `{"status":"done","result":{"amount_minor":1,"currency":"GBP"},"undo":"none"}`, `{"status":"queued","job_id":"j"}`,
		`{"status":"dry_run","preview":{"summary":"x"},"warnings":[]}`)
	refuses(t, s, `{}`, `{"status":"refused"}`, `{"status":"done","result":{"amount_minor":"1","currency":"GBP"}}`, `{"status":"queued","job_id":1}`)
	if len(s.JSON) >= 600 {
		t.Errorf("%d bytes: %s", len(s.JSON), s.JSON)
	}
}

// accepts asks a validator of its own making: the schema as clients get it, not as Check uses it.
func accepts(t *testing.T, s *schemas.Schema, answers ...string) {
	t.Helper()
	for _, answer := range answers {
		if err := validate(t, s, answer); err != nil {
			t.Errorf("%s does not fit: %v", answer, err)
		}
	}
}

func refuses(t *testing.T, s *schemas.Schema, answers ...string) {
	t.Helper()
	for _, answer := range answers {
		if validate(t, s, answer) == nil {
			t.Errorf("%s fits", answer)
		}
	}
}

func validate(t *testing.T, s *schemas.Schema, answer string) error {
	t.Helper()
	var doc, value any
	if err := json.Unmarshal(s.JSON, &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(answer), &value); err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("answer.json", doc); err != nil {
		t.Fatal(err)
	}
	return compiler.MustCompile("answer.json").Validate(value)
}

func BenchmarkOf(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		schemas.Of[refund]()
	}
}
