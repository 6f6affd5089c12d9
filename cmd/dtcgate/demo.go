package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
)

type demoCmds struct {
	Load   demoLoad   `cmd:"" help:"Fill the demo merchant's shop with generated data."`
	Import demoImport `cmd:"" help:"Fill the demo merchant's shop with a real retailer's data."`
}

// demoName is the merchant that demo data belongs to.
const demoName = "demo"

// demoSeed is the seed that a demo is generated from when none is named.
const demoSeed = 1

type demoLoad struct {
	asJSON
	Seed int64 `default:"1" help:"The same seed gives the same data."`
}

func (c *demoLoad) Run(ctx context.Context, a *app) error {
	return a.fill(ctx, c.asJSON, func(db *store.DB, m auth.Merchant) (shop.Summary, error) {
		return shop.LoadDemo(ctx, db, m.ID, c.Seed, db.Now())
	})
}

type demoImport struct {
	asJSON
	Path      string `arg:"" help:"A directory of prepared CSV files, or the UCI \"Online Retail\" CSV."`
	KeepDates bool   `help:"Leave the dates as they are. Otherwise they move by whole weeks, so that the data ends in the week up to yesterday."`
}

func (c *demoImport) Run(ctx context.Context, a *app) error {
	// The files are checked before anything is made, so that a broken one leaves nothing behind, not even a database.
	if _, err := shop.Read(c.Path); err != nil {
		return err
	}
	return a.fill(ctx, c.asJSON, func(db *store.DB, m auth.Merchant) (shop.Summary, error) {
		b := &bar{w: a.err, terminal: isTerminal(a.err), shown: -1}
		s, err := shop.Import(ctx, db, m.ID, c.Path, shop.Options{KeepDates: c.KeepDates, Today: db.Now(), Progress: b.at})
		b.end(err == nil)
		return s, err
	})
}

// fill puts data into the demo merchant's shop and says what it was.
func (a *app) fill(ctx context.Context, f asJSON, load func(*store.DB, auth.Merchant) (shop.Summary, error)) error {
	db, err := a.create(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	m, err := ensureDemo(ctx, db)
	if err != nil {
		return err
	}
	start := time.Now()
	s, err := load(db, m)
	if err != nil {
		return err
	}
	took := time.Since(start)
	return f.print(a, s, func(w io.Writer) { writeSummary(w, s, took) })
}

func ensureDemo(ctx context.Context, db *store.DB) (m auth.Merchant, err error) {
	err = db.InTx(ctx, func(tx *store.Tx) error {
		if m, err = auth.EnsureMerchant(tx, demoName); err == nil {
			_, err = policy.Install(tx, m.ID, policy.Default, auth.Operator)
		}
		return err
	})
	return m, err
}

func writeSummary(w io.Writer, s shop.Summary, took time.Duration) {
	n := func(i int) string { return shop.Thousands(int64(i)) }
	fmt.Fprintf(w, "The demo merchant's shop has %s orders (%s lines) of %s customers, from %s to %s, in %.1f s.\n",
		n(s.Orders), n(s.Lines), n(s.Customers), s.FirstDay, s.LastDay, took.Seconds())
	fmt.Fprintf(w, "%s products in %s variants, %s refunds, %s campaigns, %s tickets. Gross %s, refunded %s.\n",
		n(s.Products), n(s.Variants), n(s.Refunds), n(s.Campaigns), n(s.Tickets), s.Gross, s.Refunded)
	if s.ShiftedWeeks != 0 {
		fmt.Fprintf(w, "Dates were moved by %d weeks.\n", s.ShiftedWeeks)
	}
	if s.Attribution != "" {
		fmt.Fprintf(w, "\nData: %s\n", s.Attribution)
	}
}

// A bar shows how far a load is: on a terminal it redraws itself, elsewhere it is a line every ten percent.
type bar struct {
	w        io.Writer
	terminal bool
	shown    int // percent; -1 before the first
}

func (b *bar) at(done, total int) {
	// What is counted is an estimate of the rows, so the end is for load's return to tell.
	b.show(min(99, 100*done/max(total, 1)))
}

func (b *bar) show(percent int) {
	if b.shown >= 0 && (percent == b.shown || !b.terminal && percent/10 == b.shown/10) {
		return
	}
	b.shown = percent
	if b.terminal {
		fmt.Fprintf(b.w, "\rloading [%-50s] %3d%%", strings.Repeat("=", percent/2), percent)
		return
	}
	fmt.Fprintf(b.w, "loading: %d%%\n", percent)
}

// end closes the bar: full when the load was done, where it stood when not.
func (b *bar) end(done bool) {
	if done {
		b.show(100)
	}
	if b.terminal && b.shown >= 0 {
		fmt.Fprintln(b.w)
	}
}
