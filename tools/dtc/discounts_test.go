package dtc

import (
	"fmt"
	"sync"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

var discountStories = []story{
	{"DiscountIsMadeWithItsCaps", discountIsMadeWithItsCaps},
	{"DiscountIsRefusedWhenItMakesNoSense", discountIsRefusedWhenItMakesNoSense},
	{"CodeIsTakenOnce", codeIsTakenOnce},
}

var spring10 = args{
	"code": "SPRING10", "percent_off": 10, "max_uses": 100, "max_given_away": pounds(50000),
	"start_on": "2026-11-22", "end_on": "2026-12-01", "idempotency_key": "k", "reason": "for the spring launch",
}

func discountIsMadeWithItsCaps(h *house) {
	sku := h.text("SELECT MIN(sku) FROM variants")
	in := spring10.with("skus", []string{sku}).with("percent_off", 50)
	p := must[tools.Preview](h)(h.preview("dtc_create_discount", in))
	want := tools.Preview{
		Summary:      "Create the code SPRING10: 50% off 1 SKU from 2026-11-22 to 2026-12-01, for 100 uses and £500.00 given away at most",
		Money:        &shop.Money{AmountMinor: 50000, Currency: "GBP"},
		Changes:      []tools.Change{{Object: "discount SPRING10", Field: "status", To: "active"}},
		Warnings:     []string{"Half of the price or more is given away."},
		Irreversible: "What has been given away by then stays given away.",
	}
	if diff := cmp.Diff(want, p); diff != "" {
		h.Errorf("the preview:\n%s", diff)
	}
	out := must[createDiscountOut](h)(write[createDiscountOut](h, "dtc_create_discount", in))
	row := h.text(`SELECT code || '|' || percent_off || '|' || skus || '|' || max_uses || '|' || max_given_away_minor || '|' || status || '|' || created_by
		FROM discounts WHERE discount_id = $1`, out.DiscountID)
	if want := `SPRING10|50|["` + sku + `"]|100|50000|active|test bot`; out.Code != "SPRING10" || row != want {
		h.Errorf("kept as %q, want %q", row, want)
	}
	_, err := write[createDiscountOut](h, "dtc_create_discount", in)
	h.refused("the code again", err, tools.Conflict, "")
}

func discountIsRefusedWhenItMakesNoSense(h *house) {
	in := spring10.with("code", "OTHER")
	for what, c := range map[string]struct {
		in    args
		field string
	}{
		"a small code":      {in.with("code", "spring"), "code"},
		"91 percent":        {in.with("percent_off", 91), "percent_off"},
		"no cap":            {in.with("max_given_away", pounds(0)), "max_given_away.amount_minor"},
		"another currency":  {in.with("max_given_away", args{"amount_minor": 5, "currency": "EUR"}), "max_given_away.currency"},
		"the wrong order":   {in.with("start_on", "2026-12-02"), "end_on"},
		"over already":      {in.with("start_on", "2026-11-01").with("end_on", "2026-11-21"), "end_on"},
		"for two years":     {in.with("end_on", "2028-11-22"), "end_on"},
		"far ahead":         {in.with("start_on", "2033-01-01").with("end_on", "2033-01-02"), "start_on"},
		"no such SKU":       {in.with("skus", []string{"none"}), "skus[0]"},
		"a day that is not": {in.with("end_on", "2026-11-31"), "end_on"},
		"no reason":         {in.with("reason", nil), "reason"},
	} {
		_, err := h.preview("dtc_create_discount", c.in)
		h.refused(what, err, tools.InvalidArguments, c.field)
	}
}

// codeIsTakenOnce makes the same code from many sides at once.
func codeIsTakenOnce(h *house) {
	var all sync.WaitGroup
	made := make([]bool, 8)
	for i := range made {
		all.Go(func() {
			out, err := write[createDiscountOut](h, "dtc_create_discount", spring10.with("code", "RACE"))
			made[i] = err == nil
			if err != nil && fmt.Sprint(err) != fmt.Sprint(errTaken()) {
				h.Errorf("%+v, %v", out, err)
			}
		})
	}
	all.Wait()
	n := 0
	for _, ok := range made {
		if ok {
			n++
		}
	}
	if kept := h.number("SELECT COUNT(*) FROM discounts WHERE code = 'RACE'"); n != 1 || kept != 1 {
		h.Errorf("%d calls were told that they made the code, %d rows", n, kept)
	}
}
