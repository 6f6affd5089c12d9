package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// examplesDay is the day that the tools' examples are made for.
var examplesDay = time.Date(2026, 11, 22, 9, 30, 0, 0, shop.London)

// A stand is a gate over one merchant, in this process.
type stand struct {
	*gate.Gate
	db       *store.DB
	registry *tools.Registry
	free     string // secret of a key that may do everything
	asking   string // of one whose calls are parked
	merchant string
	made     bool              // the merchant is the one that the examples are about
	ids      map[string]string // what stands at {{name}} in a call and, on another merchant, at an argument of that name
	calls    int               // so far
}

// newStand loads a merchant into a database: the one of a directory, or a generated one.
func newStand(ctx context.Context, dsn, data string) (s *stand, err error) {
	s = &stand{registry: tools.NewRegistry(dtc.Tools()...), made: data == "", ids: map[string]string{}}
	if s.db, err = store.Open(ctx, dsn); err != nil {
		return nil, err
	}
	s.db.Now = func() time.Time { return examplesDay }
	s.Gate = gate.New(gate.Config{DB: s.db, Tools: s.registry, Log: zerolog.Nop()})
	var m auth.Merchant
	err = s.db.InTx(ctx, func(tx *store.Tx) error {
		if m, err = auth.EnsureMerchant(tx, "bench"+data[:min(1, len(data))]); err != nil {
			return err
		}
		s.merchant = m.ID
		if err = policytest.Install(tx, m.ID); err != nil {
			return err
		}
		all := auth.Key{Merchant: m.ID, Name: "free", Profile: "admin", Scopes: auth.AgentScopes, Actions: []string{"*"}, Ceiling: auth.MaxLevel}
		if _, s.free, err = auth.MintKey(tx, all); err != nil {
			return err
		}
		all.Name, all.RequiresApproval = "asking", true
		_, s.asking, err = auth.MintKey(tx, all)
		return err
	})
	if err != nil {
		return nil, err
	}
	if data == "" {
		_, err = shop.LoadDemo(ctx, s.db, m.ID, benchSeed, examplesDay)
	} else {
		_, err = shop.Import(ctx, s.db, m.ID, data, shop.Options{Today: examplesDay})
	}
	if err != nil {
		return nil, err
	}
	return s, s.find(ctx)
}

func (s *stand) close() { _ = s.db.Close() }

// find looks for objects in the merchant's own lists.
func (s *stand) find(ctx context.Context) error {
	for _, list := range []struct {
		tool, args string
		ids        map[string][]string // where in the answer each stands
	}{
		{"dtc_search_orders", `{"status":"fulfilled"}`, map[string][]string{"order_no": {"orders", "0", "order_no"}}},
		{"dtc_search_orders", `{"status":"open"}`, map[string][]string{"open_order_no": {"orders", "0", "order_no"}, "cancel_order_no": {"orders", "1", "order_no"}}},
		{"dtc_search_orders", `{"sort":"largest"}`, map[string][]string{"largest_order_no": {"orders", "1", "order_no"}}},
		{"dtc_search_customers", `{"sort":"most_orders"}`, map[string][]string{
			"best_customer_no": {"customers", "0", "customer_no"}, "customer_no": {"customers", "9", "customer_no"},
		}},
		{"dtc_search_products", `{"stock":"in_stock","sort":"best_selling"}`, map[string][]string{
			"product_code": {"products", "0", "product_code"}, "sku": {"products", "0", "variants", "0", "sku"},
			"amount_minor": {"products", "0", "variants", "0", "price", "amount_minor"},
		}},
		{"dtc_get_tickets", `{"status":"open"}`, map[string][]string{"ticket_id": {"tickets", "0", "ticket_id"}}},
		{"dtc_list_ad_accounts", `{}`, map[string][]string{
			"ad_account_id": {"accounts", "0", "ad_account_id"}, "ad_campaign_id": {"accounts", "0", "campaigns", "0", "ad_campaign_id"},
			"pause_ad_campaign_id": {"accounts", "1", "campaigns", "0", "ad_campaign_id"},
		}},
	} {
		body, _, err := s.timed(ctx, s.free, list.tool, list.args)
		if err != nil {
			return fmt.Errorf("%s: %w", list.tool, err)
		}
		for name, path := range list.ids {
			if s.ids[name], err = at(body, path); err != nil {
				return fmt.Errorf("%s of %s: %w", name, list.tool, err)
			}
		}
	}
	body, _, err := s.timed(ctx, s.free, "dtc_create_campaign", `{"name":"Bench","channel":"email","subject":"Hello","body":"A letter."}`)
	if err == nil {
		s.ids["campaign_id"], err = at(body, []string{"result", "id"})
	}
	return err
}

// at gives a value in a JSON document as text.
func at(body []byte, path []string) (string, error) {
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return "", err
	}
	for _, step := range path {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			i := int(step[0] - '0')
			if i >= len(in) {
				return "", fmt.Errorf("the list has %d elements", len(in))
			}
			v = in[i]
		}
	}
	if v == nil {
		return "", fmt.Errorf("there is no %s", strings.Join(path, "/"))
	}
	return fmt.Sprint(v), nil
}

// timed calls a tool with a key's secret, as a server would.
func (s *stand) timed(ctx context.Context, secret, tool, args string) ([]byte, time.Duration, error) {
	started := time.Now()
	p, err := s.Authenticate(ctx, secret, "")
	if err != nil {
		return nil, 0, err
	}
	out, err := s.Call(ctx, p, gate.Request{Tool: tool, Args: []byte(args), Transport: "rest"})
	return out.Body, time.Since(started), err
}

// try makes one call of a kind, and what must come before and after it. Expectations that the call before has made stale are
// brought up to date, as an agent would.
func (s *stand) try(ctx context.Context, t trial) (time.Duration, error) {
	args, err := s.filled(ctx, t)
	if err != nil {
		return 0, err
	}
	secret := s.free
	if t.way == parked || t.tool == "dtc_cancel_job" {
		secret = s.asking
	}
	body, took, err := s.timed(ctx, secret, t.tool, text(args))
	if now := staleness(err); now != nil {
		maps.Copy(args, now)
		body, took, err = s.timed(ctx, secret, t.tool, text(args))
	}
	if err == nil && t.way == undone {
		err = s.undo(ctx, body)
	}
	if r := (*tools.Refusal)(nil); errors.As(err, &r) {
		raw, _ := json.Marshal(r)
		err = fmt.Errorf("%s is refused: %s", text(args), raw)
	}
	return took, err
}

func text(args map[string]any) string {
	raw, err := json.Marshal(args)
	if err != nil {
		panic(err) // it was JSON before
	}
	return string(raw)
}

// staleness are the arguments that a refusal says would be right now.
func staleness(err error) map[string]any {
	r := (*tools.Refusal)(nil)
	if !errors.As(err, &r) || r.Code != tools.StaleExpectation || r.Errors == nil {
		return nil
	}
	now := maps.Clone(r.Errors.Now)
	maps.DeleteFunc(now, func(name string, _ any) bool { return !strings.HasPrefix(name, "expected_") })
	return now
}

func (s *stand) undo(ctx context.Context, answer []byte) error {
	id, err := at(answer, []string{"undo_id"})
	if err == nil {
		_, _, err = s.timed(ctx, s.free, "dtc_undo", `{"undo_id":"`+id+`"}`)
	}
	if err != nil {
		return fmt.Errorf("undoing it: %w", err)
	}
	return nil
}

// filled are a trial's arguments for the next call: with the ids of this merchant, and new where they may be used once.
func (s *stand) filled(ctx context.Context, t trial) (args map[string]any, err error) {
	s.calls++
	raw := t.args
	for name, make := range map[string]func(context.Context) (string, error){"job_id": s.freshJob, "undo_id": s.freshUndo} {
		if place := "{{" + name + "}}"; strings.Contains(raw, place) {
			if s.ids[name], err = make(ctx); err != nil {
				return nil, err
			}
		}
	}
	for name, id := range s.ids {
		raw = strings.ReplaceAll(raw, "{{"+name+"}}", id)
	}
	decoder := json.NewDecoder(strings.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&args); err != nil {
		return nil, err
	}
	if t.way == reads {
		if !s.made {
			s.adopt(args)
		}
		return args, nil
	}
	for _, name := range []string{"idempotency_key", "name", "code"} {
		if v, ok := args[name].(string); ok {
			args[name] = fmt.Sprintf("%s%d", v, s.calls)
		}
	}
	if !s.made {
		s.adopt(args)
		s.adapt(t.tool, args)
	}
	if t.tool == "dtc_refund_order" {
		args["amount"] = map[string]any{"amount_minor": 1, "currency": "GBP"} // so that it lasts
	}
	if t.way == rehearse {
		args["dry_run"] = true
	}
	return args, nil
}

// adopt puts this merchant's ids in the place of the example's, wherever they stand.
func (s *stand) adopt(args map[string]any) {
	for name, v := range args {
		switch v := v.(type) {
		case string:
			if id, ok := s.ids[name]; ok {
				args[name] = id
			}
		case map[string]any:
			s.adopt(v)
		case []any:
			for _, e := range v {
				if m, ok := e.(map[string]any); ok {
					s.adopt(m)
				}
			}
		}
	}
}

// adapt makes an example fit another merchant where ids are not all.
func (s *stand) adapt(tool string, args map[string]any) {
	switch tool {
	case "dtc_fulfil_order":
		args["order_no"] = s.ids["open_order_no"]
	case "dtc_cancel_order":
		args["order_no"] = s.ids["cancel_order_no"]
	case "dtc_launch_ad_campaign":
		args["countries"] = []any{"United Kingdom"}
	case "dtc_pause":
		args["kind"], args["id"] = "ad_campaign", s.ids["pause_ad_campaign_id"]
	case "dtc_set_prices":
		price := args["prices"].([]any)[0].(map[string]any)
		price["expected_price"] = map[string]any{"amount_minor": json.Number(s.ids["amount_minor"]), "currency": "GBP"}
		price["new_price"] = map[string]any{"amount_minor": json.Number(s.ids["amount_minor"] + "9"), "currency": "GBP"}
	}
}

func (s *stand) freshJob(ctx context.Context) (string, error) {
	t, _ := s.registry.Find("dtc_publish_page")
	args, err := s.filled(ctx, trial{t.Name, t.Example, parked})
	if err != nil {
		return "", err
	}
	body, _, err := s.timed(ctx, s.asking, t.Name, text(args))
	if now := staleness(err); now != nil {
		maps.Copy(args, now)
		body, _, err = s.timed(ctx, s.asking, t.Name, text(args))
	}
	if err != nil {
		return "", err
	}
	return at(body, []string{"job_id"})
}

func (s *stand) freshUndo(ctx context.Context) (string, error) {
	t, _ := s.registry.Find("dtc_create_campaign")
	body, _, err := s.timed(ctx, s.free, t.Name, t.Example)
	if err != nil {
		return "", err
	}
	return at(body, []string{"undo_id"})
}
