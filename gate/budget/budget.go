// Package budget counts what calls use up together: money, customers written to, calls.
//
// A budget has a counter for each subject (a key, a chain, the merchant) and each period of the calendar. It is used up in
// two phases. A call that waits or runs for long reserves its amount; it is spent when the call is done, and given back when the
// call is denied, lapses, is cancelled or fails:
//
//	Reserve ──> reserved ──Settle, Confirm──> spent
//	               └──Release──> as if it had never been
//
// A call that is done in the transaction in which it was judged spends at once (Spend).
//
// What holds, whatever happens at the same time and whatever is killed in between:
//
//  1. Nothing is taken that brings reserved and spent together over the limit under which it is taken. The database decides it, in
//     the one statement that takes: no decision rests on what was read before. A CHECK of the table is the second line.
//  2. What a counter has reserved is the sum of what calls hold of it (table budget_holds). So a release gives back exactly what was
//     taken, once, and a call that is settled or released again changes nothing.
//  3. A limit that is lowered binds at once: what is reserved is held to it when it is settled.
//  4. No two transactions wait for each other in a circle: each takes the rows of its calls first, and then its counters in one order.
//
// All functions belong into the transaction of what they count. After an error, *Exceeded too, that transaction must be given up:
// part of the charges may have been taken.
//
// Which budgets a call is charged to, and under which limits, is decided by the policy.
package budget

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Charge is what a call takes of one counter. An Amount of 0 takes nothing.
type Charge struct {
	Budget  string    `json:"budget"`  // as the policy names it: limits.budgets.NAME, profiles.NAME.ceiling.money
	Subject string    `json:"subject"` // whose calls count together: key:…, merchant:…
	Unit    string    `json:"unit"`    // money:GBP, customers, calls
	Amount  int64     `json:"amount"`  // of money in minor units
	Limit   int64     `json:"limit"`   // of the whole period
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"` // the first moment after the period
}

// Exceeded is the error of a Charge for which too little is left.
type Exceeded struct {
	Charge
	Left int64 // of the period; 0 also where more is used up than a lowered limit allows
}

// Alone reports whether the charge is over the limit by itself, so that no waiting helps.
func (e *Exceeded) Alone() bool { return e.Amount > e.Limit }

func (e *Exceeded) Error() string {
	return fmt.Sprintf("%s allows %d %s of %s until %s, of which %d are left; the call takes %d",
		e.Budget, e.Limit, e.Unit, e.Subject, e.Until.Format(time.RFC3339), e.Left, e.Amount)
}

// errUnfit says that a charge makes no sense: a mistake of the program, and never the caller's.
var errUnfit = errors.New("not a charge")

// errUneven says that the counters and the holds do not fit together. Somebody has changed them by hand.
var errUneven = errors.New("the counters of budgets do not hold what calls have reserved")

// Reserve holds all charges for a call that is parked or begins to run for long, or fails with *Exceeded. Again for the same call it
// leaves exactly these charges reserved: less is given back, more and other periods are taken under their limits.
func Reserve(tx *store.Tx, merchant, call string, all []Charge) error {
	return move(tx, merchant, call, all, false)
}

// Settle makes what the call has reserved spent, as all says it now: what is no more needed is given back, what is more or in
// another period than it was is taken under its limit, or fails with *Exceeded. It counts for each counter once.
func Settle(tx *store.Tx, merchant, call string, all []Charge) error {
	return move(tx, merchant, call, all, true)
}

// Confirm makes what the call has reserved spent, as it is. No limit is asked again: it is for a call that has been judged, and that
// begins now to do what it reserved for.
func Confirm(tx *store.Tx, merchant, call string) error {
	open, err := takeBack(tx, merchant, call)
	if err != nil {
		return err
	}
	steps, err := plan(open, nil)
	if err != nil {
		return err
	}
	for i, s := range steps {
		if err := s.spend(tx, merchant); err != nil {
			return err
		}
		steps[i].charge = &Charge{Amount: s.held}
	}
	return keep(tx, merchant, call, steps, true)
}

// Spend takes all charges for a call that is done in this transaction, or fails with *Exceeded.
func Spend(tx *store.Tx, merchant string, all []Charge) error {
	steps, err := plan(nil, all)
	if err != nil {
		return err
	}
	return run(tx, merchant, steps, true)
}

// Release gives back what calls have reserved and not settled.
func Release(tx *store.Tx, merchant string, calls ...string) error {
	var held []hold
	for _, call := range slices.Sorted(slices.Values(calls)) {
		open, err := takeBack(tx, merchant, call)
		if err != nil {
			return err
		}
		held = append(held, open...)
	}
	steps, err := plan(held, nil)
	if err != nil {
		return err
	}
	return run(tx, merchant, steps, false)
}

// move turns what a call holds into what it is to hold.
func move(tx *store.Tx, merchant, call string, all []Charge, settle bool) error {
	open, err := takeBack(tx, merchant, call)
	if err != nil {
		return err
	}
	done, err := settled(tx, merchant, call) // after takeBack, which waits for who settles it meanwhile
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(slices.Clone(all), func(c Charge) bool {
		return slices.ContainsFunc(done, func(h hold) bool { return h.sameBudget(c) })
	})
	steps, err := plan(open, all)
	if err == nil {
		err = run(tx, merchant, steps, settle)
	}
	if err != nil {
		return err
	}
	return keep(tx, merchant, call, steps, settle)
}

// A counter is what one budget counts of one subject in one period.
type counter struct {
	budget, subject, unit string
	from                  int64 // microseconds
}

func (c Charge) counter() counter { return counter{c.Budget, c.Subject, c.Unit, c.From.UnixMicro()} }

func (c counter) compare(d counter) int {
	return cmp.Or(strings.Compare(c.budget, d.budget), strings.Compare(c.subject, d.subject), strings.Compare(c.unit, d.unit), cmp.Compare(c.from, d.from))
}

// sameBudget reports whether c is counted by the same budget, in whatever period.
func (c counter) sameBudget(charge Charge) bool {
	return c.budget == charge.Budget && c.subject == charge.Subject && c.unit == charge.Unit
}

// A step is what happens to one counter.
type step struct {
	counter
	held   int64   // reserved until now, and given back
	charge *Charge // taken instead; nil: nothing
}

// plan gives the steps from what is held to what is charged, in the one order in which counters are locked.
func plan(held []hold, all []Charge) ([]step, error) {
	steps := map[counter]step{}
	for _, h := range held {
		s := steps[h.counter]
		steps[h.counter] = step{counter: h.counter, held: s.held + h.amount}
	}
	for _, c := range all {
		at := c.counter()
		s := steps[at]
		switch {
		case c.Amount < 0, c.Limit < 0, !c.From.Before(c.Until), c.Budget == "", c.Subject == "", c.Unit == "", s.charge != nil:
			return nil, fmt.Errorf("%w: %+v", errUnfit, c)
		case c.Amount > 0:
			steps[at] = step{counter: at, held: s.held, charge: &c}
		}
	}
	return slices.SortedFunc(maps.Values(steps), func(a, b step) int { return a.compare(b.counter) }), nil
}

func run(tx *store.Tx, merchant string, steps []step, settle bool) error {
	for _, s := range steps {
		if err := s.run(tx, merchant, settle); err != nil {
			return err
		}
	}
	return nil
}
