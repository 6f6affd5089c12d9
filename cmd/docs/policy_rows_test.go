package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

func readPage(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// demoFile makes a database with the demo.
func demoFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "demo.db")
	db, err := store.Open(t.Context(), path)
	if err == nil {
		_, err = newDemo(t.Context(), db)
	}
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A counter is where the rows of one table are asked: a shop of its own under the document of its section.
type counter struct {
	*testing.T
	db       *store.DB
	gate     *gate.Gate
	merchant string
	rules    trust.Rules
	keys     map[string]auth.Principal // by the cell that names them
	asked    int
}

// asks asks the rows of a table.
func (r *pageReader) asks(b pageBlock) {
	lines := strings.Split(strings.TrimSpace(b.text), "\n")
	columns := cells(lines[0])
	c := r.counter(b)
	for i, line := range lines[2:] {
		row := map[string]string{}
		for n, cell := range cells(line) {
			row[columns[n]] = cell
		}
		r.counted["row"]++
		if got := c.gets(row); got != row["gets"] {
			r.Errorf("line %d: %s\n gets %s", b.line+2+i, line, got)
		}
	}
}

func cells(line string) []string {
	all := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
	for i, cell := range all {
		all[i] = strings.TrimSpace(cell)
	}
	return all
}

func (r *pageReader) counter(b pageBlock) *counter {
	dsn := storetest.DSN(r.T, "sqlite")
	file, err := os.ReadFile(r.shop)
	if err == nil {
		err = os.WriteFile(dsn, file, 0o600)
	}
	if err != nil {
		r.Fatal(err)
	}
	c := &counter{T: r.T, db: storetest.Open(r.T, dsn), keys: map[string]auth.Principal{}}
	c.db.Now = func() time.Time { return today }
	c.gate = gate.New(gate.Config{DB: c.db, Tools: pageRegistry, Log: zerolog.Nop()})
	c.tx(func(tx *store.Tx) error {
		m, err := auth.EnsureMerchant(tx, "demo")
		c.merchant = m.ID
		return err
	})
	by := gate.By{Principal: auth.OperatorPrincipal(c.merchant), Transport: "cli"}
	if _, err := c.gate.PublishPolicy(c.Context(), by, r.now.text(), "an example", nil); err != nil {
		r.Fatalf("line %d: %v", b.line, err)
	}
	if p, problems := policy.New([]byte(r.now.text()), pageRegistry); len(problems) == 0 {
		c.rules = p.Document.Trust
	}
	return c
}

func (c *counter) tx(fn func(*store.Tx) error) {
	c.Helper()
	if err := c.db.InTx(c.Context(), fn); err != nil {
		c.Fatal(err)
	}
}

var (
	profileCell = regexp.MustCompile("^`([a-z]+)`(, requires_approval)?$")
	callCell    = regexp.MustCompile("^`([a-z_]+) ({.*})`$")
)

// gets makes the call of a row and says what it gets, in the words of the page: with the rule, where the row names one.
func (c *counter) gets(row map[string]string) string {
	call := callCell.FindStringSubmatch(row["calls"])
	if call == nil {
		c.Fatalf("a call is written %s", row["calls"])
	}
	if at := row["at"]; at != "" {
		when, err := time.ParseInLocation("2006-01-02 15:04", at, shop.London)
		if err != nil {
			c.Fatal(err)
		}
		c.db.Now = func() time.Time { return when }
	}
	p := c.key(row["key of"])
	if row["trust"] != "" {
		c.trusts(p, row["trust"])
	}
	out, err := c.gate.Call(c.Context(), p, gate.Request{Tool: call[1], Args: c.args(call[1], call[2]), Transport: "rest", Source: "127.0.0.1"})
	got := inWords(out, err)
	if strings.Contains(row["gets"], " by `") {
		got += " by `" + c.rule() + "`"
	}
	return got
}

func inWords(out gate.Outcome, err error) string {
	var r *tools.Refusal
	switch {
	case errors.As(err, &r):
		return "`" + string(r.Code) + "`"
	case err != nil:
		return err.Error()
	case out.Status != tools.PendingApproval:
		return "runs"
	}
	var parked tools.Result
	if err := json.Unmarshal(out.Body, &parked); err != nil {
		return err.Error()
	}
	return "waits for " + parked.Approval.Needs
}

// rule is the one that decided the last call, as it is on record.
func (c *counter) rule() (rule string) {
	c.tx(func(tx *store.Tx) error {
		last, err := audit.Find(tx, audit.Filter{Event: "call", Limit: 1})
		if err == nil {
			rule = last[0].PolicyRule
		}
		return err
	})
	return rule
}

// key gives the key that a cell names; a second row with the same cell has the same one.
func (c *counter) key(cell string) auth.Principal {
	if p, ok := c.keys[cell]; ok {
		return p
	}
	named := profileCell.FindStringSubmatch(cell)
	if named == nil {
		c.Fatalf("a key is written %s", cell)
	}
	k := auth.Key{
		Merchant: c.merchant, Name: fmt.Sprintf("key-%d", len(c.keys)), Profile: named[1], RequiresApproval: named[2] != "",
		Scopes: auth.AgentScopes, Ceiling: auth.MaxLevel, Actions: []string{"*"},
	}
	c.tx(func(tx *store.Tx) error {
		_, secret, err := auth.MintKey(tx, k)
		if err == nil {
			c.keys[cell], err = auth.Authenticate(tx, secret)
		}
		return err
	})
	return c.keys[cell]
}

// trusts brings the score of an agent to what a row says.
func (c *counter) trusts(p auth.Principal, points string) {
	want, err := trust.ParseScore(points)
	if err != nil {
		c.Fatal(err)
	}
	c.tx(func(tx *store.Tx) error {
		now, err := trust.Of(tx, c.rules, c.merchant, p.ID)
		if err != nil || now == want {
			return err
		}
		weight := want - now
		_, err = trust.Move(tx, c.rules, c.merchant, p.ID, trust.Signal{Kind: trust.Feedback, Weight: &weight, By: auth.Operator})
		return err
	})
}

// args are the arguments of a tool's example, with those that the page shows in place of its own. Each call is one of its own.
func (c *counter) args(tool, shown string) []byte {
	t, ok := pageRegistry.Find(tool)
	if !ok {
		c.Fatalf("there is no tool %s", tool)
	}
	args := map[string]json.RawMessage{}
	for _, text := range []string{t.Example, shown} {
		if err := json.Unmarshal([]byte(text), &args); err != nil {
			c.Fatalf("%s %s: %v", tool, text, err)
		}
	}
	if c.asked++; args["idempotency_key"] != nil {
		args["idempotency_key"] = json.RawMessage(fmt.Sprintf(`"row-%d"`, c.asked))
	}
	raw, err := json.Marshal(args)
	if err != nil {
		c.Fatal(err)
	}
	return raw
}

// Every code with which a policy can refuse stands in the list of what an agent sees, and nothing else does.
func TestThePolicyPageListsTheCodes(t *testing.T) {
	_, list, found := strings.Cut(readPage(t, policyPage), "\n## What an agent sees\n")
	if !found {
		t.Fatal("docs/policy.md does not say what an agent sees")
	}
	list, _, _ = strings.Cut(list, "\n## ")
	var got []string
	for line := range strings.Lines(list) {
		if code := codeCell.FindStringSubmatch(line); code != nil {
			got = append(got, code[1])
		}
	}
	for _, code := range got {
		if !slices.Contains(tools.Codes, tools.Code(code)) {
			t.Errorf("there is no code %s", code)
		}
	}
	for _, code := range policyCodes {
		if !slices.Contains(got, string(code)) {
			t.Errorf("%s is not told of", code)
		}
	}
}

var codeCell = regexp.MustCompile("^\\| `([A-Z_]+)` \\|")

// policyCodes are those of refusals by a policy or because it changed.
var policyCodes = []tools.Code{
	tools.ForbiddenTool, tools.ForbiddenResource, tools.NotFound, tools.Frozen, tools.RiskCeiling, tools.TrustTooLow, tools.ForbiddenByPolicy,
	tools.QuietHours, tools.BudgetExceeded, tools.ApprovalInvalidated, tools.Unavailable,
}
