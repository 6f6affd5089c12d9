package shop

import (
	"cmp"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// An Export is a month's sales for the books, a row for each day and country.
type Export struct {
	ID        string `json:"export_id"`
	Month     string `json:"month"`
	Rows      int64  `json:"rows"`
	SHA256    string `json:"sha256"` // of the CSV
	Gross     Money  `json:"gross"`
	Discounts Money  `json:"discounts"`
	Refunds   Money  `json:"refunds"` // goods only
	Net       Money  `json:"net"`
	CSV       string `json:"-"`
	CreatedBy string `json:"-"`
}

// booked is one row of sales_totals.
type booked struct {
	day, country                                                   string
	orders, units, gross, discount, shipping, refunds, postageBack int64
}

// The heading of an export. Money is in minor units; net is gross minus discount minus refunds.
var exportHeading = []string{
	"day", "country", "orders", "units", "gross_minor", "discount_minor", "refunds_minor", "net_minor", "shipping_minor",
	"shipping_refunds_minor", "currency",
}

// Export makes the export of a month and does not keep it. The same sums give the same bytes on every machine.
func (d *Desk) Export(month string) (Export, error) {
	rows, err := store.All(d.tx, func(r store.Row) (booked, error) {
		var b booked
		return b, r.Scan(&b.day, &b.country, &b.orders, &b.units, &b.gross, &b.discount, &b.shipping, &b.refunds, &b.postageBack)
	}, `SELECT day, country, orders, units, gross_minor, discount_minor, shipping_minor, refunds_minor, shipping_refunds_minor
		FROM sales_totals WHERE merchant_id = $1 AND day BETWEEN $2 AND $3`, d.merchant, month+"-01", month+"-31")
	if err != nil {
		return Export{}, fmt.Errorf("reading the month: %w", err)
	}
	slices.SortFunc(rows, func(a, b booked) int { return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.country, b.country)) })
	e := Export{Month: month, Rows: int64(len(rows)), Gross: d.money(0), Discounts: d.money(0), Refunds: d.money(0), Net: d.money(0)}
	var text strings.Builder
	w := csv.NewWriter(&text)
	_ = w.Write(exportHeading) // a Builder takes everything
	for _, b := range rows {
		net := b.gross - b.discount - b.refunds
		e.Gross.AmountMinor += b.gross
		e.Discounts.AmountMinor += b.discount
		e.Refunds.AmountMinor += b.refunds
		e.Net.AmountMinor += net
		_ = w.Write(append(append([]string{b.day, b.country}, numbers(b.orders, b.units, b.gross, b.discount, b.refunds, net, b.shipping, b.postageBack)...), d.Currency))
	}
	w.Flush()
	e.CSV = text.String()
	sum := sha256.Sum256([]byte(e.CSV))
	e.SHA256 = hex.EncodeToString(sum[:])
	return e, nil
}

func numbers(values ...int64) []string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = strconv.FormatInt(v, 10)
	}
	return texts
}

// Exported gives the id of the export that holds the same sums, empty when there is none.
func (d *Desk) Exported(e Export) (string, error) {
	ids, err := store.All(d.tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) },
		"SELECT export_id FROM accounting_exports WHERE merchant_id = $1 AND month = $2 AND sha256 = $3", d.merchant, e.Month, e.SHA256)
	if err != nil || len(ids) == 0 {
		return "", err
	}
	return ids[0], nil
}

// AddExport keeps an export. One with the same sums that is there already is ErrChanged.
func (d *Desk) AddExport(e Export) (Export, error) {
	e.ID = store.NewID("exp", d.tx.Now)
	err := changed(d.tx.Exec(`INSERT INTO accounting_exports (merchant_id, export_id, month, csv, csv_rows, sha256, net_minor, created_at, created_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (merchant_id, month, sha256) DO NOTHING`,
		d.merchant, e.ID, e.Month, e.CSV, e.Rows, e.SHA256, e.Net.AmountMinor, store.Micros(d.tx.Now), e.CreatedBy))
	if err != nil {
		return e, fmt.Errorf("storing the export: %w", err)
	}
	return e, nil
}

// DropExport deletes an export. One that is not there any more is ErrChanged.
func (d *Desk) DropExport(e Export) error {
	return changed(d.tx.Exec("DELETE FROM accounting_exports WHERE merchant_id = $1 AND export_id = $2 AND sha256 = $3", d.merchant, e.ID, e.SHA256))
}
