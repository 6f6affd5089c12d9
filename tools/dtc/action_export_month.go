package dtc

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type exportMonthIn struct{}

var actionExportMonth = tools.DefineAction(tools.ActionSpec{
	Provider: "accounting", Name: "export_month", Title: "Export a month",
	Description: "Keeps the sales and refunds of a whole month for the books, a row for each day and country, as CSV. The answer gives the sums and the " +
		"CSV's SHA-256. The month must be over. The same sums are exported once.",
	Risk:    tools.Risk{Undo: 1, DataOut: 1},
	Targets: []tools.Target{{Type: "month", Example: "2026-10"}},
	Undo:    "dtc_undo deletes the export", Idempotent: true,
}, tools.Func[exportMonthIn, shop.Export]{Preview: previewExport, Write: exportMonth, Facts: monthFacts, Undo: tools.Reversible(keepNothing, dropExport)})

func previewExport(c *tools.Call, _ exportMonthIn) (tools.Preview, error) {
	_, e, err := export(c)
	return tools.Preview{
		Summary: fmt.Sprintf("Keep the books of %s: %s, gross %s, discounts %s, refunds %s, net %s",
			e.Month, count(e.Rows, "row"), e.Gross, e.Discounts, e.Refunds, e.Net),
		Changes: []tools.Change{{Object: "month " + e.Month, Field: "export", To: "sha256 " + e.SHA256}},
		Version: e.SHA256, // what people saw is what is kept: other sums are another export
	}, err
}

// export makes the export that is asked for, and refuses one that is there or would be of nothing.
func export(c *tools.Call) (*shop.Desk, shop.Export, error) {
	month := c.Wish.ID()
	if _, err := time.Parse("2006-01", month); err != nil {
		return nil, shop.Export{}, tools.Wrong("target", "is no month", "month:YYYY-MM", "month:2026-10")
	}
	if shop.Day(c.Now)[:len("2006-01")] <= month {
		return nil, shop.Export{}, tools.Wrong("target", "is a month that is not over", "a month before this one", nil)
	}
	d, err := desk(c)
	if err != nil {
		return nil, shop.Export{}, err
	}
	e, err := d.Export(month)
	if err == nil && e.Rows == 0 {
		err = tools.Refuse(tools.Conflict, "Choose a month with sales.", "Nothing was sold or given back in that month.")
	}
	if err != nil {
		return nil, e, err
	}
	old, err := d.Exported(e)
	if err == nil && old != "" {
		err = tools.Refuse(tools.Conflict, "Use that export.", "The month was exported with the same sums as %s.", old)
	}
	return d, e, err
}

func exportMonth(c *tools.Call, _ exportMonthIn) (shop.Export, error) {
	d, e, err := export(c)
	if err != nil {
		return e, err
	}
	e.CreatedBy = c.Principal.Name
	e, err = d.AddExport(e)
	if errors.Is(err, shop.ErrChanged) {
		err = errMoved()
	}
	return e, err
}

func dropExport(c *tools.Call, _ exportMonthIn, e shop.Export, _ struct{}) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	return d.DropExport(e)
}
