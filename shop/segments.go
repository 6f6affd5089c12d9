package shop

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/store"
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

// What a segment may be refused for.
var (
	ErrArchived = errors.New("the segment is put away")
	ErrInUse    = errors.New("a campaign that is scheduled or being sent goes to the segment")
)

// AddSegment stores a new segment and gives it with its id. A name that is taken, by a segment that is put away too, is
// ErrChanged.
func (d *Desk) AddSegment(s Segment) (Segment, error) {
	s.ID, s.CreatedAt = store.NewID("seg", d.tx.Now), d.tx.Now
	err := changed(d.tx.Exec(`INSERT INTO segments (merchant_id, segment_id, name, rule, created_at, created_by)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		d.merchant, s.ID, s.Name, jsonText(s.Rule), store.Micros(s.CreatedAt), s.CreatedBy))
	if err != nil {
		return s, fmt.Errorf("storing the segment: %w", err)
	}
	return s, nil
}

// SegmentTaken reports whether a segment of this name exists, or did once.
func (d *Desk) SegmentTaken(name string) (bool, error) {
	var n int
	err := d.tx.QueryRow("SELECT COUNT(*) FROM segments WHERE merchant_id = $1 AND name = $2", d.merchant, name).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("looking for the segment's name: %w", err)
	}
	return n > 0, nil
}

// ArchiveSegment puts a segment away. One that is put away already is ErrChanged, one that a campaign is about to use or
// using is ErrInUse.
//
// The segment's row goes first and is held; who begins to send looks at it through holdSegment. Whichever comes second
// sees what the first one did.
func (d *Desk) ArchiveSegment(id string) error {
	err := changed(d.tx.Exec("UPDATE segments SET archived_at = $1 WHERE merchant_id = $2 AND segment_id = $3 AND archived_at IS NULL",
		store.Micros(d.tx.Now), d.merchant, id))
	if err != nil {
		return fmt.Errorf("putting the segment away: %w", err)
	}
	var n int
	err = d.tx.QueryRow(`SELECT COUNT(*) FROM campaigns WHERE merchant_id = $1 AND segment_id = $2
		AND status IN ('scheduled', 'sending')`, d.merchant, id).Scan(&n)
	if err == nil && n > 0 {
		err = ErrInUse
	}
	return err
}

// holdSegment keeps a segment from being put away until the transaction ends.
func (d *Desk) holdSegment(id string) error {
	if id == "" {
		return nil
	}
	n, err := d.tx.Exec("UPDATE segments SET created_at = created_at WHERE merchant_id = $1 AND segment_id = $2 AND archived_at IS NULL",
		d.merchant, id)
	if err == nil && n == 0 {
		err = ErrArchived
	}
	return err
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
