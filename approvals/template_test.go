package approvals

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/shop"
)

func whole64(n int64) *int64 { return &n }

func canonical(t *testing.T, text string) []byte {
	t.Helper()
	out, err := schemas.Canonical([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func raw(values ...string) (all []json.RawMessage) {
	for _, v := range values {
		all = append(all, json.RawMessage(v))
	}
	return all
}

var refunds = Template{
	V: 1, Merchant: "m", Agent: "key_a", Tool: "dtc_refund_order", SchemaHash: "s", Count: 3, Until: time.Unix(2e9, 0).UTC(),
	Each: Amounts{Money: &shop.Money{AmountMinor: 1000, Currency: "GBP"}}, Total: Amounts{Money: &shop.Money{AmountMinor: 2000, Currency: "GBP"}},
	Arguments: map[string]Bound{
		"order_no": {Any: true},
		"amount":   {Money: &shop.Money{AmountMinor: 1000, Currency: "GBP"}},
		"cause":    {OneOf: raw(`"goodwill"`, `"damaged"`)},
		"qty":      {From: whole64(1), To: whole64(5)},
		"lines":    {OneOf: raw(`[{"line":1}]`)},
	},
}

const fits = `{"order_no":"70001","amount":{"amount_minor":1000,"currency":"GBP"},"cause":"goodwill","qty":5,"lines":[{"line":1}]`

func TestATemplateFitsWhatItSaysAndNothingElse(t *testing.T) {
	for args, want := range map[string]bool{
		fits + `}`: true,
		fits + `,"reason":"whatever it is","idempotency_key":"k","expected_version":7,"dry_run":false}`: true,
		fits + `,"notify_customer":true}`:                      false, // an argument that the template does not know
		strings.Replace(fits, `"qty":5,`, ``, 1) + `}`:         false, // one is missing
		strings.Replace(fits, `5`, `6`, 1) + `}`:               false,
		strings.Replace(fits, `:5`, `:0`, 1) + `}`:             false,
		strings.Replace(fits, `:5`, `:5.0`, 1) + `}`:           false,
		strings.Replace(fits, `:5`, `:5e0`, 1) + `}`:           false,
		strings.Replace(fits, `:5`, `:"5"`, 1) + `}`:           false,
		strings.Replace(fits, `1000`, `0`, 1) + `}`:            true,
		strings.Replace(fits, `1000`, `1001`, 1) + `}`:         false,
		strings.Replace(fits, `1000`, `-1`, 1) + `}`:           false,
		strings.Replace(fits, `1000`, `1e3`, 1) + `}`:          false,
		strings.Replace(fits, `GBP`, `EUR`, 1) + `}`:           false,
		strings.Replace(fits, `"GBP"`, `"GBP","x":1`, 1) + `}`: false,
		strings.Replace(fits, `goodwill`, `Goodwill`, 1) + `}`: false,
		strings.Replace(fits, `goodwill`, `damaged`, 1) + `}`:  true,
		strings.Replace(fits, `"70001"`, `["70001"]`, 1) + `}`: false,
		strings.Replace(fits, `"70001"`, `{"a":1}`, 1) + `}`:   false,
		strings.Replace(fits, `"70001"`, `null`, 1) + `}`:      false,
		strings.Replace(fits, `"70001"`, `70001`, 1) + `}`:     true,
		strings.Replace(fits, `"line":1`, `"line":2`, 1) + `}`: false,
		`{}`: false,
	} {
		if got := refunds.Fits(canonical(t, args)); got != want {
			t.Errorf("%s: %v, want %v", args, got, want)
		}
	}
	if refunds.Fits([]byte(`nothing`)) {
		t.Error("what is no JSON fits")
	}
}

func TestASealHoldsEveryByteOfATemplate(t *testing.T) {
	text, err := refunds.Written()
	if err != nil {
		t.Fatal(err)
	}
	again, err := Unseal(text, Seal(text))
	if err != nil {
		t.Fatal(err)
	}
	if rewritten, _ := again.Written(); string(rewritten) != string(text) {
		t.Errorf("read and written again it is %s, want %s", rewritten, text)
	}
	for i := range text {
		changed := slices.Clone(text)
		changed[i] ^= 1
		if _, err := Unseal(changed, Seal(text)); err == nil {
			t.Fatalf("with byte %d changed it still fits its seal", i)
		}
	}
}

// naively matches in another way: on decoded values, with numbers of any size.
func naively(t Template, args map[string]any) bool {
	for name, value := range args {
		b, named := t.Arguments[name]
		if !named {
			if name != "reason" && name != "idempotency_key" && name != "dry_run" && !strings.HasPrefix(name, "expected_") {
				return false
			}
			continue
		}
		if !naiveBound(b, value) {
			return false
		}
	}
	for name := range t.Arguments {
		if _, there := args[name]; !there {
			return false
		}
	}
	return true
}

func naiveBound(b Bound, value any) bool {
	switch {
	case b.Any:
		switch value.(type) {
		case string, json.Number, bool:
			return true
		}
		return false
	case b.Money != nil:
		m, ok := value.(map[string]any)
		return ok && len(m) == 2 && m["currency"] == b.Money.Currency && between(m["amount_minor"], 0, b.Money.AmountMinor)
	case len(b.OneOf) > 0:
		return slices.ContainsFunc(b.OneOf, func(one json.RawMessage) bool {
			text, _ := json.Marshal(value)
			same, _ := schemas.Canonical([]byte(`{"v":` + string(text) + `}`))
			want, _ := schemas.Canonical([]byte(`{"v":` + string(one) + `}`))
			return string(same) == string(want)
		})
	}
	return between(value, *b.From, *b.To)
}

func between(value any, low, high int64) bool {
	n, ok := value.(json.Number)
	if !ok {
		return false
	}
	exact, ok := new(big.Rat).SetString(n.String())
	return ok && exact.Cmp(big.NewRat(low, 1)) >= 0 && exact.Cmp(big.NewRat(high, 1)) <= 0
}

// What a grant lets through its bounds hold: a second matcher, which knows nothing of the first, agrees. It may hold more, where a number is
// written in another way than as a whole one.
func TestAGrantNeverLetsThroughWhatItsBoundsDoNotHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 11))
	pick := func(all ...string) string { return all[rng.IntN(len(all))] }
	values := func() string {
		return pick(`"70001"`, `"goodwill"`, `"damaged"`, `0`, `1`, `3`, `5`, `6`, `-1`, `5.0`, `1e0`, `true`, `null`, `[]`, `[{"line":1}]`, `{"a":1}`,
			`{"amount_minor":1000,"currency":"GBP"}`, `{"amount_minor":1001,"currency":"GBP"}`, `{"amount_minor":1,"currency":"EUR"}`,
			`{"amount_minor":1,"currency":"GBP","x":1}`, `{"amount_minor":"1","currency":"GBP"}`, `{"currency":"GBP"}`)
	}
	bound := func() Bound {
		switch rng.IntN(4) {
		case 0:
			return Bound{OneOf: raw(string(values()), string(values()))}
		case 1:
			low := rng.Int64N(4) - 1
			return Bound{From: &low, To: whole64(low + rng.Int64N(6))}
		case 2:
			return Bound{Money: &shop.Money{AmountMinor: rng.Int64N(1002), Currency: "GBP"}}
		}
		return Bound{Any: true}
	}
	names := []string{"a", "b", "reason", "expected_version", "idempotency_key"}
	var let, kept int
	for range 50_000 {
		template := Template{Arguments: map[string]Bound{}}
		args := []string{}
		for _, name := range names {
			if name < "c" && rng.IntN(4) > 0 {
				template.Arguments[name] = bound()
			}
			if rng.IntN(3) > 0 {
				args = append(args, fmt.Sprintf("%q:%s", name, values()))
			}
		}
		text := canonical(t, "{"+strings.Join(args, ",")+"}")
		var decoded map[string]any
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		if err := d.Decode(&decoded); err != nil {
			t.Fatal(err)
		}
		fits, naive := template.Fits(text), naively(template, decoded)
		if fits && !naive {
			t.Fatalf("%s fits %+v", text, template.Arguments)
		}
		if naive && !fits && !strings.ContainsAny(string(text), ".e") {
			t.Fatalf("%s does not fit %+v", text, template.Arguments)
		}
		if fits {
			let++
		} else {
			kept++
		}
	}
	if let < 1000 || kept < 1000 {
		t.Errorf("%d fitted and %d did not: too few to say anything", let, kept)
	}
}

func TestAmountsAreWithinOthersOfTheirCurrency(t *testing.T) {
	money := func(n int64, currency string) Amounts {
		return Amounts{Money: &shop.Money{AmountMinor: n, Currency: currency}}
	}
	for _, c := range []struct {
		a, most Amounts
		want    bool
	}{
		{Amounts{}, Amounts{}, true},
		{money(0, "EUR"), Amounts{}, true},
		{money(1, "GBP"), Amounts{}, false},
		{money(1, "GBP"), money(1, "GBP"), true},
		{money(2, "GBP"), money(1, "GBP"), false},
		{money(1, "EUR"), money(1, "GBP"), false},
		{money(-1, "GBP"), money(1, "GBP"), false},
		{Amounts{Customers: 1}, Amounts{Customers: 1}, true},
		{Amounts{Customers: 2}, Amounts{Customers: 1}, false},
		{Amounts{Customers: -1}, Amounts{Customers: 1}, false},
	} {
		if got := c.a.Within(c.most); got != c.want {
			t.Errorf("%s within %s: %v", c.a, c.most, got)
		}
	}
}

// Whoever satisfies the rule that stands for two satisfies each of them, where the two let the same people vote.
func TestBothRulesAskForWhatEachAsks(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	roles := []string{"finance", "manager", "security"}
	rule := func() Rule {
		r := Rule{People: rng.IntN(4), From: roles}
		for range rng.IntN(3) {
			r.Roles = append(r.Roles, roles[rng.IntN(3)])
		}
		r.Expires, r.Grants = time.Duration(1+rng.IntN(5))*time.Hour, rng.IntN(2) == 0
		return r
	}
	met := 0
	for range 20_000 {
		a, b := rule(), rule()
		both := a.Both(b)
		var yes [][]string
		for range rng.IntN(6) {
			person := []string{roles[rng.IntN(3)]}
			if rng.IntN(3) == 0 {
				person = append(person, roles[rng.IntN(3)])
			}
			yes = append(yes, person)
		}
		if both.short(yes).met() {
			met++
			if !a.short(yes).met() || !b.short(yes).met() {
				t.Fatalf("%v satisfy %+v, and not %+v and %+v", yes, both, a, b)
			}
		}
		if both.timeToDecide() > min(a.timeToDecide(), b.timeToDecide()) || both.Grants && (!a.Grants || !b.Grants) {
			t.Fatalf("%+v of %+v and %+v", both, a, b)
		}
	}
	if met < 1000 {
		t.Errorf("only %d were satisfied", met)
	}
	one, other := Rule{People: 1, From: []string{"a", "b"}}, Rule{People: 1, From: []string{"b", "c"}}
	if v := one.Both(other).Voters(0); !slices.Equal(v, []string{"b"}) {
		t.Errorf("%v may vote", v)
	}
	if v := (Rule{People: 1}).Both(other).Voters(0); !slices.Equal(v, []string{"b", "c"}) {
		t.Errorf("%v may vote", v)
	}
}
