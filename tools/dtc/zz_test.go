package dtc
import ("testing";"time";"os";"github.com/dtcgate/dtcgate/shop";"github.com/dtcgate/dtcgate/store";"github.com/dtcgate/dtcgate/store/storetest")
func TestZZ(t *testing.T) {
	_, err := os.Stat("/tmp/helperT/full.db")
	db := storetest.Open(t, "/tmp/helperT/full.db")
	db.Now = func() time.Time { return sunday }
	if err != nil {
		s := time.Now()
		if _, err := shop.Import(t.Context(), db, merchant, "../../../shared/demo-data", shop.Options{KeepDates: true, Today: sunday}); err != nil { t.Fatal(err) }
		t.Log("import", time.Since(s))
	}
	h := newHouse(t, db)
	tm := func(n string, f func()) { f(); s := time.Now(); f(); t.Log(n, time.Since(s)) }
	o := func(in args) func() { return func() { r, err := read[searchOrdersOut](h, "dtc_search_orders", in); if err != nil { t.Error(err) }; _ = r } }
	p := func(in args) func() { return func() { _, err := read[searchProductsOut](h, "dtc_search_products", in); if err != nil { t.Error(err) } } }
	sl := func(in args) func() { return func() { _, err := read[salesOut](h, "dtc_get_sales_summary", in); if err != nil { t.Error(err) } } }
	tm("orders", o(nil)); tm("orders no", o(args{"query":"581483"})); tm("orders sku", o(args{"query":"22423"})); tm("orders title", o(args{"query":"red retrospot"})); tm("orders bag", o(args{"query":"bag"})); tm("largest", o(args{"sort":"largest"})); tm("country", o(args{"country":"france"}))
	tm("prod", p(nil)); for _, s := range []string{"title","best_selling","price_low"} { tm("prod "+s, p(args{"sort":s})) }; tm("prod q", p(args{"query":"red bag"})); tm("prod q best", p(args{"query":"red bag","sort":"best_selling"})); tm("stock", p(args{"stock":"low","limit":50}))
	for _, g := range []string{"total","day","week","month","product","category","country"} { tm("sales "+g, sl(args{"from":"2010-12-01","to":"2011-12-09","group_by":g,"limit":100})) }
	tm("sales cmp", sl(args{"from":"2011-06-01","to":"2011-12-09","group_by":"product","compare_previous":true}))
	for _, seg := range []string{"United Kingdom","Best customers","Recent buyers","Not seen for half a year","Christmas shoppers"} {
		tm("reach "+seg, func() { h.db.Read(t.Context(), func(tx *store.Tx) error { d, _ := shop.At(tx, merchant); var id string; tx.QueryRow("SELECT segment_id FROM segments WHERE name=$1", seg).Scan(&id); r, err := d.Reach(shop.Campaign{Channel:"email", SegmentID: id}); t.Log(r, err); return nil }) })
	}
}
