package shop

import (
	"cmp"
	"slices"
	"time"
)

// Names that every demo has.
const (
	TestSegment = "test-team" // people of the shop's own, for trial sends
	teamTag     = "team"
	teamSize    = 8
)

// addSegments makes the segments that every demo merchant starts with, and the team that trial sends go to: customers
// who agreed to both channels, picked by their numbers.
func (c *Contents) addSegments() {
	team := []*Customer{}
	for i := range c.Customers {
		if p := &c.Customers[i]; !p.EmailConsentAt.IsZero() && !p.SMSConsentAt.IsZero() {
			team = append(team, p)
		}
	}
	slices.SortFunc(team, func(a, b *Customer) int { return cmp.Compare(hash(teamTag, a.No), hash(teamTag, b.No)) })
	for _, p := range team[:min(teamSize, len(team))] {
		p.Tags = append(p.Tags, teamTag)
	}
	until := c.Shop.DataUntil
	thousand := c.money(1000_00)
	for i, s := range []Segment{
		{Name: TestSegment, Rule: Rule{TagsAny: []string{teamTag}}},
		{Name: "United Kingdom", Rule: Rule{Country: "United Kingdom"}},
		{Name: "Best customers", Rule: Rule{MinOrders: 3, MinSpent: &thousand}},
		{Name: "Recent buyers", Rule: Rule{LastOrderAfter: Day(until.AddDate(0, 0, -60))}},
		{Name: "Not seen for half a year", Rule: Rule{LastOrderBefore: Day(until.AddDate(0, 0, -182))}},
		{Name: "Christmas shoppers", Rule: Rule{BoughtCategory: "christmas"}},
	} {
		s.CreatedAt = until.AddDate(0, -2, i).Truncate(time.Hour)
		s.CreatedBy = "staff"
		s.ID = fixedID("seg", s.CreatedAt, s.Name)
		c.Segments = append(c.Segments, s)
	}
}

// fixedID is an id of the form of store.NewID that depends on nothing but its arguments, so that one seed gives one
// shop: prefix, time in milliseconds, and a hash of the key where a new id has chance.
func fixedID(prefix string, at time.Time, key string) string {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	hi, lo := uint64(at.UnixMilli())<<16|7<<12, 2<<62|hash(prefix, key)>>2
	var b [26]byte
	for i := range b {
		b[25-i] = digits[lo&31]
		lo, hi = lo>>5|hi<<59, hi>>5
	}
	return prefix + "_" + string(b[:])
}
