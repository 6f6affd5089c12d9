//go:build !race

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// neighbour is d for another merchant on the same database, without a shop.
func (d *demo) neighbour(ctx context.Context, name string) (*demo, error) {
	n := *d
	err := d.db.InTx(ctx, func(tx *store.Tx) error {
		m, err := auth.EnsureMerchant(tx, name)
		if err != nil {
			return err
		}
		n.merchant = m.ID
		if err := policytest.Install(tx, m.ID); err != nil {
			return err
		}
		if _, _, err := auth.AddPerson(tx, m.ID, "owner", "manager"); err != nil {
			return err
		}
		if n.person, err = auth.FindPerson(tx, m.ID, "owner"); err != nil {
			return err
		}
		if n.free, err = mint(tx, auth.Key{Merchant: m.ID, Name: "free-bot", Actions: []string{"*"}}); err != nil {
			return err
		}
		n.asking, err = mint(tx, auth.Key{Merchant: m.ID, Name: "growth-bot", Actions: []string{"*"}, RequiresApproval: true})
		return err
	})
	return &n, err
}

// of is what of a shop belongs to a merchant.
func (v view) of(merchant string) view {
	own := view{}
	for table, rows := range v {
		own[table] = map[string]row{}
		for key, r := range rows {
			if strings.Contains(key, merchant) { // every primary key begins with it
				own[table][key] = r
			}
		}
	}
	return own
}

// TestTwinsAreStrangers has every tool called for a merchant whose shop is the twin of another's, with all ids alike: nothing
// of the other changes, whatever is done and taken back, and its reads are answered as before.
func TestTwinsAreStrangers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := must(newDemo(t.Context(), db))(t)
		twin := must(d.neighbour(t.Context(), "twin"))(t)
		must(shop.LoadDemo(t.Context(), db, twin.merchant, seed, today))(t)
		before, read := look(t, db).of(d.merchant), d.reads(t)
		for _, tool := range d.registry.All() {
			e, err := twin.example(t.Context(), tool)
			if err != nil {
				t.Errorf("%s: %v", tool.Name, err)
				continue
			}
			if r, err := e.Answer.result(); err == nil && r.UndoID != "" {
				if err := refusedAs(d.call(t.Context(), d.free, "dtc_undo", `{"undo_id":"`+r.UndoID+`"}`)); err != tools.NotFound {
					t.Errorf("the other's undo of %s is told %q", tool.Name, err)
				}
				must(twin.call(t.Context(), twin.free, "dtc_undo", `{"undo_id":"`+r.UndoID+`"}`))(t)
			}
		}
		if diff := before.diff(look(t, db).of(d.merchant)); diff != "" {
			t.Errorf("the other's shop has changed:\n%s", diff)
		}
		for name, now := range d.reads(t) {
			if now != read[name] {
				t.Errorf("%s reads\n%s\nand was\n%s", name, now, read[name])
			}
		}
	})
}

func refusedAs(_ answer, err error) tools.Code {
	r := (*tools.Refusal)(nil)
	if errors.As(err, &r) {
		return r.Code
	}
	return tools.Code(fmt.Sprint(err))
}

// reads are the answers to the examples of all reads, without what differs each time.
func (d *demo) reads(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, tool := range d.registry.All() {
		if tool.Writes() || strings.Contains(tool.Example, "{{") || tool.Name == "dtc_whoami" {
			continue
		}
		var members map[string]any
		if err := json.Unmarshal(must(d.example(t.Context(), tool))(t).Answer.Body, &members); err != nil {
			t.Fatal(err)
		}
		delete(members, "next_cursor")
		raw, _ := json.Marshal(members)
		all[tool.Name] = string(raw)
	}
	return all
}

// TestIdsOfAnotherMerchantAreNotFound has every tool called with the ids of another merchant, by one whose shop is empty.
func TestIdsOfAnotherMerchantAreNotFound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := must(newDemo(t.Context(), db))(t)
		poor := must(d.neighbour(t.Context(), "poor"))(t)
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`INSERT INTO shops (merchant_id, currency, source, seed, attribution, shifted_weeks, data_until, loaded_at)
				SELECT $1, currency, source, seed, attribution, shifted_weeks, data_until, loaded_at FROM shops`, poor.merchant)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		job, calls := must(d.parkedJob(t.Context()))(t), d.foreignCalls(t)
		calls["dtc_get_job"] = append(calls["dtc_get_job"], `{"job_id":"`+job+`"}`)
		before := look(t, db).of(d.merchant)
		for _, tool := range d.registry.All() {
			for _, args := range calls[tool.Name] {
				got := refusedAs(poor.call(t.Context(), poor.free, tool.Name, args))
				if got != tools.NotFound && namesAnObject(tool, args) && (got != tools.InvalidArguments || !slices.Contains(nameTheArgument, tool.Name)) {
					t.Errorf("%s %s is told %q", tool.Name, args, got)
				}
			}
		}
		for _, b := range []approvals.Decision{approvals.Approve, approvals.Deny} {
			_, err := d.Vote(t.Context(), poor.person, gate.Ballot{ID: job, Decision: b, Channel: "rest"})
			if code := refusedAs(answer{}, err); code != tools.NotFound {
				t.Errorf("the other's person who says %s is told %q", b, code)
			}
		}
		if diff := before.diff(look(t, db).of(d.merchant)); diff != "" {
			t.Errorf("the other's shop has changed:\n%s", diff)
		}
	})
}

// nameTheArgument are the tools that say which of many arguments stands for nothing.
var nameTheArgument = []string{"dtc_set_prices"}

// namesAnObject reports whether a call is about one object, and not about a list or a new one.
func namesAnObject(tool *tools.Tool, args string) bool {
	_, id, _ := strings.Cut(tool.ResourceOf([]byte(args)), ":")
	return id != "" && id != "*" && id != "+" && tool.Resource != "self" && !strings.Contains(args, "month:")
}

// foreignCalls are the examples of all tools with ids of d's merchant, and a call of each action.
func (d *demo) foreignCalls(t *testing.T) map[string][]string {
	t.Helper()
	calls := map[string][]string{}
	for _, tool := range d.registry.All() {
		calls[tool.Name] = []string{must(d.filled(t.Context(), tool.Example))(t)}
	}
	var ticket string
	err := d.db.Read(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT MIN(ticket_id) FROM tickets WHERE merchant_id = $1 AND status = 'open'`, d.merchant).Scan(&ticket)
	})
	if err != nil {
		t.Fatal(err)
	}
	calls["dtc_get_tickets"] = append(calls["dtc_get_tickets"], `{"ticket_id":"`+ticket+`"}`)
	for action, rest := range map[string]string{
		"helpdesk:close_ticket": `"target":"ticket:` + ticket + `","arguments":{"expected_version":1}`,
		"helpdesk:send_reply":   `"target":"ticket:` + ticket + `","arguments":{"expected_version":1,"text":"Hello"}`,
		"payments:refund":       `"target":"order:71996","arguments":{"expected_version":1,"amount":{"amount_minor":100,"currency":"GBP"},"cause":"goodwill"}`,
		"shipping:create_label": `"target":"order:71996","arguments":{"carrier":"dpd","weight_grams":500,"max_cost":{"amount_minor":9000,"currency":"GBP"}}`,
		"warehouse:recall_lot":  `"target":"variant:40010B","arguments":{"max_pieces":1000,"reason_code":"quality"}`,
	} {
		calls["dtc_request_action"] = append(calls["dtc_request_action"],
			`{"action":"`+action+`",`+rest+`,"idempotency_key":"`+action+`","reason":"to see what comes of it"}`)
	}
	return calls
}
