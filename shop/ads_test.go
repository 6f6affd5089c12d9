package shop_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// An adHouse is a shop with ads, and a clock that tests may move.
type adHouse struct {
	*testing.T
	db *store.DB
	// now is only moved while nobody else uses the database.
	now time.Time
}

func eachAdHouse(t *testing.T, tell func(h *adHouse)) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := &adHouse{T: t, db: db, now: sunday}
		db.Now = func() time.Time { return h.now }
		loadDemo(t, db)
		tell(h)
	})
}

func gbp(minor int64) shop.Money { return shop.Money{AmountMinor: minor, Currency: "GBP"} }

// at runs fn at the desk, in a transaction.
func (h *adHouse) at(fn func(d *shop.Desk) error) error {
	return h.db.InTx(h.Context(), func(tx *store.Tx) error {
		d, err := shop.At(tx, merchant)
		if err != nil {
			return err
		}
		return fn(d)
	})
}

func (h *adHouse) must(fn func(d *shop.Desk) error) {
	h.Helper()
	if err := h.at(fn); err != nil {
		h.Fatal(err)
	}
}

func (h *adHouse) exec(q string, args ...any) {
	h.Helper()
	if err := exec(h.T, h.db, q, args...); err != nil {
		h.Fatal(err)
	}
}

// account makes a connected account.
func (h *adHouse) account(capMinor int64) (a shop.AdAccount) {
	h.Helper()
	h.must(func(d *shop.Desk) (err error) {
		a, err = d.AddAdAccount(shop.AdAccount{Platform: "meta", Name: "Another", MonthCap: gbp(capMinor)})
		return err
	})
	h.exec("UPDATE ad_accounts SET status = 'connected' WHERE ad_account_id = $1", a.ID)
	return a
}

func (h *adHouse) day(n int) string { return shop.Day(h.now.AddDate(0, 0, n)) }

func (h *adHouse) launch(account string, daily int64, start, end string) (c shop.AdCampaign, err error) {
	err = h.at(func(d *shop.Desk) (err error) {
		c, err = d.LaunchAd(shop.AdCampaign{
			AccountID: account, Name: "One", Objective: "sales", Countries: []string{"Germany"}, SKU: "40010A",
			DailyBudget: gbp(daily), StartOn: start, EndOn: end,
		})
		return err
	})
	return c, err
}

func (h *adHouse) setBudget(c shop.AdCampaign, daily int64) (after shop.AdCampaign, err error) {
	err = h.at(func(d *shop.Desk) (err error) {
		after, err = d.SetAdBudget(c, gbp(daily))
		return err
	})
	return after, err
}

func (h *adHouse) pause(id string) (was string, err error) {
	err = h.at(func(d *shop.Desk) (err error) {
		was, err = d.PauseAd(id)
		return err
	})
	return was, err
}

// read gives an account with its campaigns.
func (h *adHouse) read(id string) (a shop.AdAccount) {
	h.Helper()
	h.must(func(d *shop.Desk) error {
		page, err := d.AdAccounts("", 30, shop.Cut{Limit: 50})
		for _, row := range page.Rows {
			if row.ID == id {
				a = row
			}
		}
		return err
	})
	return a
}

// committed adds up anew what an account's months are committed to: what this month has spent, and the whole budget of
// every campaign that runs for each day that is left.
func (h *adHouse) committed(id string) map[string]int64 {
	h.Helper()
	a, sums := h.read(id), map[string]int64{}
	sums[h.day(0)[:7]] = a.SpentThisMonth.AmountMinor
	for _, c := range a.Campaigns {
		for n := 0; c.Status == shop.AdActive && h.day(n) <= c.EndOn; n++ {
			if h.day(n) >= c.StartOn {
				sums[h.day(n)[:7]] += c.DailyBudget.AmountMinor
			}
		}
	}
	return sums
}

// within holds every month of an account to its cap.
func (h *adHouse) within(when, id string, capMinor int64) {
	h.Helper()
	for month, sum := range h.committed(id) {
		if sum > capMinor {
			h.Fatalf("%s: %s is committed to %d of %d", when, month, sum, capMinor)
		}
	}
}

func TestTheDatabaseHoldsTheRulesOfAds(t *testing.T) {
	eachAdHouse(t, func(h *adHouse) {
		for name, q := range map[string]string{
			"a budget below zero":         "UPDATE ad_campaigns SET daily_budget_minor = -1",
			"a campaign that ends before": "UPDATE ad_campaigns SET end_on = '2020-01-01'",
			"a cap of nothing":            "UPDATE ad_accounts SET month_cap_minor = 0",
			"more spent than the budget":  "UPDATE ad_days SET spent_minor = budget_minor + 1",
			"less than nothing spent":     "UPDATE ad_days SET spent_minor = -1",
			"a platform of its own":       "UPDATE ad_accounts SET platform = 'post'",
			"a status of its own":         "UPDATE ad_campaigns SET status = 'on'",
			"a day twice":                 "INSERT INTO ad_days SELECT merchant_id, ad_campaign_id, day, ad_account_id, 1, 1, 0, 0, 0 FROM ad_days",
		} {
			if err := exec(h.T, h.db, q); err == nil || errors.Is(err, store.ErrUnavailable) {
				h.Errorf("the database allowed %s: %v", name, err)
			}
		}
	})
}

func TestTheDemoHasAds(t *testing.T) {
	eachAdHouse(t, func(h *adHouse) {
		var all []shop.AdAccount
		h.must(func(d *shop.Desk) error {
			page, err := d.AdAccounts("", 90, shop.Cut{Limit: 10})
			all = page.Rows
			return err
		})
		var platforms, states []string
		for _, a := range all {
			platforms = append(platforms, a.Platform)
			h.within("as loaded", a.ID, a.MonthCap.AmountMinor)
			if a.SpentThisMonth.AmountMinor == 0 {
				h.Errorf("%s has spent nothing this month", a.Name)
			}
			for _, c := range a.Campaigns {
				states = append(states, c.Status)
				if c.Spent.AmountMinor == 0 || c.AttributedRevenue.AmountMinor == 0 {
					h.Errorf("%s spent %s and brought %s", c.Name, c.Spent, c.AttributedRevenue)
				}
			}
		}
		slices.Sort(platforms)
		slices.Sort(states)
		if fmt.Sprint(platforms, states) != "[google meta tiktok] [active active active ended ended paused]" {
			h.Error(platforms, states)
		}
		if n := number(h.T, h.db, "SELECT COUNT(*) FROM ad_days WHERE day > $1", h.day(-1)); n > 0 {
			h.Errorf("%d days are written down that are not over", n)
		}
		if n := number(h.T, h.db, `SELECT COUNT(*) FROM (SELECT d.ad_account_id FROM ad_days d JOIN ad_accounts a ON a.ad_account_id = d.ad_account_id
			GROUP BY d.ad_account_id, SUBSTR(d.day, 1, 7), a.month_cap_minor HAVING SUM(d.spent_minor) > a.month_cap_minor) AS over`); n > 0 {
			h.Errorf("%d months are over their cap", n)
		}
	})
}

// TestTheOrdersOfAdsAreOrders holds what is attributed to ads to what was sold: no order came of two of them.
func TestTheOrdersOfAdsAreOrders(t *testing.T) {
	inOneGoroutine(t)
	eachAdHouse(t, func(h *adHouse) {
		brought, days := number(h.T, h.db, "SELECT SUM(attributed_minor) FROM ad_days"), number(h.T, h.db, "SELECT COUNT(DISTINCT day) FROM ad_days")
		sold := number(h.T, h.db, "SELECT SUM(gross_minor) FROM sales_totals WHERE day IN (SELECT day FROM ad_days)")
		if brought > sold/4 || brought < sold/100 {
			h.Errorf("ads brought %d of the %d sold in %d days", brought, sold, days)
		}
	})
}

func TestPastSpendStaysWhatItWas(t *testing.T) {
	eachAdHouse(t, func(h *adHouse) {
		a := h.account(1000_00)
		c, err := h.launch(a.ID, 10_00, h.day(2), h.day(20))
		if err != nil {
			h.Fatal(err)
		}
		spent := func(want string, least, most int64) int64 {
			h.Helper()
			campaigns := h.read(a.ID).Campaigns
			if got := campaigns[0].Spent.AmountMinor; got >= least && got <= most {
				return got
			}
			h.Fatalf("%s: spent %s, want %d to %d", want, campaigns[0].Spent, least, most)
			return 0
		}
		spent("before it begins", 0, 0)
		h.now = h.now.AddDate(0, 0, 7)
		five := spent("after five days", 5*6_00, 5*10_00)
		raised, err := h.setBudget(c, 30_00)
		if err != nil {
			h.Fatal(err)
		}
		if spent("with another budget", five, five); raised.Version != 2 || raised.DailyBudget != gbp(30_00) {
			h.Errorf("after the rise it is %+v", raised)
		}
		h.now = h.now.AddDate(0, 0, 2)
		seven := spent("two days later", five+2*18_00, five+2*30_00)
		if was, err := h.pause(c.ID); was != shop.AdActive || err != nil {
			h.Errorf("pausing: it was %q, %v", was, err)
		}
		h.now = h.now.AddDate(0, 0, 3)
		spent("three days after it was paused", seven, seven)
		if was, err := h.pause(c.ID); was != shop.AdPaused || err != nil {
			h.Errorf("pausing again: it was %q, %v", was, err)
		}
		if _, err := h.setBudget(raised, 40_00); !errors.Is(err, shop.ErrChanged) {
			h.Errorf("another budget for a paused campaign: %v", err)
		}
		if n := number(h.T, h.db, "SELECT version FROM ad_campaigns WHERE ad_campaign_id = $1", c.ID); n != 3 {
			h.Errorf("its version is %d after launch, rise and pause, want 3", n)
		}
	})
}

func TestACampaignEndsByItself(t *testing.T) {
	eachAdHouse(t, func(h *adHouse) {
		a := h.account(1000_00)
		c, err := h.launch(a.ID, 10_00, h.day(0), h.day(1))
		if err != nil {
			h.Fatal(err)
		}
		h.now = h.now.AddDate(0, 0, 9)
		got := h.read(a.ID).Campaigns[0]
		if got.Status != shop.AdEnded || got.Spent.AmountMinor < 12_00 || got.Spent.AmountMinor > 20_00 {
			h.Errorf("after its last day it is %+v", got)
		}
		if _, err := h.pause(c.ID); !errors.Is(err, shop.ErrChanged) {
			h.Errorf("pausing what has ended: %v", err)
		}
		if _, err := h.setBudget(c, 5_00); !errors.Is(err, shop.ErrChanged) {
			h.Errorf("a budget for what has ended: %v", err)
		}
		if _, err := h.pause("adc_none"); !errors.Is(err, store.ErrNotFound) {
			h.Errorf("pausing what is not there: %v", err)
		}
		h.must(func(d *shop.Desk) error { return d.DisconnectAds(a.ID) })
		if err := h.at(func(d *shop.Desk) error { return d.DisconnectAds(a.ID) }); !errors.Is(err, shop.ErrChanged) {
			h.Errorf("disconnecting twice: %v", err)
		}
		if _, err := h.launch(a.ID, 1_00, h.day(0), h.day(1)); !errors.Is(err, shop.ErrChanged) {
			h.Errorf("a launch in an account that is disconnected: %v", err)
		}
	})
}

func TestTheCapHoldsByMonth(t *testing.T) {
	eachAdHouse(t, func(h *adHouse) { // 22 November: 9 days of it are left
		a := h.account(90_00)
		var over *shop.OverCap
		if _, err := h.launch(a.ID, 10_01, h.day(0), "2026-11-30"); !errors.As(err, &over) || over.Month != "2026-11" || over.Then != gbp(90_09) {
			h.Errorf("a launch for more than is left of the month: %v", err)
		}
		if _, err := h.launch(a.ID, 3_00, h.day(0), "2026-12-31"); !errors.As(err, &over) || over.Month != "2026-12" {
			h.Errorf("a launch for more than there is next month: %v", err)
		}
		first, err := h.launch(a.ID, 5_00, h.day(0), "2026-11-30")
		if err != nil {
			h.Fatal(err)
		}
		if _, err := h.launch(a.ID, 5_01, h.day(0), "2026-11-30"); !errors.As(err, &over) || over.Now != gbp(45_00) {
			h.Errorf("a second launch for more than is left: %v", err)
		}
		if _, err := h.setBudget(first, 10_01); !errors.As(err, &over) {
			h.Errorf("a budget above what is left: %v", err)
		}
		if first, err = h.setBudget(first, 10_00); err != nil {
			h.Errorf("a budget of all that is left: %v", err)
		}
		if _, err := h.launch(a.ID, 1, h.day(0), h.day(0)); !errors.As(err, &over) {
			h.Errorf("a launch in an account without room: %v", err)
		}
		h.within("when it is full", a.ID, 90_00)
		if _, err := h.pause(first.ID); err != nil {
			h.Fatal(err)
		}
		if _, err := h.launch(a.ID, 10_00, h.day(0), "2026-11-30"); err != nil {
			h.Errorf("a launch in the room that a pause made: %v", err)
		}
	})
}

func TestThereAreNoMoreAdsThanThereMayBe(t *testing.T) {
	eachAdHouse(t, func(h *adHouse) {
		a := h.account(1_000_000_00)
		for i := range shop.MaxRunningAds + 1 {
			_, err := h.launch(a.ID, 1, h.day(0), h.day(5))
			if full := errors.Is(err, shop.ErrFull); full != (i == shop.MaxRunningAds) || err != nil && !full {
				h.Fatalf("launch %d: %v", i, err)
			}
		}
		if got := h.read(a.ID); len(got.Campaigns) != shop.MaxRunningAds || got.CampaignsTotal != shop.MaxRunningAds {
			h.Errorf("%d campaigns are listed of %d", len(got.Campaigns), got.CampaignsTotal)
		}
		if err := h.at(func(d *shop.Desk) error { return d.DisconnectAds(a.ID) }); !errors.Is(err, shop.ErrChanged) {
			h.Errorf("disconnecting what runs: %v", err)
		}
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				err := h.at(func(d *shop.Desk) error {
					_, err := d.AddAdAccount(shop.AdAccount{Platform: "google", Name: "More", MonthCap: gbp(1)})
					return err
				})
				if err != nil && !errors.Is(err, shop.ErrFull) {
					h.Error(err)
				}
			})
		}
		all.Wait()
		if n := number(h.T, h.db, "SELECT COUNT(*) FROM ad_accounts"); n != shop.MaxAdAccounts {
			h.Errorf("%d accounts, want %d", n, shop.MaxAdAccounts)
		}
	})
}

// adMoves makes random changes in one account, as 64 callers do at once.
type adMoves struct {
	*adHouse
	account string
	sync.Mutex
	known []shop.AdCampaign // as somebody saw them
	undo  []adUndo
	done  map[string]int
}

// An adUndo puts a budget back if the campaign is still as the change left it.
type adUndo struct {
	left shop.AdCampaign
	back int64
}

// move makes one change, and takes what refuses it for an answer.
func (m *adMoves) move(r *rand.Rand) {
	seen := pick(m, r, &m.known)
	var c shop.AdCampaign
	var err error
	what := "launch"
	switch n := r.IntN(10); {
	case n < 4 || seen.ID == "":
		first := r.IntN(40)
		c, err = m.launch(m.account, int64(1+r.IntN(40_00)), m.day(first), m.day(first+r.IntN(50)))
	case n < 7:
		what = "budget"
		if c, err = m.setBudget(seen, int64(r.IntN(60_00))); err == nil {
			keep(m, &m.undo, adUndo{c, seen.DailyBudget.AmountMinor})
		}
	case n < 9:
		what = "undo"
		if u := pick(m, r, &m.undo); u.left.ID != "" {
			c, err = m.setBudget(u.left, u.back)
		}
	default:
		what = "pause"
		_, err = m.pause(seen.ID)
	}
	m.note(what, c, err)
}

// pick gives one of a list.
func pick[T any](m *adMoves, r *rand.Rand, from *[]T) (one T) {
	m.Lock()
	defer m.Unlock()
	if len(*from) > 0 {
		one = (*from)[r.IntN(len(*from))]
	}
	return one
}

func keep[T any](m *adMoves, in *[]T, one T) {
	m.Lock()
	defer m.Unlock()
	*in = append(*in, one)
}

func (m *adMoves) note(what string, c shop.AdCampaign, err error) {
	var over *shop.OverCap
	switch {
	case errors.As(err, &over):
		what += " over cap"
	case errors.Is(err, shop.ErrFull):
		what += " full"
	case errors.Is(err, shop.ErrChanged):
		what += " changed"
	case err != nil:
		m.Errorf("%s: %v", what, err)
	case c.ID != "":
		keep(m, &m.known, c)
	}
	m.Lock()
	defer m.Unlock()
	m.done[what]++
}

// TestTheCapHoldsWhateverComes makes random changes, one after the other and by 64 callers at once, while days pass.
func TestTheCapHoldsWhateverComes(t *testing.T) {
	eachAdHouse(t, func(h *adHouse) {
		const most = 900_00
		m := &adMoves{adHouse: h, account: h.account(most).ID, done: map[string]int{}}
		r := rand.New(rand.NewPCG(20, 26))
		for i := range 60 {
			m.move(r)
			h.within(fmt.Sprintf("after move %d", i), m.account, most)
			h.now = h.now.AddDate(0, 0, r.IntN(4)/3)
		}
		for round := range 6 {
			var all sync.WaitGroup
			for i := range 64 {
				all.Go(func() { m.move(rand.New(rand.NewPCG(uint64(round), uint64(i)))) })
			}
			all.Wait()
			h.within(fmt.Sprintf("after round %d", round), m.account, most)
			h.now = h.now.AddDate(0, 0, 5)
			h.within(fmt.Sprintf("five days after round %d", round), m.account, most)
		}
		for _, what := range []string{"launch", "budget", "undo", "pause", "launch over cap", "budget over cap"} {
			if m.done[what] == 0 {
				h.Errorf("the moves hold no %s: %v", what, m.done)
			}
		}
	})
}

// TestOneAccountHasRoomForSix lets 64 callers at once launch what six have room for.
func TestOneAccountHasRoomForSix(t *testing.T) {
	eachAdHouse(t, func(h *adHouse) {
		a := h.account(6 * 9 * 10_00)
		var all sync.WaitGroup
		for range 64 {
			all.Go(func() {
				var over *shop.OverCap
				if _, err := h.launch(a.ID, 10_00, h.day(0), "2026-11-30"); err != nil && !errors.As(err, &over) {
					h.Error(err)
				}
			})
		}
		all.Wait()
		if n := h.read(a.ID).CampaignsTotal; n != 6 {
			h.Errorf("%d were launched, want 6", n)
		}
	})
}

// TestAnImportHasAds loads a part of the real merchant, in which there are no ads.
func TestAnImportHasAds(t *testing.T) {
	inOneGoroutine(t)
	dir := needBundle(t, bundleDir+"/mini")
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := &adHouse{T: t, db: db, now: sunday}
		db.Now = func() time.Time { return h.now }
		for range 2 {
			if _, err := shop.Import(t.Context(), db, merchant, dir, shop.Options{Today: sunday}); err != nil {
				t.Fatal(err)
			}
		}
		if n := number(t, db, "SELECT COUNT(*) FROM ad_campaigns c JOIN variants v ON v.merchant_id = c.merchant_id AND v.sku = c.sku"); n != 6 {
			t.Errorf("%d campaigns show a SKU of the shop, want 6", n)
		}
		h.must(func(d *shop.Desk) error {
			page, err := d.AdAccounts("", 90, shop.Cut{Limit: 10})
			for _, a := range page.Rows {
				if a.SpentThisMonth.AmountMinor > a.MonthCap.AmountMinor {
					h.Errorf("%s has spent %s of %s", a.Name, a.SpentThisMonth, a.MonthCap)
				}
			}
			return err
		})
	})
}
