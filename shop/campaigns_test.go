package shop_test

import (
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/shop"
)

func TestSMSAreCountedAsTheyArePaidFor(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64
	}{
		{"", 1},
		{strings.Repeat("a", 160), 1},
		{strings.Repeat("a", 161), 2},
		{strings.Repeat("a", 306), 2},
		{strings.Repeat("a", 307), 3},
		{strings.Repeat("£", 160), 1},
		{strings.Repeat("€", 80), 1}, // two places each
		{strings.Repeat("€", 81), 2},
		{strings.Repeat("a", 69) + "“", 1}, // not in the alphabet of SMS: 70 fit
		{strings.Repeat("a", 70) + "“", 2},
		{strings.Repeat("😀", 35), 1}, // two units each
		{strings.Repeat("😀", 36), 2},
	} {
		if got := shop.SMSParts(c.text); got != c.want {
			t.Errorf("%.20q of %d bytes takes %d SMS, want %d", c.text, len(c.text), got, c.want)
		}
	}
}

func TestMessagesCostWhatThePriceListSays(t *testing.T) {
	desk := shop.Desk{Shop: shop.Shop{Currency: "GBP"}}
	long := strings.Repeat("a", 161)
	for _, c := range []struct {
		channel, body string
		recipients    int64
		want          string
	}{
		{shop.SMS, "short", 2184, "£87.36"},
		{shop.SMS, long, 2184, "£174.72"},
		{shop.SMS, "short", 0, "£0.00"},
		{shop.Email, long, 1, "£0.01"},
		{shop.Email, long, 1000, "£1.00"},
		{shop.Email, long, 1001, "£1.01"},
	} {
		got := desk.Cost(shop.Campaign{Channel: c.channel, Body: c.body}, c.recipients)
		if got.String() != c.want {
			t.Errorf("%d messages by %s of %d characters cost %s, want %s", c.recipients, c.channel, len(c.body), got, c.want)
		}
	}
}
