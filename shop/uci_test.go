package shop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
)

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "online-retail.csv")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const uciHeader = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"

// TestOriginalFileIsCutLikeTheBundle has a row for each cut; the file is in Latin-1.
func TestOriginalFileIsCutLikeTheBundle(t *testing.T) {
	c, err := shop.Read(writeFile(t, uciHeader+strings.Join([]string{
		"1001,90001A,RED CAF\xc9 CUP ,2,12/1/2010 8:26,2.55,17850,United Kingdom",
		"1001,90001b,BLUE CAF\xc9 CUP,1,12/1/2010 8:26,2.55,17850,United Kingdom",
		"1001,90001A,RED CAF\xc9 CUP,3,12/1/2010 8:26,2.55,17850,United Kingdom", // the same line again
		"1001,POST,POSTAGE,2,12/1/2010 8:26,18,17850,United Kingdom",
		"1001,D,Discount,-1,12/1/2010 8:26,1.05,17850,United Kingdom",
		"1002,POST,POSTAGE,1,12/1/2010 9:00,18,17850,United Kingdom",       // no product left
		"1003,90002,JUG,1,12/1/2010 9:00,4.95,,United Kingdom",             // no customer
		"1004,M,Manual,1,12/1/2010 9:00,4.95,17850,United Kingdom",         // no product
		"1005,90002,JUG,1,12/1/2010 9:00,0,17850,United Kingdom",           // no price
		"1006,90002,JUG,2,12/2/2010 9:00,4.95,17851,France",                //
		"C1007,90002,JUG,-1,12/3/2010 9:00,4.95,17851,France",              // given back
		"C1008,90002,JUG,-1,12/1/2010 8:00,4.95,17851,France",              // earlier than any such order
		"C1009,90001A,RED CAF\xc9 CUP,-6,12/4/2010 9:00,2.55,17850,France", // more than there were
	}, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	var orders []string
	for _, o := range c.Orders {
		orders = append(orders, fmt.Sprintf("%s %s %s %d lines, %d pieces: %v + %v - %v, back %v",
			o.No, o.CustomerNo, o.PlacedAt.Format(time.DateTime), len(o.Lines), o.Items, o.Subtotal, o.Shipping, o.Discount, o.Refunded))
	}
	if diff := cmp.Diff([]string{
		"1001 17850 2010-12-01 08:26:00 2 lines, 6 pieces: £15.30 + £36.00 - £1.05, back £0.00",
		"1006 17851 2010-12-02 09:00:00 1 lines, 2 pieces: £9.90 + £0.00 - £0.00, back £4.95",
	}, orders); diff != "" {
		t.Errorf("orders (-want +got):\n%s", diff)
	}
	var variants []string
	for _, v := range c.Variants {
		variants = append(variants, fmt.Sprintf("%s of %s: %s / %s at %v", v.SKU, v.ProductCode, v.Title, v.Option, v.Price))
	}
	if diff := cmp.Diff([]string{
		"90001A of 90001: Red Café Cup / Red at £2.55",
		"90001B of 90001: Blue Café Cup / Blue at £2.55",
		"90002 of 90002: Jug /  at £4.95",
	}, variants); diff != "" {
		t.Errorf("variants (-want +got):\n%s", diff)
	}
}

func TestOriginalFileInBothSpellings(t *testing.T) {
	one := writeFile(t, uciHeader+"1001,90001,CUP,2,12/1/2010 8:26,2.5,17850,France\n")
	two := writeFile(t, "\ufeffInvoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n"+
		"1001,90001,CUP,2,2010-12-01 08:26:00,2.50,17850.0,France\n")
	a, err := shop.Read(one)
	if err != nil {
		t.Fatal(err)
	}
	b, err := shop.Read(two)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("the two spellings of one file differ:\n%s", diff)
	}
}

func TestBrokenOriginalFileIsNamedByLine(t *testing.T) {
	for _, c := range []struct{ content, want string }{
		{"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,Country\n", "online-retail.csv:1: column CustomerID is missing"},
		{uciHeader + "1001,90001,CUP,two,12/1/2010 8:26,2.5,17850,France\n", `online-retail.csv:2: Quantity "two" is not a whole number`},
		{uciHeader + "1001,90001,CUP,2,12.1.2010,2.5,17850,France\n", `online-retail.csv:2: InvoiceDate "12.1.2010" is not a date`},
		{uciHeader + "1001,90001,CUP,2,12/1/2010 8:26,NaN,17850,France\n", `online-retail.csv:2: UnitPrice "NaN" is not a price`},
		{uciHeader + ",90001,CUP,2,12/1/2010 8:26,1,17850,France\n", "online-retail.csv:2: a row needs InvoiceNo and StockCode"},
		{uciHeader, "holds no order"},
	} {
		if _, err := shop.Read(writeFile(t, c.content)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// TestOriginalFileGivesTheSameSales writes the small bundle as the rows it was once made from and reads them back.
func TestOriginalFileGivesTheSameSales(t *testing.T) {
	dir := needBundle(t, filepath.Join(bundleDir, "mini"))
	want, err := shop.Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := shop.Read(writeFile(t, asOriginal(want)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byOrder(want), byOrder(got)); diff != "" {
		t.Errorf("orders (-bundle +original):\n%s", diff)
	}
	if len(got.Refunds) < len(want.Refunds)*9/10 {
		t.Errorf("%d refunds were found again of %d", len(got.Refunds), len(want.Refunds))
	}
}

// byOrder says what of an order must be the same whichever file it came from.
func byOrder(c *shop.Contents) map[string]string {
	all := map[string]string{}
	for _, o := range c.Orders {
		all[o.No] = fmt.Sprint(o.CustomerNo, o.PlacedAt, o.ShipCountry, len(o.Lines), o.Items, o.Total, o.Refunded)
	}
	return all
}

func asOriginal(c *shop.Contents) string {
	customer, country := map[string]string{}, map[string]string{}
	var b strings.Builder
	b.WriteString(uciHeader)
	row := func(no, sku, title string, qty int64, at time.Time, price int64, order string) {
		title = strings.ReplaceAll(strings.ToUpper(title), `"`, `""`)
		fmt.Fprintf(&b, "%s,%s,\"%s\",%d,%s,%d.%02d,%s,%s\n", no, sku, title, qty, at.Format("1/2/2006 15:04"),
			price/100, price%100, customer[order], country[order])
	}
	for _, o := range c.Orders {
		customer[o.No], country[o.No] = o.CustomerNo, o.ShipCountry
		for _, l := range o.Lines {
			row(o.No, l.SKU, l.Title, l.Qty, o.PlacedAt, l.UnitPrice.AmountMinor, o.No)
		}
		if o.Shipping.AmountMinor > 0 {
			row(o.No, "POST", "Postage", 1, o.PlacedAt, o.Shipping.AmountMinor, o.No)
		}
	}
	for _, r := range c.Refunds {
		for _, l := range r.Lines {
			row(r.No, l.SKU, l.SKU, -l.Qty, r.At, l.Amount.AmountMinor/l.Qty, r.OrderNo)
		}
	}
	return b.String()
}
