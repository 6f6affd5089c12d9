package policy

import (
	"time"

	"github.com/dtcgate/dtcgate/gate/budget"
)

// Charges are what a call takes from the budgets that bound it, the profile's own among them.
func (p *Policy) Charges(f *Facts) []budget.Charge {
	if f.DryRun || f.free() {
		return nil
	}
	var all []budget.Charge
	class := p.Classify(f.Tool, f.Effect.Class)
	for i := range p.budgets {
		if b := &p.budgets[i]; b.fits(f, class) {
			all = p.charge(all, b, f)
		}
	}
	if own := p.profile(f.Profile); own != nil {
		for i := range own.days {
			all = p.charge(all, &own.days[i], f)
		}
	}
	return all
}

// Bounded reports whether a profile bounds by itself what a day's calls use up together.
func (p *Policy) Bounded(profile string) bool {
	own := p.profile(profile)
	return own != nil && own.Ceiling.Vector != nil
}

// charge appends what a call takes from one budget, if anything.
func (p *Policy) charge(all []budget.Charge, b *charger, f *Facts) []budget.Charge {
	c := budget.Charge{Budget: b.full, Subject: b.subject(f)}
	switch e := f.Effect; {
	case b.Calls != nil:
		c.Unit, c.Amount, c.Limit = "calls", 1, *b.Calls
	case b.Customers != nil && p.touches(f):
		c.Unit, c.Amount, c.Limit = "customers", max(1, e.Customers), *b.Customers // one at least, also where the tool names nobody
	case b.Money != nil && e.Money != nil:
		c.Unit, c.Amount, c.Limit = "money:"+string(b.Money.Currency), e.Money.AmountMinor, b.Money.AmountMinor
		if e.Money.Currency != b.Money.Currency {
			c.Limit = 0 // nothing can be said about money of another currency
		}
	}
	if c.Amount == 0 {
		return all
	}
	c.From, c.Until = budget.Period(b.Every, f.At, p.zone)
	return append(all, c)
}

func (b *Budget) subject(f *Facts) string {
	switch {
	case b.Per == PerMerchant:
		return "merchant"
	case b.Per == PerChain && f.Caller != "":
		return f.Caller
	}
	return f.Agent
}

// days are the budgets that a ceiling stands for.
func (v *Vector) days() []Budget {
	var all []Budget
	if v.Money.PerDayMinor > 0 {
		all = append(all, Budget{Name: "money", Per: PerKey, Every: budget.Day, Money: v.Money.perDay()})
	}
	if v.Customers.PerDay > 0 {
		all = append(all, Budget{Name: "customers", Per: PerKey, Every: budget.Day, Customers: &v.Customers.PerDay})
	}
	return all
}

// zoneTime is a call's time as people of the shop see it.
func (p *Policy) zoneTime(f *Facts) time.Time { return f.At.In(p.zone) }
