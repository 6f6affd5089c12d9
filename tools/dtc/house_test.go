package dtc

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

const merchant = "mer_test"

// sunday is when these tests run.
var sunday = time.Date(2026, 11, 22, 9, 30, 0, 0, shop.London)

// house calls tools as package gate does, but for its judgement: arguments are made canonical and checked, a write is
// previewed and done in one transaction, and every answer is held to its schema and size.
type house struct {
	*testing.T
	db       *store.DB
	key      auth.Principal
	registry *tools.Registry
	jobs     *someJobs
}

// A story is a test that shares its shop with others. It may change the shop, but counts on nothing that others change.
type story struct {
	name string
	tell func(h *house)
}

// TestShop tells all stories on one generated shop an engine: loading it takes longer than most of them.
func TestShop(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		db.Now = func() time.Time { return sunday }
		if _, err := shop.LoadDemo(t.Context(), db, merchant, 1, sunday); err != nil {
			t.Fatal(err)
		}
		for _, s := range slices.Concat(salesStories, discountStories, refundStories, campaignStories, readStories, productStories, adStories, supportStories, marketingStories, customerStories, analyticsStories, orderStories, actionStories, helpdeskStories, objectStories, contactStories, factStories) {
			t.Run(s.name, func(t *testing.T) { s.tell(newHouse(t, db)) })
		}
	})
}

func newHouse(t *testing.T, db *store.DB) *house {
	return &house{
		T: t, db: db, registry: tools.NewRegistry(Tools()...), jobs: &someJobs{},
		key: auth.Principal{
			Kind: auth.KindKey, ID: "key_test", Merchant: merchant, Name: "test bot", Scopes: auth.AgentScopes, Ceiling: auth.MaxLevel,
		},
	}
}

// args are a call's arguments by name.
type args map[string]any

// with gives a copy of a in which one argument is another; nil leaves it out.
func (a args) with(name string, value any) args {
	b := args{}
	for k, v := range a {
		b[k] = v
	}
	b[name] = value
	if value == nil {
		delete(b, name)
	}
	return b
}

// call makes a call out of arguments that fit the tool's schema.
func (h *house) call(name string, in args) (*tools.Call, error) {
	h.Helper()
	t, ok := h.registry.Find(name)
	if !ok {
		h.Fatalf("there is no tool %s", name)
	}
	raw, err := json.Marshal(in.with("", nil)) // an object, of no arguments too
	if err != nil {
		h.Fatal(err)
	}
	canonical, err := schemas.Canonical(raw)
	if err != nil {
		h.Fatalf("%s: %v", raw, err)
	}
	if wrong := t.Input.Check(canonical); len(wrong) > 0 {
		return nil, tools.WrongFields(wrong)
	}
	now := sunday
	if h.db != nil {
		now = h.db.Now()
	}
	return &tools.Call{
		ID: store.NewID("call", now), Tool: t, Principal: h.key, Args: canonical, Started: now, Registry: h.registry, Jobs: h.jobs, Traces: someTraces{h.jobs},
		PolicyVersion: 7, May: h.may, Granted: func() ([]tools.Granted, error) { return nil, nil },
	}, nil
}

// may is what the house's key may do under a policy that leaves everything to the key.
func (h *house) may() tools.May {
	m := tools.May{Profile: "admin", Trust: "100", Sandbox: "OPEN"}
	m.Tools = h.registry.Visible(h.key, func(*tools.Tool) bool { return true })
	for _, t := range m.Tools {
		if t.AlwaysAsks || h.key.RequiresApproval && t.MayPark() {
			m.Parks = append(m.Parks, t)
		}
		for _, a := range t.Actions {
			if h.key.MayRequest(a.ID()) {
				m.Actions = append(m.Actions, a.ID())
			}
		}
	}
	return m
}

// read calls a read and gives its answer.
func read[Out any](h *house, name string, in args) (out Out, err error) {
	h.Helper()
	c, err := h.call(name, in)
	if err != nil {
		return out, err
	}
	var answer any
	err = h.db.Read(h.Context(), func(tx *store.Tx) (err error) {
		c.Tx = tx
		answer, err = c.Tool.Handler().Read(c)
		return err
	})
	if err != nil {
		if errors.Is(err, tools.ErrNotYet) {
			out = answer.(Out)
		}
		return out, err
	}
	h.fits(c.Tool, answer)
	return answer.(Out), nil
}

// fits holds an answer to its schema, and to what one answer may be long.
func (h *house) fits(t *tools.Tool, answer any) {
	h.Helper()
	raw, err := json.Marshal(answer)
	if err != nil {
		h.Fatal(err)
	}
	if len(raw) > maxAnswer {
		h.Errorf("%s answers %d bytes, more than %d", t.Name, len(raw), maxAnswer)
	}
	canonical, err := schemas.Canonical(raw)
	if err != nil {
		h.Fatalf("%s: %v", raw, err)
	}
	if wrong := t.Output.Check(canonical); len(wrong) > 0 {
		h.Errorf("%s answers what its schema does not allow: %+v\n%s", t.Name, wrong, raw)
	}
}

// preview computes what a write would do.
func (h *house) preview(name string, in args) (p tools.Preview, err error) {
	h.Helper()
	c, err := h.call(name, in)
	if err != nil {
		return p, err
	}
	err = h.db.Read(h.Context(), func(tx *store.Tx) (err error) {
		c.Tx = tx
		p, err = c.Tool.Handler().Preview(c)
		return err
	})
	return p, err
}

// write previews and does a write, in one transaction.
func write[Out any](h *house, name string, in args) (out Out, err error) {
	h.Helper()
	c, err := h.call(name, in)
	if err != nil {
		return out, err
	}
	var answer any
	err = h.db.InTx(h.Context(), func(tx *store.Tx) (err error) {
		c.Tx = tx
		if _, err = c.Tool.Handler().Preview(c); err == nil {
			answer, err = c.Tool.Handler().Write(c)
		}
		return err
	})
	if err != nil {
		return out, err
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		h.Fatal(err)
	}
	h.fits(c.Tool, tools.Result{Status: tools.Done, Result: raw, Undo: c.Tool.Undo})
	return answer.(Out), nil
}

// undoable does a write, or a stepped one whose first step is its last, and gives what takes it back.
func undoable[Out any](h *house, name string, in args) (out Out, undo func() error, err error) {
	h.Helper()
	c, err := h.call(name, in)
	if err != nil {
		return out, nil, err
	}
	var result, image json.RawMessage
	err = h.db.InTx(h.Context(), func(tx *store.Tx) (err error) {
		c.Tx = tx
		if _, err = c.Tool.Handler().Preview(c); err != nil {
			return err
		}
		if keep := c.Tool.Handler().Keep; keep != nil {
			if image, err = keep(c); err != nil {
				return err
			}
		}
		answer, err := h.act(c)
		if err != nil {
			return err
		}
		out = answer.(Out)
		result, err = json.Marshal(answer)
		return err
	})
	if err == nil {
		h.fits(c.Tool, tools.Result{Status: tools.Done, Result: result, Undo: c.Tool.Undo})
	}
	return out, func() error {
		return h.db.InTx(h.Context(), func(tx *store.Tx) error {
			c.Tx = tx
			return c.Tool.Handler().Restore(c, result, image)
		})
	}, err
}

// act has the effect of a write, in its one step where it is a stepped one.
func (h *house) act(c *tools.Call) (any, error) {
	h.Helper()
	if write := c.Tool.Handler().Write; write != nil {
		return write(c)
	}
	var p tools.Progress
	answer, err := c.Tool.Handler().Step(c, &p)
	if err == nil && !p.Done {
		h.Errorf("%s takes more than a step", c.Tool.Name)
	}
	return answer, err
}

// must gives a value and ends the test when there is an error instead.
func must[T any](h *house) func(v T, err error) T {
	return func(v T, err error) T {
		h.Helper()
		if err != nil {
			h.Fatal(err)
		}
		return v
	}
}

// refused holds an error to be a refusal with a code, and with a field where one is named.
func (h *house) refused(what string, err error, code tools.Code, field string) *tools.Refusal {
	h.Helper()
	if errors.Is(err, store.ErrNotFound) {
		err = tools.Refuse(tools.NotFound, "", "")
	}
	var r *tools.Refusal
	if !errors.As(err, &r) || r.Code != code {
		h.Fatalf("%s: got %v, want the refusal %s", what, err, code)
	}
	if field != "" && (r.Errors == nil || len(r.Errors.Fields) == 0 || r.Errors.Fields[0].Field != field) {
		h.Errorf("%s: refused for %+v, want the field %s", what, r.Errors, field)
	}
	return r
}

// exec changes the shop behind the tools' back.
func (h *house) exec(q string, values ...any) {
	h.Helper()
	err := h.db.InTx(h.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(q, values...)
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
}

// number and text ask the database directly.
func (h *house) number(q string, values ...any) int64 {
	h.Helper()
	return ask[int64](h, q, values...)
}

func (h *house) text(q string, values ...any) string {
	h.Helper()
	return ask[string](h, q, values...)
}

func ask[T any](h *house, q string, values ...any) (v T) {
	h.Helper()
	err := h.db.Read(h.Context(), func(tx *store.Tx) error { return tx.QueryRow(q, values...).Scan(&v) })
	if err != nil {
		h.Fatalf("%s: %v", q, err)
	}
	return v
}

func pounds(minor int64) args { return args{"amount_minor": minor, "currency": "GBP"} }

// someJobs are jobs of the caller, newest first.
type someJobs struct {
	all  []tools.Job
	open map[string]string // who has a job about a resource that has not ended
}

func (s *someJobs) Job(_ *store.Tx, _ auth.Principal, id string) (tools.Job, error) {
	for _, j := range s.all {
		if j.JobID == id {
			return j, nil
		}
	}
	return tools.Job{}, store.ErrNotFound
}

func (s *someJobs) Jobs(_ *store.Tx, _ auth.Principal, f tools.JobFilter) (page []tools.Job, total int, err error) {
	for _, j := range s.all {
		if f.Status != "" && j.Status != f.Status {
			continue
		}
		total++
		if (f.Before == "" || j.JobID < f.Before) && len(page) < f.Limit {
			page = append(page, j)
		}
	}
	return page, total, nil
}

// someTraces are as many open jobs as some jobs say, about whatever is asked for.
type someTraces struct{ *someJobs }

func (s someTraces) Open(*store.Tx, string, []string, string) (int, error) { return len(s.open), nil }

func (someTraces) Forget(*store.Tx, string, []string) (int64, error) { return 0, nil }
func (s *someJobs) Open(_ *store.Tx, p auth.Principal, _, resource string) (open, own bool, err error) {
	asker, open := s.open[resource]
	return open, asker == p.ID, nil
}

func (s *someJobs) CancelJob(_ *store.Tx, _ auth.Principal, id, reason string) (tools.Job, error) {
	for i := range s.all {
		if j := &s.all[i]; j.JobID == id {
			if !j.Status.Final() {
				j.Status, j.Why = tools.JobCancelled, reason
			}
			return *j, nil
		}
	}
	return tools.Job{}, store.ErrNotFound
}
