package dtc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

var productStories = []story{
	{"ProductsComeInTheirOrder", productsComeInTheirOrder},
	{"ProductIsChangedAndRestored", productIsChangedAndRestored},
	{"ProductIsRefusedWhenItMakesNoSense", productIsRefusedWhenItMakesNoSense},
	{"StockIsBookedAndBookedBack", stockIsBookedAndBookedBack},
	{"StockNeverGoesBelowZero", stockNeverGoesBelowZero},
	{"BigCorrectionsAskPeople", bigCorrectionsAskPeople},
	{"PricesAreSetAndRestored", pricesAreSetAndRestored},
	{"PricesAreRefusedWhenTheyMakeNoSense", pricesAreRefusedWhenTheyMakeNoSense},
	{"BigPriceMovesAskPeople", bigPriceMovesAskPeople},
	{"PricesAreSetOnceAtATime", pricesAreSetOnceAtATime},
}

// productsComeInTheirOrder compares every order of the list with what it goes by, asked of the database.
func productsComeInTheirOrder(h *house) {
	for sort, rank := range map[string]string{
		"title":        "0",
		"best_selling": "-sold",
		"price_low":    "(SELECT MIN(price_minor) FROM variants v WHERE v.merchant_id = p.merchant_id AND v.product_code = p.product_code)",
		"price_high":   "-(SELECT MAX(price_minor) FROM variants v WHERE v.merchant_id = p.merchant_id AND v.product_code = p.product_code)",
	} {
		out := must[searchProductsOut](h)(read[searchProductsOut](h, "dtc_search_products", args{"sort": sort, "category": "kitchen-dining", "limit": 50}))
		var ranks []int64
		for _, p := range out.Products {
			ranks = append(ranks, h.number("SELECT "+rank+" FROM products p WHERE merchant_id = $1 AND product_code = $2", merchant, p.Code))
		}
		if !slices.IsSorted(ranks) || len(ranks) < 10 {
			h.Errorf("by %s the list goes %v", sort, ranks)
		}
	}
	for query, first := range map[string]string{"40010": "40010", "40010b": "40010", "Jar": "Jar", "larder jar cork": "40050"} {
		if first == "Jar" { // a title that begins with it comes before one that has it inside
			h.exec("INSERT INTO products (merchant_id, product_code, title, category, status) VALUES ($1, 'Jar', 'Jar of nothing', 'x', 'active')", merchant)
			h.exec("INSERT INTO search_words (merchant_id, kind, word, id) VALUES ($1, 'product', 'jar', 'Jar')", merchant)
		}
		out := must[searchProductsOut](h)(read[searchProductsOut](h, "dtc_search_products", args{"query": query}))
		if len(out.Products) == 0 || out.Products[0].Code != first {
			h.Errorf("%q finds %+v first, want %s", query, out.Products, first)
		}
	}
	full := must[searchProductsOut](h)(read[searchProductsOut](h, "dtc_search_products", args{"query": "40030", "detail": "full"}))
	if p := full.Products[0]; p.Description == "" {
		h.Errorf("in full a product reads %+v", p)
	}
}

// row is everything that a table holds of a thing, but for its version.
func (h *house) row(table, columns, key, id string) string {
	h.Helper()
	return h.text("SELECT "+strings.ReplaceAll(columns, ",", " || '|' ||")+" FROM "+table+" WHERE merchant_id = $1 AND "+key+" = $2", merchant, id)
}

func productIsChangedAndRestored(h *house) {
	const code, columns = "40060", "title, description, category, status, tags, sold, low_minor, high_minor"
	found := func(query string) int {
		h.Helper()
		return must[searchProductsOut](h)(read[searchProductsOut](h, "dtc_search_products", args{"query": query})).Total
	}
	counts := func() int64 {
		return h.number("SELECT CAST(SUM(orders) AS BIGINT) FROM category_sales WHERE category = 'kitchen-dining'")
	}
	before, orders := h.row("products", columns, "product_code", code), counts()
	in := args{
		"product_code": code, "expected_version": h.number("SELECT version FROM products WHERE product_code = $1", code),
		"title": "Olive Wood Xylospoon", "description": "", "category": "toys-games", "tags": []string{"new", "gift"},
	}
	p := must[tools.Preview](h)(h.preview("dtc_update_product", in))
	if want := "Change title, description, category, tags of product 40060 (Beech Spurtle and Spoon)"; p.Summary != want || len(p.Changes) != 4 ||
		p.Changes[3] != (tools.Change{Object: "product 40060", Field: "tags", From: "", To: "new, gift"}) {
		h.Errorf("the preview reads %+v", p)
	}
	out, undo, err := undoable[updateProductOut](h, "dtc_update_product", in)
	if err != nil || out.ID != code || out.Version != in["expected_version"].(int64)+1 {
		h.Fatalf("%+v, %v", out, err)
	}
	if row := h.row("products", columns, "product_code", code); !strings.HasPrefix(row, `Olive Wood Xylospoon||toys-games|active|["new","gift"]|`) {
		h.Errorf("the product is %s", row)
	}
	if found("xylospoon") != 1 || found("40060 beech") != 1 || counts() >= orders {
		h.Error("the product is not found by its new title or its variant's, or still counts in its old category")
	}
	_, err = write[updateProductOut](h, "dtc_update_product", in)
	if r := h.refused("a version that is past", err, tools.StaleExpectation, ""); r.Errors.Now["expected_version"] != out.Version {
		h.Errorf("told %+v", r.Errors)
	}
	if err := undo(); err != nil {
		h.Fatal(err)
	}
	if row := h.row("products", columns, "product_code", code); row != before || found("xylospoon") != 0 || found("beech spurtle") != 1 || counts() != orders {
		h.Errorf("undone it is %s, was %s", row, before)
	}
	if err := undo(); !errors.Is(err, shop.ErrChanged) {
		h.Errorf("undone after somebody else changed it: %v", err)
	}
}

func productIsRefusedWhenItMakesNoSense(h *house) {
	in := args{"product_code": "40070", "expected_version": 1, "title": "Tea Cloth"}
	for what, c := range map[string]struct {
		in    args
		field string
	}{
		"nothing to change": {in.with("title", nil), ""},
		"as it is":          {in.with("title", h.text("SELECT title FROM products WHERE product_code = '40070'")), ""},
		"a blank title":     {in.with("title", "  "), "title"},
		"no title":          {in.with("title", ""), "title"},
		"a blank category":  {in.with("category", " "), "category"},
		"a tag twice":       {in.with("tags", []string{"a", "b", "a"}), "tags[2]"},
		"an empty tag":      {in.with("tags", []string{""}), "tags[0]"},
		"a long title":      {in.with("title", strings.Repeat("x", 121)), "title"},
		"a turned title":    {in.with("title", "Tea \u202ehtolC"), "title"},
		"a title of two":    {in.with("title", "Tea Cloth\nApproved"), "title"},
		"a turned category": {in.with("category", "home\u202e"), "category"},
		"a turned tag":      {in.with("tags", []string{"a", "b\u200b"}), "tags[1]"},
		"a hidden text":     {in.with("description", "Soft\x1b[8m and not"), "description"},
	} {
		_, err := h.preview("dtc_update_product", c.in)
		h.refused(what, err, tools.InvalidArguments, c.field)
	}
	if _, err := h.preview("dtc_update_product", in.with("product_code", "none")); !errors.Is(err, store.ErrNotFound) {
		h.Errorf("a product that is not there: %v", err)
	}
}

// stock gives arguments that fit the stock of a SKU as it is.
func (h *house) stock(sku string, delta int64, cause string) args {
	return args{"sku": sku, "delta": delta, "cause": cause, "expected_on_hand": h.number("SELECT on_hand FROM variants WHERE sku = $1", sku)}
}

func stockIsBookedAndBookedBack(h *house) {
	in := h.stock("40030", -7, "damaged")
	had := in["expected_on_hand"].(int64)
	p := must[tools.Preview](h)(h.preview("dtc_adjust_inventory", in))
	want := tools.Preview{
		Summary: "Take out 7 pieces of SKU 40030 (Fishmonger's Oval Platter): damaged",
		Changes: []tools.Change{{Object: "SKU 40030", Field: "on hand", From: fmt.Sprint(had), To: fmt.Sprint(had - 7)}},
		Version: fmt.Sprint(had),
	}
	if diff := cmp.Diff(want, p); diff != "" {
		h.Errorf("the preview:\n%s", diff)
	}
	out, undo, err := undoable[adjustInventoryOut](h, "dtc_adjust_inventory", in)
	if err != nil || out != (adjustInventoryOut{"40030", had - 7}) {
		h.Fatalf("%+v, %v", out, err)
	}
	_, err = write[adjustInventoryOut](h, "dtc_adjust_inventory", in)
	if r := h.refused("a stock that is past", err, tools.StaleExpectation, ""); r.Errors.Now["expected_on_hand"] != had-7 {
		h.Errorf("told %+v", r.Errors)
	}
	h.exec("UPDATE variants SET on_hand = on_hand - 1 WHERE sku = '40030'") // one is sold meanwhile
	if err := undo(); err != nil {
		h.Fatal(err)
	}
	moves := h.number("SELECT COUNT(*) FROM stock_moves WHERE sku = '40030' AND delta + 7 = 0 AND cause = 'damaged' AND on_hand = $1 AND actor = 'test bot'", had-7) +
		h.number("SELECT COUNT(*) FROM stock_moves WHERE sku = '40030' AND delta = 7 AND cause = 'undo' AND on_hand = $1", had-1)
	if now := h.number("SELECT on_hand FROM variants WHERE sku = '40030'"); now != had-1 || moves != 2 {
		h.Errorf("undone there are %d of %d, %d moves", now, had, moves)
	}
}

func stockNeverGoesBelowZero(h *house) {
	in := h.stock("40020", 0, "lost")
	had := in["expected_on_hand"].(int64)
	_, err := h.preview("dtc_adjust_inventory", in)
	h.refused("nothing", err, tools.InvalidArguments, "delta")
	_, err = h.preview("dtc_adjust_inventory", in.with("delta", -had-1))
	h.refused("more than there is", err, tools.InvalidArguments, "delta")
	_, err = h.preview("dtc_adjust_inventory", in.with("cause", "undo"))
	h.refused("a cause of its own", err, tools.InvalidArguments, "cause")
	if _, err = h.preview("dtc_adjust_inventory", in.with("sku", "none")); !errors.Is(err, store.ErrNotFound) {
		h.Errorf("a SKU that is not there: %v", err)
	}
	if p := must[tools.Preview](h)(h.preview("dtc_adjust_inventory", in.with("delta", -had))); len(p.Warnings) != 2 {
		h.Errorf("the last piece: %q", p.Warnings)
	}

	_, undo, err := undoable[adjustInventoryOut](h, "dtc_adjust_inventory", in.with("delta", 5))
	if err != nil {
		h.Fatal(err)
	}
	h.exec("UPDATE variants SET on_hand = 4 WHERE sku = '40020'")
	h.refused("undoing what has been sold", undo(), tools.Conflict, "")

	// From many sides at once one is first, and the others are told.
	in = h.stock("40020", -3, "lost")
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			if _, err := write[adjustInventoryOut](h, "dtc_adjust_inventory", in); err != nil {
				h.refused("second", err, tools.StaleExpectation, "")
			}
		})
	}
	all.Wait()
	if n := h.number("SELECT on_hand FROM variants WHERE sku = '40020'"); n != 1 {
		h.Errorf("%d left of 4, want 1", n)
	}
}

// class gives the class of a call, and what its preview warns of.
func (h *house) class(name string, in args) (class tools.Class, warnings []string) {
	h.Helper()
	c, err := h.call(name, in)
	if err != nil {
		h.Fatal(err)
	}
	err = h.db.Read(h.Context(), func(tx *store.Tx) error {
		c.Tx = tx
		p, err := c.Tool.Handler().Preview(c)
		if err == nil {
			class, err = c.Tool.Handler().Class(c, p)
		}
		warnings = p.Warnings
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return class, warnings
}

func bigCorrectionsAskPeople(h *house) {
	for _, c := range []struct {
		onHand, delta int64
		want          tools.Class
	}{
		{100, 20, tools.ClassNone},
		{100, -20, tools.ClassNone},
		{100, 21, tools.ClassDestructive},
		{100, -21, tools.ClassDestructive},
		{9000, -500, tools.ClassNone},
		{9000, 501, tools.ClassDestructive},
		{9000, -501, tools.ClassDestructive},
		{0, 1, tools.ClassDestructive},
	} {
		h.exec("UPDATE variants SET on_hand = $1 WHERE sku = '40070A'", c.onHand)
		got, warnings := h.class("dtc_adjust_inventory", h.stock("40070A", c.delta, "stock_count"))
		if got != c.want || (len(warnings) > 0) != (c.want != tools.ClassNone) {
			h.Errorf("%+d on %d is %q, warns %q", c.delta, c.onHand, got, warnings)
		}
	}
}

// priced gives a row of new prices that fits the price of a SKU as it is.
func (h *house) priced(sku string, minor int64) args {
	return args{"sku": sku, "expected_price": pounds(h.number("SELECT price_minor FROM variants WHERE sku = $1", sku)), "new_price": pounds(minor)}
}

func prices(rows ...args) args {
	return args{"prices": rows, "idempotency_key": "k", "reason": "the supplier charges more"}
}

func pricesAreSetAndRestored(h *house) {
	one, two := h.priced("40050A", 700), h.priced("40050B", 500)
	in := prices(two, one)
	p := must[tools.Preview](h)(h.preview("dtc_set_prices", in))
	want := tools.Preview{
		Summary: "Set the prices of 2 SKUs; they move by -27.5% to +1.4%",
		Changes: []tools.Change{
			{Object: "SKU 40050B", Field: "price", From: "£6.90", To: "£5.00"}, {Object: "SKU 40050A", Field: "price", From: "£6.90", To: "£7.00"},
		},
		Warnings: []string{"Moves of more than 20%: 40050B -27.5%."},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		h.Errorf("the preview:\n%s", diff)
	}
	out, undo, err := undoable[setPricesOut](h, "dtc_set_prices", in)
	if err != nil || out.Changed != 2 || !strings.HasPrefix(out.BatchID, "prb_") {
		h.Fatalf("%+v, %v", out, err)
	}
	state := func() string {
		return h.row("products", "low_minor, high_minor", "product_code", "40050") + " " + h.row("variants", "price_minor, on_hand", "sku", "40050A")
	}
	if got := state(); !strings.HasPrefix(got, "500|700 700|") {
		h.Errorf("set, the product is %s", got)
	}
	_, err = write[setPricesOut](h, "dtc_set_prices", in)
	if r := h.refused("prices that are past", err, tools.StaleExpectation, ""); len(r.Errors.Now) != 2 ||
		!cmp.Equal(r.Errors.Now["40050A"], map[string]any{"expected_price": shop.Money{AmountMinor: 700, Currency: "GBP"}}) {
		h.Errorf("told %+v", r.Errors.Now)
	}
	if n := h.number("SELECT COUNT(*) FROM price_changes WHERE batch_id = $1", out.BatchID); n != 2 {
		h.Errorf("%d prices on record", n)
	}
	h.exec("UPDATE variants SET price_minor = 505 WHERE sku = '40050B'")
	if r := h.refused("undoing what has been changed", undo(), tools.Conflict, ""); !strings.Contains(r.Message, "40050B") || strings.Contains(r.Message, "40050A") {
		h.Errorf("told %s", r.Message)
	}
	h.exec("UPDATE variants SET price_minor = 500 WHERE sku = '40050B'")
	if err := undo(); err != nil {
		h.Fatal(err)
	}
	if got := state(); !strings.HasPrefix(got, "690|690 690|") || h.number("SELECT COUNT(*) FROM price_batches WHERE undoes = $1", out.BatchID) != 1 {
		h.Errorf("undone, the product is %s", got)
	}
}

func pricesAreRefusedWhenTheyMakeNoSense(h *house) {
	row := h.priced("40080", 1000)
	for what, c := range map[string]struct {
		rows  []args
		field string
	}{
		"none":             {[]args{}, "prices"},
		"no such SKU":      {[]args{row, row.with("sku", "none")}, "prices[1].sku"},
		"twice":            {[]args{row, row}, "prices[1].sku"},
		"for nothing":      {[]args{row.with("new_price", pounds(0))}, "prices[0].new_price.amount_minor"},
		"the price it has": {[]args{row.with("new_price", row["expected_price"])}, "prices[0].new_price"},
		"another currency": {[]args{row.with("new_price", args{"amount_minor": 5, "currency": "EUR"})}, "prices[0].new_price.currency"},
		"seen in another":  {[]args{row.with("expected_price", args{"amount_minor": 5, "currency": "EUR"})}, "prices[0].expected_price.currency"},
		"101":              {slices.Repeat([]args{row}, 101), "prices"},
	} {
		_, err := h.preview("dtc_set_prices", prices(c.rows...))
		h.refused(what, err, tools.InvalidArguments, c.field)
	}
	// All or nothing: the row that is stale keeps the other one from being set.
	was := h.number("SELECT price_minor FROM variants WHERE sku = '40060'")
	_, err := write[setPricesOut](h, "dtc_set_prices", prices(h.priced("40060", was+1), row.with("expected_price", pounds(1))))
	h.refused("half stale", err, tools.StaleExpectation, "")
	if now := h.number("SELECT price_minor FROM variants WHERE sku = '40060'"); now != was {
		h.Errorf("the price is %d, was %d", now, was)
	}
}

func bigPriceMovesAskPeople(h *house) {
	h.exec("UPDATE variants SET price_minor = 1000, cost_minor = 900 WHERE sku = '40030'")
	for _, c := range []struct {
		to   int64
		want tools.Class
		warn string
	}{
		{1200, tools.ClassNone, ""},
		{1201, tools.ClassSpend, "20%"},
		{900, tools.ClassNone, ""},
		{899, tools.ClassSpend, "Below cost (simulated): 40030 costs £9.00."},
		{799, tools.ClassSpend, "20%"},
	} {
		got, warnings := h.class("dtc_set_prices", prices(h.priced("40030", c.to)))
		if got != c.want || !strings.Contains(strings.Join(warnings, " "), c.warn) || (c.warn == "") != (len(warnings) == 0) {
			h.Errorf("from 1000 to %d is %q, warns %q", c.to, got, warnings)
		}
	}
	var rows []args
	for _, p := range must[searchProductsOut](h)(read[searchProductsOut](h, "dtc_search_products", args{"limit": 21, "sort": "price_high"})).Products {
		v := p.Variants[0]
		rows = append(rows, h.priced(v.SKU, v.Price.AmountMinor+1))
	}
	for n, want := range map[int]tools.Class{20: tools.ClassNone, 21: tools.ClassSpend} {
		if got, _ := h.class("dtc_set_prices", prices(rows[:n]...)); got != want {
			h.Errorf("%d rows are %q", n, got)
		}
	}
}

// pricesAreSetOnceAtATime sets overlapping batches from many sides: one is first, and the others are told every price
// that changed.
func pricesAreSetOnceAtATime(h *house) {
	batches := make([]args, 6)
	for i := range batches {
		rows := []args{h.priced("40010A", 1151+int64(i)), h.priced("40010B", 1151+int64(i)), h.priced("40010C", 1151+int64(i))}
		if i%2 == 1 {
			slices.Reverse(rows)
		}
		batches[i] = prices(rows...)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for _, in := range batches {
		all.Go(func() {
			_, err := write[setPricesOut](h, "dtc_set_prices", in)
			if err != nil {
				if r := h.refused("second", err, tools.StaleExpectation, ""); len(r.Errors.Now) != 3 {
					h.Errorf("told %+v", r.Errors.Now)
				}
				return
			}
			mu.Lock()
			done++
			mu.Unlock()
		})
	}
	all.Wait()
	if n := h.number("SELECT COUNT(DISTINCT price_minor) FROM variants WHERE product_code = '40010'"); done != 1 || n != 1 {
		h.Errorf("%d batches were set, %d prices", done, n)
	}
}

// BenchmarkSearchProducts searches the real merchant in every order, with every filter.
func BenchmarkSearchProducts(b *testing.B) {
	if _, err := os.Stat(filepath.Join(realData, "orders.csv.gz")); err != nil {
		b.Skipf("the real merchant's data is not in %s: nothing to measure", realData)
	}
	db := storetest.New(b, "sqlite")
	if _, err := shop.Import(b.Context(), db, merchant, realData, shop.Options{Today: sunday}); err != nil {
		b.Fatal(err)
	}
	h := newHouse(new(testing.T), db)
	for _, sort := range []string{"relevance", "title", "best_selling", "price_low", "price_high"} {
		for name, in := range map[string]args{
			"all": {"detail": "full"}, "word": {"query": "heart"}, "words": {"query": "white hang heart"}, "letter": {"query": "s"}, "code": {"query": "85123A"},
			"category": {"category": "Kitchen-Dining"}, "in_stock": {"stock": "in_stock"}, "low": {"stock": "low"}, "out": {"stock": "out"},
			"skus": {"skus": []string{"85123A", "22423"}}, "together": {"query": "set", "category": "kitchen-dining", "stock": "in_stock", "limit": 50},
		} {
			c, err := h.call("dtc_search_products", in.with("sort", sort))
			if err != nil {
				b.Fatal(err)
			}
			b.Run(sort+"/"+name, func(b *testing.B) {
				for b.Loop() {
					err := db.Read(b.Context(), func(tx *store.Tx) (err error) {
						c.Tx = tx
						_, err = c.Tool.Handler().Read(c)
						return err
					})
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
