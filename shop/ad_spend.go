package shop

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// What ads spend is made up, for there is no public data of it and no platform behind the shop.
//
// The days that the loader knows follow the shop's traffic: a campaign spends by the orders of the day, up to its
// budget, and some of those very orders are taken to have come of it (demo_ads.go). The days after that are a fixed
// share of the day's budget, picked by campaign and day, so that everybody who asks is told the same; nothing is said
// to have come of them, since no order came. A day is spent when it is over, by the budget the campaign then has. Reads
// work such days out; whoever changes a campaign's budget or stops it first writes them down as they were.
//
// A month is committed to what its days have spent and, from today on, to the whole budget of every campaign that runs.
// No day spends more than its budget, so that an account committed to no more than its cap never spends more.

// An adDay is what a campaign spent and brought on one day.
type adDay struct {
	Campaign, Account, Day string
	Budget, Spent          int64
	Clicks                 int64
	Orders, Attributed     int64
	from                   []string // the orders themselves, where the loader took them from a day
}

// on makes up a day of c that no order is known of.
func (c AdCampaign) on(day string) adDay {
	h := hash("ad day", c.ID+day)
	spent := c.DailyBudget.AmountMinor * int64(60+h%41) / 100
	return adDay{
		Campaign: c.ID, Account: c.AccountID, Day: day, Budget: c.DailyBudget.AmountMinor, Spent: spent, Clicks: clicksFor(spent, h),
	}
}

// clicksFor is how many clicks some money buys, at 25p to 64p each.
func clicksFor(spent int64, h uint64) int64 { return spent / int64(25+h>>8%40) }

// unwritten are the days that c has spent on and that no row tells of. today is not over.
func (c AdCampaign) unwritten(today string) iter.Seq[string] {
	last := min(c.EndOn, dayBefore(today))
	if c.Status == AdPaused {
		last = c.SpentUntil
	}
	return eachDay(max(c.StartOn, nextDay(c.SpentUntil)), last)
}

// writtenUntil is SpentUntil when no day of c is unwritten any more.
func (c AdCampaign) writtenUntil(today string) string { return max(c.SpentUntil, dayBefore(today)) }

// eachDay goes through the days from first to last, both included.
func eachDay(first, last string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for day := first; day <= last; day = nextDay(day) {
			if !yield(day) {
				return
			}
		}
	}
}

func nextDay(day string) string   { return moveDay(day, 1) }
func dayBefore(day string) string { return moveDay(day, -1) }

// moveDay moves a day that is known to be one.
func moveDay(day string, by int) string {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		panic(err) // days of the table, or checked before
	}
	return t.AddDate(0, 0, by).Format(time.DateOnly)
}

func monthOf(day string) string { return day[:len("2006-01")] }

// fillSpent adds to campaigns what they spent and brought in so many days up to yesterday.
func (d *Desk) fillSpent(campaigns []AdCampaign, days int) error {
	if len(campaigns) == 0 {
		return nil
	}
	from, ids := moveDay(d.today(), -days), make([]string, len(campaigns))
	for i, c := range campaigns {
		ids[i] = c.ID
	}
	q := sqlText(`SELECT ad_campaign_id, CAST(SUM(spent_minor) AS BIGINT), CAST(SUM(attributed_minor) AS BIGINT) FROM ad_days
		WHERE merchant_id = ?`, d.merchant).add(" AND ad_campaign_id IN ("+marks(len(ids))+")", values(ids)...).
		add(" AND day >= ? AND day < ? GROUP BY ad_campaign_id", from, d.today())
	written, err := store.All(d.tx, func(r store.Row) (day adDay, err error) {
		return day, r.Scan(&day.Campaign, &day.Spent, &day.Attributed)
	}, q.sql(), q.args...)
	if err != nil {
		return fmt.Errorf("adding up what ads spent: %w", err)
	}
	for i := range campaigns {
		c := &campaigns[i]
		for _, w := range written {
			if w.Campaign == c.ID {
				c.Spent.AmountMinor, c.AttributedRevenue.AmountMinor = w.Spent, w.Attributed
			}
		}
		for day := range c.unwritten(d.today()) {
			if day >= from {
				c.Spent.AmountMinor += c.on(day).Spent
			}
		}
	}
	return nil
}

// FillSpent gives c with what it spent and brought in the last 30 days.
func (d *Desk) FillSpent(c AdCampaign) (AdCampaign, error) {
	one := []AdCampaign{c}
	err := d.fillSpent(one, 30)
	return one[0], err
}

// writeDays writes down the days of c that have no row yet. Its row is held, so that nobody else does.
func (d *Desk) writeDays(c AdCampaign) error {
	var rows [][]any
	for day := range c.unwritten(d.today()) {
		rows = append(rows, append([]any{d.merchant}, c.on(day).row()...))
	}
	if err := d.tx.Insert("ad_days", append([]string{"merchant_id"}, adDayCols...), rows); err != nil {
		return fmt.Errorf("writing down what an ad spent: %w", err)
	}
	return nil
}

var adDayCols = []string{"ad_campaign_id", "day", "ad_account_id", "budget_minor", "spent_minor", "clicks", "orders", "attributed_minor"}

func (d adDay) row() []any {
	return []any{d.Campaign, d.Day, d.Account, d.Budget, d.Spent, d.Clicks, d.Orders, d.Attributed}
}

// adSpentThisMonth is what the days of this month that are over have cost.
func (d *Desk) adSpentThisMonth(account string) (Money, error) {
	sums, err := d.adMonths(account, func(c AdCampaign, sums map[string]int64) { c.spend(sums, d.today()) })
	return d.money(sums[monthOf(d.today())]), err
}

// spend adds to sums what c spent on days that no row tells of.
func (c AdCampaign) spend(sums map[string]int64, today string) {
	for day := range c.unwritten(today) {
		sums[monthOf(day)] += c.on(day).Spent
	}
}

// commit adds to sums what c spent on days that no row tells of, and what it may spend from today on.
func (c AdCampaign) commit(sums map[string]int64, today string) {
	c.spend(sums, today)
	for day := range eachDay(max(c.StartOn, today), c.EndOn) {
		sums[monthOf(day)] += c.DailyBudget.AmountMinor
	}
}

// adMonths adds up the months of an account from this one on: the rows, and what add says of each campaign that nobody
// stopped.
func (d *Desk) adMonths(account string, add func(AdCampaign, map[string]int64)) (map[string]int64, error) {
	first := monthOf(d.today()) + "-01"
	active, err := d.activeAds(account, first)
	if err != nil {
		return nil, err
	}
	sums := map[string]int64{}
	_, err = store.All(d.tx, func(r store.Row) (struct{}, error) {
		var month string
		var minor int64
		err := r.Scan(&month, &minor)
		sums[month] += minor
		return struct{}{}, err
	}, `SELECT SUBSTR(day, 1, 7) AS month, CAST(SUM(spent_minor) AS BIGINT) FROM ad_days
		WHERE merchant_id = $1 AND ad_account_id = $2 AND day >= $3 GROUP BY SUBSTR(day, 1, 7)`, d.merchant, account, first)
	if err != nil {
		return nil, fmt.Errorf("adding up what ads spent: %w", err)
	}
	for _, c := range active {
		add(c, sums)
	}
	return sums, nil
}

// An AdMonth is what a month of an account is committed to, now and after a change.
type AdMonth struct {
	Month     string // 2026-12
	Now, Then Money
	Cap       Money
}

// An OverCap says that a month of an account has no room for a change.
type OverCap struct{ AdMonth }

func (o *OverCap) Error() string {
	return fmt.Sprintf("%s is committed to %s of %s and would be to %s", o.Month, o.Now, o.Cap, o.Then)
}

// AdMonths tells what the account's months are committed to now, and when c has budget a day from today on; c is one of
// its campaigns, or a new one of which nothing is committed yet. It answers an OverCap for the first month that would
// rise beyond the account's cap.
func (d *Desk) AdMonths(a AdAccount, c AdCampaign, budget Money) ([]AdMonth, error) {
	today := d.today()
	now, err := d.adMonths(a.ID, func(c AdCampaign, sums map[string]int64) { c.commit(sums, today) })
	if err != nil {
		return nil, err
	}
	more := map[string]int64{}
	for day := range eachDay(max(c.StartOn, today), c.EndOn) {
		more[monthOf(day)] += budget.AmountMinor - c.DailyBudget.AmountMinor
	}
	months := []AdMonth{}
	for _, month := range slices.Sorted(maps.Keys(more)) {
		m := AdMonth{month, d.money(now[month]), d.money(now[month] + more[month]), a.MonthCap}
		if more[month] > 0 && m.Then.AmountMinor > m.Cap.AmountMinor {
			return nil, &OverCap{m}
		}
		months = append(months, m)
	}
	return months, nil
}

// DaysBetween is how many days there are from one to another, both included.
func DaysBetween(from, to string) (n int64) {
	for range eachDay(from, to) {
		n++
	}
	return n
}
