package tools

import (
	"testing"

	"github.com/dtcgate/dtcgate/auth"
)

func TestLevelsOfRisk(t *testing.T) {
	for _, c := range []struct {
		name string
		risk Risk
		want auth.Level
	}{
		{"an internal read", Risk{DataOut: 1}, 0},
		{"a personal read", Risk{DataOut: 2}, 1},
		{"a draft", Risk{Undo: 1}, 2},
		{"a reversible write", Risk{Undo: 1, Blast: 1}, 3},
		{"contact data", Risk{DataOut: 3}, 4},
		{"a person makes it good", Risk{Undo: 2, Blast: 1}, 4},
		{"money under a cap", Risk{Undo: 2, Blast: 1, Money: 1, Reach: 1}, 5},
		{"one customer", Risk{Undo: 2, Blast: 1, Touch: 1}, 5},
		{"the whole store", Risk{Undo: 1, Blast: 3, Reach: 1}, 5},
		{"money as the arguments say", Risk{Undo: 2, Blast: 1, Money: 2}, 6},
		{"irreversible", Risk{Undo: 3, Blast: 1, Touch: 1}, 6},
		{"many customers", Risk{Undo: 2, Touch: 2}, 6},
		{"irreversible and wide", Risk{Undo: 3, Blast: 2, Money: 1, Touch: 2, Reach: 1}, 7},
		{"erasing a person", Risk{Undo: 3, Blast: 1, DataOut: 3}, 7},
		{"the rehearsal of a send", Risk{Undo: 3, Blast: 2, Money: 1, Touch: 2, Reach: 1}.Rehearsed(), 0},
	} {
		if got := c.risk.Level(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

type goodIn struct {
	Name           string `json:"name"`
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	Reason         string `json:"reason,omitempty"`
	DryRun         bool   `json:"dry_run,omitempty"`
}

type badIn struct {
	Name string `json:"name"`
}

func TestABadToolStopsTheStart(t *testing.T) {
	good := Spec{
		Name: "dtc_do_it", Path: "it.do", Title: "Do it", Description: "A tool of the tests that does nothing at all.", Class: ClassSpend,
		Risk: Risk{Undo: 1}, Resource: "it:/name", Undo: "None", Routes: []Route{{Method: "POST", Path: "/it"}},
	}
	f := Func[goodIn, goodIn]{
		Preview: func(*Call, goodIn) (Preview, error) { return Preview{}, nil },
		Write:   func(*Call, goodIn) (goodIn, error) { return goodIn{}, nil },
	}
	if panics(func() { Define(good, f) }) {
		t.Fatal("a good tool was refused")
	}
	for name, spoil := range map[string]func(*Spec, *Func[goodIn, goodIn]){
		"a name with capitals":      func(s *Spec, _ *Func[goodIn, goodIn]) { s.Name = "dtc_DoIt" },
		"no description":            func(s *Spec, _ *Func[goodIn, goodIn]) { s.Description = "" },
		"no undo":                   func(s *Spec, _ *Func[goodIn, goodIn]) { s.Undo = "" },
		"no route":                  func(s *Spec, _ *Func[goodIn, goodIn]) { s.Routes = nil },
		"a write without preview":   func(_ *Spec, f *Func[goodIn, goodIn]) { f.Preview = nil },
		"a write without risk":      func(s *Spec, _ *Func[goodIn, goodIn]) { s.Risk.Undo = 0 },
		"a brake that is parked":    func(s *Spec, _ *Func[goodIn, goodIn]) { s.Brake = true },
		"a write that shows rows":   func(_ *Spec, f *Func[goodIn, goodIn]) { f.Rows = func(goodIn) []Object { return nil } },
		"no code":                   func(_ *Spec, f *Func[goodIn, goodIn]) { f.Write = nil },
		"a resource without type":   func(s *Spec, _ *Func[goodIn, goodIn]) { s.Resource = "everything" },
		"a path that is no path":    func(s *Spec, _ *Func[goodIn, goodIn]) { s.Path = "it" },
		"a description of an essay": func(s *Spec, _ *Func[goodIn, goodIn]) { s.Description = string(make([]byte, 2000)) },
	} {
		s, g := good, f
		spoil(&s, &g)
		if !panics(func() { Define(s, g) }) {
			t.Errorf("%s was accepted", name)
		}
	}
	bad := Func[badIn, badIn]{
		Preview: func(*Call, badIn) (Preview, error) { return Preview{}, nil },
		Write:   func(*Call, badIn) (badIn, error) { return badIn{}, nil },
	}
	if !panics(func() { Define(good, bad) }) {
		t.Error("a write without idempotency_key, dry_run and reason was accepted")
	}
	if !panics(func() { NewRegistry(Define(good, f), Define(good, f)) }) {
		t.Error("two tools of one name were accepted")
	}
}

func panics(fn func()) (did bool) {
	defer func() { did = recover() != nil }()
	fn()
	return false
}

func TestAResourceIsReadFromTheArguments(t *testing.T) {
	for _, c := range []struct{ resource, args, want string }{
		{"order:/order_no", `{"amount":{"order_no":"no"},"order_no":"581483"}`, "order:581483"},
		{"order:/order_no", `{"order_no":5}`, "order:"},
		{"order:/order_no", `{}`, "order:"},
		{"order:*", `{"order_no":"1"}`, "order:*"},
		{"self", `{}`, "self"},
		{"variant:/prices/*/sku", `{"prices":[{"sku":"A_1"},{"sku":"B_2"}]}`, "variant:A_1,B_2"},
		{"variant:/prices/*/sku", `{"prices":[]}`, "variant:"},
		{"/kind:/id", `{"kind":"campaign","id":"cmp_1"}`, "campaign:cmp_1"},
		{"/target", `{"target":"order:5"}`, "order:5"},
	} {
		tool := &Tool{Spec: Spec{Resource: c.resource}}
		if got := tool.ResourceOf([]byte(c.args)); got != c.want {
			t.Errorf("%s of %s is %q, want %q", c.resource, c.args, got, c.want)
		}
	}
}
