package shop

import (
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Measure is what cohorts are told in.
type Measure string

// The measures; the package comment defines them.
const (
	CohortCustomers Measure = "customers"
	CohortOrders    Measure = "orders"
	CohortNet       Measure = "net"
	CohortLTV       Measure = "ltv"
)

// InMoney reports whether the measure is in minor units of the shop's currency.
func (m Measure) InMoney() bool { return m == CohortNet || m == CohortLTV }

// CohortMonths is how many months a cohort is followed, its own included.
const CohortMonths = 36

// A Cohort is the customers who first ordered in one month, and a measure of that month and of each after it.
type Cohort struct {
	Month     string  `json:"month"`
	Customers int64   `json:"customers"`
	Values    []int64 `json:"values"`
}

type cohortSum struct{ customers, orders, net int64 }

func (s *cohortSum) add(o cohortSum) {
	s.customers += o.customers
	s.orders += o.orders
	s.net += o.net
}

// joinedIn is the sum of a month under the cohort of an order's customer.
func (b *book) joinedIn(order, month string) *cohortSum {
	return at(b.cohorts, cohortKey{b.joined[order], month})
}

// join notes the cohort of each order's customer, and counts each customer once in each month with an order. Orders come
// by time.
func (b *book) join(orders []Order) {
	first, seen := map[string]string{}, map[[2]string]bool{}
	for i := range orders {
		o := &orders[i]
		in := monthOf(Day(o.PlacedAt))
		if first[o.CustomerNo] == "" {
			first[o.CustomerNo] = in
		}
		b.joined[o.No] = first[o.CustomerNo]
		if who := [2]string{o.CustomerNo, in}; !seen[who] {
			seen[who] = true
			b.joinedIn(o.No, in).customers++
		}
	}
}

// A cohortMonth is what a cohort did in one month.
type cohortMonth struct {
	cohort, month string
	cohortSum
}

// Cohorts gives the cohorts from one month to another, oldest first, each with the values of measure from its own month
// to the month that the data reaches, CohortMonths at most. Months in which nobody came first are no cohort.
func (d *Desk) Cohorts(from, to string, measure Measure) ([]Cohort, error) {
	rows, err := store.All(d.tx, func(r store.Row) (m cohortMonth, err error) {
		return m, r.Scan(&m.cohort, &m.month, &m.customers, &m.orders, &m.net)
	}, `SELECT cohort, month, customers, orders, net_minor FROM cohort_months
		WHERE merchant_id = $1 AND cohort BETWEEN $2 AND $3 ORDER BY cohort, month`, d.merchant, from, to)
	if err != nil {
		return nil, fmt.Errorf("reading cohorts: %w", err)
	}
	last := monthOf(Day(d.DataUntil))
	cohorts := []Cohort{}
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].cohort == rows[0].cohort {
			n++
		}
		cohorts = append(cohorts, Cohort{rows[0].cohort, rows[0].customers, measure.values(rows[:n], last)})
		rows = rows[n:]
	}
	return cohorts, nil
}

// values tells the months of one cohort in the measure; in months without a row nothing happened.
func (m Measure) values(rows []cohortMonth, last string) []int64 {
	size, values := rows[0].customers, []int64{}
	var net int64
	for in := rows[0].cohort; in <= last && len(values) < CohortMonths; in = MonthAfter(in, 1) {
		var now cohortSum
		if len(rows) > 0 && rows[0].month == in {
			now, rows = rows[0].cohortSum, rows[1:]
		}
		net += now.net
		values = append(values, map[Measure]int64{
			CohortCustomers: now.customers, CohortOrders: now.orders, CohortNet: now.net, CohortLTV: perHead(net, size),
		}[m])
	}
	return values
}

// perHead divides money by a number of customers and rounds half a minor unit away from zero.
func perHead(minor, customers int64) int64 {
	if minor < 0 {
		return -perHead(-minor, customers)
	}
	return (2*minor + customers) / (2 * customers)
}

// MonthAfter is the month so many months after a month, or before it.
func MonthAfter(month string, months int) string {
	t, err := time.Parse("2006-01", month)
	if err != nil {
		return ""
	}
	return t.AddDate(0, months, 0).Format("2006-01")
}
