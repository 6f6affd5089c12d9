package gate

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// What stands in the database of an approved call is changed in every column of its three rows, one at a time, and in every value of a column
// that is JSON. A column that is not listed here as free has to keep the call from running: so a new one cannot be forgotten.

// free are the columns that decide nothing about what runs, and why.
var free = map[string]string{
	"jobs.call_id":             "names the call on record",
	"jobs.transport":           "is for the record",
	"jobs.summary":             "is for the record; the preview that was shown is bound",
	"jobs.reason":              "is said when the job ends",
	"jobs.why":                 "is said when the job ends",
	"jobs.progress_percent":    "is how far it is",
	"jobs.checkpoint":          "is how far it is",
	"jobs.result":              "is what it did so far",
	"jobs.run_after":           "is when a worker looks",
	"jobs.attempts":            "is how often a worker looked",
	"jobs.lease_owner":         "is who runs it",
	"jobs.lease_until":         "is who runs it",
	"jobs.cancel_requested_at": "stops a running job; this one waits",
	"jobs.created_at":          "is for the record",
	"jobs.updated_at":          "is for the record",

	"approvals.class":           "sorts requests; the tool is bound",
	"approvals.needs":           "says in words what the rule says, which is bound",
	"approvals.claims":          "was asked when the votes were cast",
	"approvals.agent_reason":    "is what the agent says; it decides nothing",
	"approvals.asked_by":        "is a name; the chain is bound",
	"approvals.agent_id":        "finds requests; the chain is bound",
	"approvals.tool":            "finds requests; the tool is bound",
	"approvals.resource":        "finds requests; the object is bound",
	"approvals.question_sha256": "finds what was asked before",
	"approvals.supersedes":      "links requests",
	"approvals.created_at":      "is from when escalations count; nobody of one voted here",
	"approvals.expires_at":      "is until when it may be decided, and it is",
	"approvals.level":           "is what the sweeper has announced",
	"approvals.escalate_at":     "is what the sweeper has to announce",
	"approvals.decided_at":      "is for the record",
	"approvals.execute_before":  "is a microsecond later; that it is held to is tried elsewhere",
	"approvals.changed":         "is said of what was invalidated",
	"approvals.version":         "counts transitions",

	"approval_votes.person_name":  "is a name",
	"approval_votes.for_name":     "is a name",
	"approval_votes.overrides":    "is an ordinary consent where the rule lets nobody override it",
	"approval_votes.reason":       "is what the person says",
	"approval_votes.acknowledged": "was asked when the vote was cast",
	"approval_votes.open_seconds": "is how long the person looked",
	"approval_votes.flag":         "is how the person looked",
	"approval_votes.channel":      "is where the person was",
	"approval_votes.at":           "is when; nobody of an escalation voted here",
}

// An alteration is one stored value that is another.
type alteration struct {
	table, column, what string
	to                  any
}

func (a alteration) String() string { return a.table + "." + a.column + " " + a.what }

// richly parks and approves a call of which as much is filled as there is.
func richly(t *testing.T, db *store.DB) (h *house, job string) {
	h, _ = newHooked(t, db)
	preview := func(c *tools.Call, in moveIn) (tools.Preview, error) {
		return tools.Preview{
			Summary: "Move " + in.Thing, Customers: 1, Money: &shop.Money{AmountMinor: 10, Currency: "GBP"}, Version: "7",
			Changes: []tools.Change{{Object: "thing:lamp", Field: "place", From: "here", To: "there"}}, Content: "Dear all", Warnings: []string{"it is heavy"},
		}, nil
	}
	facts := func(*tools.Call, moveIn) ([]tools.Fact, error) {
		return []tools.Fact{{Label: "Lamp", Value: "of 3 Nov, paid"}}, nil
	}
	h.tools = tools.NewRegistry(append(h.tools.All(), tools.Define(moveSpec("test_rich", "test.rich"), tools.Func[moveIn, moveOut]{Preview: preview, Facts: facts, Write: h.move}))...)
	job = h.parked("test_rich", `{"thing":"lamp","amount":1,"idempotency_key":"key-one","reason":"the lamp is in the way"}`).JobID
	if err := h.vote(job, approvals.Approve); err != nil {
		t.Fatal(err)
	}
	return h, job
}

// alterations are all of one table's row.
func alterations(t *testing.T, tx *store.Tx, table, where, id string) (all []alteration) {
	t.Helper()
	rows, err := tx.Query(`SELECT * FROM `+table+` WHERE `+where+` = $1`, id)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	values := make([]any, len(columns))
	for i := range values {
		values[i] = new(any)
	}
	if err != nil || !rows.Next() || rows.Scan(values...) != nil {
		t.Fatalf("reading %s: %v", table, err)
	}
	for i, column := range columns {
		for what, to := range changed(*values[i].(*any)) {
			all = append(all, alteration{table, column, what, to})
		}
	}
	return all
}

// changed gives what a value may be instead, with how it differs: of text another byte, of a JSON text another value at each place.
func changed(v any) map[string]any {
	if raw, ok := v.([]byte); ok {
		v = string(raw)
	}
	switch v := v.(type) {
	case string:
		var tree any
		if (strings.HasPrefix(v, "{") || strings.HasPrefix(v, "[")) && json.Unmarshal([]byte(v), &tree) == nil {
			return inJSON(v)
		}
		if v == "" {
			return map[string]any{"filled": "x"}
		}
		all := map[string]any{"emptied": ""}
		for i := range v {
			all[fmt.Sprint("byte ", i)] = v[:i] + string(v[i]^1) + v[i+1:]
		}
		return all
	case int64:
		return map[string]any{"plus one": v + 1}
	case nil:
		return map[string]any{"set": int64(1)}
	}
	return map[string]any{fmt.Sprintf("a %T", v): nil}
}

// inJSON changes every value in a JSON text, and takes every member away. It works on the text's own numbers and order.
func inJSON(text string) map[string]any {
	all := map[string]any{}
	var tree any
	var walk func(at string, v any, put func(any))
	write := func(at string) {
		raw, _ := json.Marshal(tree)
		all[at] = string(raw)
	}
	walk = func(at string, v any, put func(any)) {
		try := func(other any) {
			put(other)
			write(at)
			put(v)
		}
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				walk(at+"."+name, member, func(to any) { v[name] = to })
				if !zero(member) {
					delete(v, name)
					write(at + "." + name + " gone")
					v[name] = member
				}
			}
		case []any:
			for i, member := range v {
				walk(fmt.Sprintf("%s[%d]", at, i), member, func(to any) { v[i] = to })
			}
			try(append(slices.Clone(v), "x"))
		case string:
			try(v + "x")
		case float64:
			try(v + 1)
		case bool:
			try(!v)
		case nil:
			try("x")
		}
	}
	if err := json.Unmarshal([]byte(text), &tree); err == nil {
		walk("", tree, func(to any) { tree = to })
	}
	return all
}

// zero reports whether a member says the same as none.
func zero(v any) bool {
	list, is := v.([]any)
	return v == nil || v == "" || v == false || v == 0.0 || is && len(list) == 0
}

var errBack = errors.New("taken back")

// runs reports whether the call runs once something is altered. It takes all of it back.
func (h *house) runs(a alteration, where, id string) (ran bool, why error) {
	err := h.db.InTx(h.t.Context(), func(tx *store.Tx) error {
		if a.table != "" {
			if _, err := tx.Exec(`UPDATE `+a.table+` SET `+a.column+` = $1 WHERE `+where+` = $2`, a.to, id); err != nil {
				return err
			}
		}
		j, ok, err := approvals.Claim(tx, "w")
		if err != nil || !ok {
			return errors.Join(err, errBack)
		}
		if _, err = h.begin(tx, j, "w", nil); err != nil {
			return err
		}
		n, err := store.One(tx, func(r store.Row) (n int, err error) { return n, r.Scan(&n) }, `SELECT COUNT(*) FROM test_effects`)
		ran = n > 0
		return errors.Join(err, errBack)
	})
	return ran, err
}

func TestACallThatIsAlteredAnywhereDoesNotRun(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h, job := richly(t, db)
		if ran, err := h.runs(alteration{}, "", ""); !ran {
			t.Fatalf("unaltered it does not run: %v", err)
		}
		tables := [][3]string{{"jobs", "id", job}, {"approvals", "job_id", job}, {"approval_votes", "person_id", h.person.ID}}
		held, tried := map[string]bool{}, 0
		for _, table := range tables {
			var all []alteration
			h.tx(func(tx *store.Tx) error {
				all = alterations(t, tx, table[0], table[1], table[2])
				return nil
			})
			for _, a := range all {
				name := a.table + "." + a.column
				if _, is := free[name]; is {
					held[name] = true
					continue
				}
				tried++
				if ran, _ := h.runs(a, table[1], table[2]); ran {
					t.Errorf("%s: %v; it runs all the same", a, a.to)
				}
			}
		}
		for name := range free {
			if !held[name] {
				t.Errorf("there is no column %s", name)
			}
		}
		t.Logf("%d alterations", tried)
	})
}
