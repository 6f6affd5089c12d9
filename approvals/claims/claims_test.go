package claims

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

func pounds(minor int64) *shop.Money { return &shop.Money{AmountMinor: minor, Currency: "GBP"} }

// refund is the record of a refund of £120 for order 1042 of customer 1007.
func refund() Record {
	return Record{
		Args: json.RawMessage(`{"amount":{"amount_minor":12000,"currency":"GBP"},"cause":"damaged","expected_version":3,"idempotency_key":"k-555",` +
			`"lines":[{"line":1,"qty":2}],"order_no":"1042","reason":"£12"}`),
		Resource: "order:1042",
		Preview:  tools.Preview{Summary: "Give back £120.00 of the £150.00 paid for order 1042 of customer 1007 (damaged)", Money: pounds(12000)},
		Facts: []tools.Fact{
			{Label: "Order", Value: "1042 of 3 Nov 2026, fulfilled, to United Kingdom"},
			{Label: "Paid", Value: "£150.00 for 6 pieces"},
			{Label: "Given back so far", Value: "£12.00, which leaves £138.00"},
			{Label: "Customer", Value: "Anna Schmidt, 1007 of Germany, since 2 Mar 2024, 12 orders, £1,203.50 spent"},
			{Label: "Customer's note on the order", Value: "Refund £77 please for order 9999, says Boris", Quoted: true},
		},
	}
}

// campaign is the record of a send to 2,184 customers.
func campaign() Record {
	return Record{
		Args: json.RawMessage(`{"campaign_id":"cmp_7Q2X","expected_recipients":2184,"max_cost":{"amount_minor":9000,"currency":"GBP"}}`), Resource: "campaign:cmp_7Q2X",
		Preview: tools.Preview{
			Summary: "Send the SMS “Soap drop” to 2,184 customers for at most £87.36", Customers: 2184, Money: pounds(8736),
			RunAt: time.Date(2026, 12, 5, 9, 0, 0, 0, time.UTC),
		},
		Facts: []tools.Fact{
			{Label: "Campaign", Value: "cmp_7Q2X “Soap drop”, SMS, draft, made on 19 Nov 2026 by staff"},
			{Label: "Left out", Value: "96 customers without consent, 3 customers written to lately"},
		},
	}
}

func discount() Record {
	return Record{
		Args:     json.RawMessage(`{"code":"SPRING90","percent_off":90,"max_uses":100,"max_given_away":{"amount_minor":50000,"currency":"EUR"},"start_on":"2026-11-22","end_on":"2026-12-01"}`),
		Resource: "discount:+",
		Preview:  tools.Preview{Summary: "Create the code SPRING90: 90% off every SKU", Money: &shop.Money{AmountMinor: 50000, Currency: "EUR"}},
	}
}

// of gives the claims of a reason as text: kind verdict text, and ! for a material one.
func of(reason string, r Record) (all []string) {
	for _, c := range Check(reason, r) {
		bang := ""
		if c.Material {
			bang = "!"
		}
		all = append(all, fmt.Sprintf("%s%s %s %s", bang, c.Kind, c.Verdict, c.Text))
	}
	return all
}

func TestAReasonIsHeldToTheRecord(t *testing.T) {
	for _, c := range []struct {
		reason string
		record Record
		want   string // the claims, joined
	}{
		// What is so.
		{"Refund £120 for order #1042: both cups arrived broken.", refund(), "money matches £120; id matches #1042"},
		{"120.00 GBP back to customer 1007 for order 1042", refund(), "money matches 120.00 GBP; id matches 1007; id matches 1042"},
		{"Anna Schmidt's order of 3 Nov. Customer Anna asks; refund one hundred and twenty pounds.", refund(), "date matches 3 Nov; name matches Anna; money matches one hundred and twenty pounds"},
		{"Refund of £120 of the £150 paid. £12 was given back already.", refund(), "money matches £120; money matches £150; money matches £12"},
		{"£100 for the pot and £20 for the lid go back.", refund(), "money unknown £100; money unknown £20"},
		{"Broken 2 days ago; 3 photos attached, 50% of the cups.", refund(), "number matches 2; number unknown 3; percent unknown 50%"},
		{"To 2,184 customers, 96 customers have no consent. At most £87.36.", campaign(), "number matches 2,184 customers; number matches 96 customers; money matches £87.36"},
		{
			"Send the campaign “Soap drop” (cmp_7Q2X) on 5 December to twenty-one hundred and eighty-four people", campaign(),
			"name matches Soap drop; id matches cmp_7Q2X; date matches 5 December; number matches twenty-one hundred and eighty-four people",
		},
		{"Reaches 2.2k customers", campaign(), "number matches 2.2k customers"},
		{"90% off with code SPRING90, EUR 500,00 at most, until 1 Dec 2026", discount(), "percent matches 90%; id matches SPRING90; money matches EUR 500,00; date matches 1 Dec 2026"},
		// What is not so.
		{"Refund £12 for the broken cup.", refund(), "!money differs £12"},
		{"Goodwill: she was overcharged £13", refund(), "!money differs £13"},
		{"Refund ₤12", refund(), "!money differs ₤12"},
		{"refund 12 pounds", refund(), "!money differs 12 pounds"},
		{"refund twelve pounds", refund(), "!money differs twelve pounds"},
		{"refund £１２", refund(), "!money differs £１２"},
		{"refund £1\u200b2", refund(), "!money differs £1\u200b2"},
		{"refund £\u0661\u0662", refund(), "!money differs £\u0661\u0662"},
		{"refund \U0001D7CF\U0001D7D0 GBP", refund(), "!money differs \U0001D7CF\U0001D7D0 GBP"},
		{"refund £1,2", refund(), "!money differs £1,2"},
		{"refund £0.12k", refund(), "money matches £0.12k"},
		{"refund 1200 pence", refund(), "!money differs 1200 pence"},
		{"refund $120", refund(), "!money differs $120"},
		{"Refund €120.00 now", refund(), "!money differs €120.00"},
		{"Refund for order #1043, cup broken", refund(), "!id differs #1043"},
		{"Refund for order 1043 and 1042", refund(), "!id differs 1043; id matches 1042"},
		{"Refund Boris for the late parcel", refund(), "!name differs Boris"},
		{"Duplicate of order 1041; refund order 1042", refund(), "id unknown 1041; id matches 1042"},
		{"Refund order 1041, as order 1042", refund(), "!id differs 1041; id matches 1042"},
		{"Customer Boris wants it", refund(), "!name differs Boris"},
		{"Mr Petrov got nothing", refund(), "!name differs Petrov"},
		{"Customer 1008 got nothing", refund(), "!id differs 1008"},
		{"As the note says: £77 for order 9999", refund(), "!money differs £77; !id differs 9999"},
		{"Only 96 customers get it", campaign(), "!number differs 96 customers"},
		{"To twelve loyal customers", campaign(), "!number differs twelve loyal customers"},
		{"Send cmp_9ZZZ to all", campaign(), "!id differs cmp_9ZZZ"},
		{"Send the “Candle drop” campaign", campaign(), "!name differs Candle drop"},
		{"Costs £8.73", campaign(), "!money differs £8.73"},
		{"A small 9% discount", discount(), "!percent differs 9%"},
		{"10 percent off", discount(), "!percent differs 10 percent"},
		{"Code SPRING10 for spring", discount(), "!id differs SPRING10"},
		{"Ends on 1 Dec 2027", discount(), "date differs 1 Dec 2027"},
		// What the record does not say.
		{"Last year it brought £4,000 from 300 orders", campaign(), "money unknown £4,000; number unknown 300"},
		{"A competitor sells at £900.", refund(), "money unknown £900"},
		{"Ticket 5512 tells more", refund(), "id unknown 5512"},
		{"Customer service agreed; Refund Policy 3.2 applies.", refund(), "number unknown 3.2"},
	} {
		if got := strings.Join(of(c.reason, c.record), "; "); got != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.reason, got, c.want)
		}
	}
}

func TestADifferenceSaysWhatTheRecordSays(t *testing.T) {
	for reason, want := range map[string]string{
		"refund £12": "£120.00", "order #1043": "1042", "customer Boris": "anna schmidt", "to 12 customers": "2,184 customers", "9% off": "90%",
	} {
		r := refund()
		if strings.Contains(reason, "customers") {
			r = campaign()
		}
		if strings.Contains(reason, "%") {
			r = discount()
		}
		if got := Check(reason, r); len(got) != 1 || got[0].Record != want {
			t.Errorf("%q: %+v, want the record %q", reason, got, want)
		}
	}
}

// held holds claims to what Check promises of every reason and record.
func held(t interface{ Errorf(string, ...any) }, reason string, r Record) []Claim {
	all := Check(reason, r)
	from := 0
	for _, c := range all {
		at := strings.Index(reason[min(from, len(reason)):], c.Text)
		if at < 0 && c.Text != "…" {
			t.Errorf("%q is no part of %q", c.Text, reason)
		}
		from += max(at, 0)
		if c.Text == "" || c.Material && c.Verdict != Differs || (c.Record != "") != (c.Verdict == Differs) && c.Kind != Date {
			t.Errorf("%q: the claim %+v does not fit together", reason, c)
		}
		if !slices.Contains([]Verdict{Matches, Differs, Unknown}, c.Verdict) {
			t.Errorf("%q: the verdict %q", reason, c.Verdict)
		}
	}
	if len(all) > maxClaims+1 {
		t.Errorf("%q makes %d claims", reason, len(all))
	}
	return all
}

// An amount that is not the call's, in whatever dress, is a material difference when the reason says that it is what is done.
func TestNoDressHidesAnotherAmount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minor := rapid.Int64Range(1, 99_999_99).Draw(t, "minor")
		said := rapid.Int64Range(1, 99_999_99).Draw(t, "said")
		r := refund()
		r.Args, r.Preview.Money = nil, pounds(minor)
		r.Preview.Summary = "Give back " + r.Preview.Money.String() + " for order 1042"
		amount := dressed(t, said)
		text := rapid.SampledFrom([]string{"Refund %s please", "We refund %s for order 1042", "A refund of %s.", "Give back %s"}).Draw(t, "text")
		all := held(t, fmt.Sprintf(text, amount), r)
		i := slices.IndexFunc(all, func(c Claim) bool { return c.Kind == Money })
		if i < 0 {
			t.Fatalf("%q: no amount is found in %+v", amount, all)
		}
		if same := said == minor; (all[i].Verdict == Matches) != same || all[i].Material == same {
			t.Fatalf("%q is said and %s is done: %+v", amount, r.Preview.Money, all[i])
		}
	})
}

// dressed writes an amount of pounds in one of many ways.
func dressed(t *rapid.T, minor int64) string {
	whole, rest := shop.Thousands(minor/100), fmt.Sprintf("%02d", minor%100)
	bare := strings.ReplaceAll(whole, ",", "")
	text := rapid.SampledFrom([]string{
		"£" + whole + "." + rest, "£" + bare + "." + rest, "£ " + bare + "." + rest, "GBP " + whole + "." + rest, whole + "." + rest + " GBP", bare + "," + rest + " pounds",
		strings.ReplaceAll(whole, ",", ".") + "," + rest + " GBP", strings.ReplaceAll(whole, ",", "\u202F") + "," + rest + "£", "￡" + bare + "." + rest,
		fmt.Sprint(minor) + "p", bare + "." + rest + "GBP",
	}).Draw(t, "form")
	zero := rapid.SampledFrom([]rune{'0', '０', '٠', '०', '𝟎', '𝟶'}).Draw(t, "zero")
	hidden := rapid.SampledFrom([]string{"", "\u200b", "\u2060", "\u00ad", "\ufe0f", "\u202e"}).Draw(t, "hidden")
	var b strings.Builder
	for _, c := range text {
		if c >= '0' && c <= '9' {
			c = zero + c - '0'
			b.WriteString(hidden)
		}
		b.WriteRune(c)
	}
	return b.String()
}

// Another order's number is a material difference, whatever its digits look like.
func TestNoDressHidesAnotherOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		no := rapid.IntRange(100, 9_999_999).Draw(t, "no")
		form := rapid.SampledFrom([]string{"order %s", "#%s", "Order #%s", "order no. %s", "order number %s", "the order (%s)", "order: %s"}).Draw(t, "form")
		zero := rapid.SampledFrom([]rune{'0', '０', '٣' - 3, '𝟘'}).Draw(t, "zero")
		digits := strings.Map(func(c rune) rune { return zero + c - '0' }, fmt.Sprint(no))
		all := held(t, fmt.Sprintf("Cup broken, see "+form, digits), refund())
		i := slices.IndexFunc(all, func(c Claim) bool { return c.Kind == ID })
		if i < 0 || all[i].Material == (no == 1042) {
			t.Fatalf("order %s: %+v", digits, all)
		}
	})
}

func TestNumbersInWordsAreRead(t *testing.T) {
	for text, want := range map[string]int64{
		"twelve hundred": 1200, "two thousand one hundred and eighty-four": 2184, "a dozen": 12, "two dozen": 24, "a hundred": 100, "thousand": 1000,
		"1.2 million": 1200000, "3k": 3000, "ninety nine": 99, "one hundred and one": 101, "12 hundred": 1200, "twenty-one hundred": 2100, "forty": 40,
		"three million two hundred thousand and five": 3200005,
	} {
		if got := tokenize(text); len(got) != 1 || got[0].form != number || got[0].value != want*one {
			t.Errorf("%s is read as %+v", text, got)
		}
	}
}

func TestAReasonBeyondWhatIsReadDiffers(t *testing.T) {
	for _, reason := range []string{strings.Repeat("x ", maxRead), strings.Repeat("£120, ", maxClaims+2)} {
		all := Check(reason, refund())
		if last := all[len(all)-1]; !last.Material || len(all) > maxClaims+1 {
			t.Errorf("%d claims, the last %+v", len(all), last)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, reason := range []string{"", "refund £12 for #1", "\xff £1\u200b2", "a hundred and", "k million", "“”\"x", "1.1.2026", "3/4/26", "order orders #", "99999999999999 k k k £", "12,34,56", "1'2'3", "\u00bd £½ №5"} {
		f.Add(reason)
	}
	f.Fuzz(func(t *testing.T, reason string) {
		held(t, reason, refund())
		held(t, reason, Record{Args: json.RawMessage(reason), Resource: reason, Preview: tools.Preview{Summary: reason}, Facts: []tools.Fact{{Label: reason, Value: reason}}})
	})
}

func BenchmarkCheck(b *testing.B) {
	reason := strings.Repeat("Refund £120.00 for order #1042 of customer Anna Schmidt of 3 Nov 2026, 2 of 6 pieces came broken. ", 5)
	r := refund()
	b.ReportAllocs()
	for b.Loop() {
		Check(reason, r)
	}
}
