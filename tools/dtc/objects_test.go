package dtc

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

var objectStories = []story{{"EveryReadNamesWhatItShows", everyReadNamesWhatItShows}}

// shows says of every read which of its answer's members are ids of objects that it shows, by their type. It is written by hand, as the
// catalogue is. Sums show no object, and what is the caller's own is none.
var shows = map[string]map[string]string{
	"dtc_get_order":         {"order": "order_no"},
	"dtc_search_orders":     {"order": "orders/*/order_no"},
	"dtc_get_customer":      {"customer": "customer_no", "order": "recent_orders/*/order_no"},
	"dtc_search_customers":  {"customer": "customers/*/customer_no"},
	"dtc_search_products":   {"product": "products/*/product_code", "variant": "products/*/variants/*/sku"},
	"dtc_list_campaigns":    {"campaign": "campaigns/*/campaign_id"},
	"dtc_preview_campaign":  {"campaign": "campaign_id"},
	"dtc_list_ad_accounts":  {"ad_account": "accounts/*/ad_account_id", "ad_campaign": "accounts/*/campaigns/*/ad_campaign_id"},
	"dtc_get_tickets":       {"ticket": "tickets/*/ticket_id"},
	"dtc_get_sales_summary": nil, "dtc_get_cohorts": nil, "dtc_get_attribution": nil,
}

func everyReadNamesWhatItShows(h *house) {
	for _, t := range h.registry.All() {
		members, known := shows[t.Name]
		rows := t.Handler().Rows
		switch {
		case t.Writes() || t.Own():
			continue
		case !known || (members == nil) != (rows == nil):
			h.Errorf("%s: does it name what it shows?", t.Name)
		}
		if rows == nil {
			continue
		}
		named, told := h.shown(t), []string{}
		for kind, path := range members {
			for _, id := range at(named.answer, strings.Split(path, "/")) {
				told = append(told, kind+":"+id)
			}
		}
		slices.Sort(told)
		if diff := cmp.Diff(told, named.names); diff != "" || len(told) == 0 {
			h.Errorf("%s (-shown +named):\n%s", t.Name, diff)
		}
	}
}

// A showing is an answer with the first names of what it shows, sorted.
type showing struct {
	answer any
	names  []string
}

func (h *house) shown(t *tools.Tool) (s showing) {
	h.Helper()
	var in args
	if err := json.Unmarshal([]byte(t.Example), &in); err != nil {
		h.Fatal(err)
	}
	c, err := h.call(t.Name, in)
	if err != nil {
		h.Fatal(err)
	}
	err = h.db.Read(h.Context(), func(tx *store.Tx) error {
		c.Tx = tx
		answer, err := t.Handler().Read(c)
		if err != nil {
			return err
		}
		for _, o := range t.Handler().Rows(answer) {
			s.names = append(s.names, o[0])
		}
		raw, err := json.Marshal(answer)
		if err == nil {
			err = json.Unmarshal(raw, &s.answer)
		}
		return err
	})
	if err != nil {
		h.Fatalf("%s: %v", t.Name, err)
	}
	slices.Sort(s.names)
	return s
}

// at gives the texts at a path in decoded JSON, in which * stands for each element of a list.
func at(v any, path []string) (all []string) {
	if len(path) == 0 {
		return []string{v.(string)}
	}
	if path[0] != "*" {
		return at(v.(map[string]any)[path[0]], path[1:])
	}
	for _, element := range v.([]any) {
		all = append(all, at(element, path[1:])...)
	}
	return all
}
