package shop

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

var sunday = time.Date(2026, 11, 22, 9, 30, 0, 0, London)

// digest covers every field, also those that no JSON shows.
func digest(c *Contents) string { return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%+v", *c))) }

func TestSameSeedSameShop(t *testing.T) {
	one, later := digest(Generate(7, sunday)), digest(Generate(7, sunday.Add(9*time.Hour)))
	if one != later {
		t.Error("two runs with one seed on one day differ")
	}
	if one == digest(Generate(8, sunday)) {
		t.Error("two seeds give one shop")
	}
}

func TestGeneratedShopLooksLikeAShop(t *testing.T) {
	c := Generate(1, sunday)
	s := c.Summary()
	for what, got := range map[string][3]int64{
		"products":                  {int64(s.Products), 115, 125},
		"customers":                 {int64(s.Customers), 300, 300},
		"orders":                    {int64(s.Orders), 2000, 2000},
		"tickets":                   {int64(s.Tickets), 40, 40},
		"campaigns":                 {int64(s.Campaigns), 6, 12},
		"refunds, percent of gross": {100 * s.Refunded.AmountMinor / s.Gross.AmountMinor, 3, 8},
		"median order":              {quantile(c.Orders, 0.5, func(o Order) int64 { return o.Subtotal.AmountMinor }), 270_00, 340_00},
		"99th percentile of orders": {quantile(c.Orders, 0.99, func(o Order) int64 { return o.Subtotal.AmountMinor }), 2000_00, 6000_00},
		"median refund":             {quantile(c.Refunds, 0.5, func(r Refund) int64 { return r.Amount.AmountMinor }), 9_00, 16_00},
		"planted letters":           {int64(planted()), 12, 12},
		"codes used":                {c.Discounts[0].Uses, 20, 400},
	} {
		if got[0] < got[1] || got[0] > got[2] {
			t.Errorf("%s: %d, want %d to %d", what, got[0], got[1], got[2])
		}
	}
	if s.LastDay != "2026-11-21" || s.FirstDay < "2025-10-20" || s.FirstDay > "2025-11-10" {
		t.Errorf("the orders go from %s to %s, want 13 months up to yesterday", s.FirstDay, s.LastDay)
	}
}

func quantile[T any](list []T, q float64, of func(T) int64) int64 {
	var all []int64
	for _, v := range list {
		all = append(all, of(v))
	}
	slices.Sort(all)
	return all[int(q*float64(len(all)))]
}

func planted() (n int) {
	for _, l := range letterPlans {
		if l.planted {
			n++
		}
	}
	return n
}

func TestContactDataIsMadeUp(t *testing.T) {
	mail, phone := regexp.MustCompile(`^c[0-9]+@example\.com$`), regexp.MustCompile(`^07700 900[0-9]{3}$`)
	c := Generate(1, sunday)
	var byMail, bySMS, british int
	for _, p := range c.Customers {
		if !mail.MatchString(p.Email) || p.Phone != "" && !phone.MatchString(p.Phone) || !p.ContactSynthetic {
			t.Errorf("customer %s has contact data that could be somebody's: %s %s", p.No, p.Email, p.Phone)
		}
		if p.Phone != "" {
			british++
		}
		if !p.EmailConsentAt.IsZero() {
			byMail++
		}
		if !p.SMSConsentAt.IsZero() {
			bySMS++
		}
	}
	if share := 100 * byMail / len(c.Customers); share < 55 || share > 69 {
		t.Errorf("%d%% agreed to e-mail, want about 62%%", share)
	}
	if share := 100 * bySMS / british; share < 28 || share > 42 {
		t.Errorf("%d%% of those with a phone agreed to SMS, want about 35%%", share)
	}
}

func TestFixedIDsTellTheirTime(t *testing.T) {
	id := fixedID("seg", sunday, "anything")
	if at, ok := store.IDTime(id); !ok || !at.Equal(sunday) {
		t.Errorf("%s tells %v (%v), want %v", id, at, ok, sunday)
	}
}

func TestSegmentRulesGoThroughJSON(t *testing.T) {
	for _, s := range Generate(1, sunday).Segments {
		var back Rule
		if err := json.Unmarshal([]byte(jsonText(s.Rule)), &back); err != nil || jsonText(back) != jsonText(s.Rule) {
			t.Errorf("%s: %s comes back as %s (%v)", s.Name, jsonText(s.Rule), jsonText(back), err)
		}
	}
}
