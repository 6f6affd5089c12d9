package dtc

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// The bounds of an amount are not in the schema, so each tool that takes one must ask for them.
func TestAmountsHaveBounds(t *testing.T) {
	db := storetest.New(t, "sqlite")
	db.Now = func() time.Time { return sunday }
	if _, err := shop.LoadDemo(t.Context(), db, merchant, 1, sunday); err != nil {
		t.Fatal(err)
	}
	for _, tool := range Tools() {
		if !strings.Contains(string(tool.Input.JSON), `"amount_minor"`) {
			continue
		}
		t.Run(tool.Name, func(t *testing.T) {
			h := newHouse(t, db)
			for _, minor := range []int64{-1, maxAmount + 1} {
				err := h.look(tool, withAmounts(t, tool, pounds(minor)))
				var r *tools.Refusal
				if !errors.As(err, &r) || r.Code != tools.InvalidArguments || !strings.HasSuffix(r.Errors.Fields[0].Field, ".amount_minor") {
					t.Errorf("%d pence: %v", minor, err)
				}
			}
		})
	}
}

// look reads, or previews a write.
func (h *house) look(tool *tools.Tool, in args) error {
	if tool.Writes() {
		_, err := h.preview(tool.Name, in)
		return err
	}
	_, err := read[any](h, tool.Name, in)
	return err
}

// withAmounts gives a tool's example with every amount in it replaced, and with those that it leaves out.
func withAmounts(t *testing.T, tool *tools.Tool, amount any) args {
	var in args
	if err := json.Unmarshal([]byte(tool.Example), &in); err != nil {
		t.Fatal(err)
	}
	switch tool {
	case searchOrders:
		in["min_total"] = amount
	case searchCustomers, createSegment:
		in["where"] = map[string]any{"min_spent": amount}
	}
	return replaceAmounts(map[string]any(in), amount).(map[string]any)
}

func replaceAmounts(value, amount any) any {
	switch v := value.(type) {
	case map[string]any:
		if _, is := v["amount_minor"]; is {
			return amount
		}
		for name := range v {
			v[name] = replaceAmounts(v[name], amount)
		}
	case []any:
		for i := range v {
			v[i] = replaceAmounts(v[i], amount)
		}
	}
	return value
}
