package policy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"

	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
)

// FuzzDocument holds that what is wrong with a document is told with its place; and that one in which nothing is wrong is a policy that
// answers, that is the same when it is written and read again, and that then answers the same.
func FuzzDocument(f *testing.F) {
	f.Add(string(policy.Default), "", uint64(1))
	f.Add("language: 1\nprofiles: {a: {tools: [\"*\"], resources: [\"*\"]}}\n", "approvals: [{name: a, over: {customers: 1}, when: \"true\", need: {people: 1, from: [manager]}}]", uint64(2))
	f.Add("language: 1\nprofiles:\n", "limits: {budgets: [{name: a, per: key, every: day, calls: 1, tools: [orders.*]}]}", uint64(3))
	f.Add("language: 1\nprofiles: &a {a: {}}\n", "profiles: *a\nlanguage: 1", uint64(4))
	for seed := range uint64(12) {
		f.Add(string(text(newDice(seed, 77).document())), "", seed)
	}
	f.Fuzz(func(t *testing.T, text, more string, seed uint64) {
		text += "\n" + more
		problems, warnings := policy.Review([]byte(text), catalogue)
		worded(t, text, append(problems, warnings...))
		p, wrong := policy.New([]byte(text), catalogue.Registry)
		worded(t, text, wrong)
		if problems == nil && wrong != nil {
			t.Fatalf("a document in order makes no policy: %v", strict.Problems(wrong))
		}
		if p == nil {
			return
		}
		again := rewritten(t, p)
		for d := newDice(seed, 78); d.IntN(20) > 0; {
			call := d.call()
			first, second := p.Decide(call), again.Decide(call)
			sound(t, first)
			if first.Outcome != second.Outcome || first.Check != second.Check || !sameAsk(first.Ask, second.Ask) || cmp.Diff(first.Charges, second.Charges) != "" {
				t.Fatalf("%s\n%+v, and after it was written and read again %+v", facts(call), first, second)
			}
		}
	})
}

// worded holds that each problem has words and a place in the text, or is of the whole of it.
func worded(t *testing.T, text string, problems []strict.Problem) {
	t.Helper()
	lines := 1 + strings.Count(text, "\n") + strings.Count(text, "\r") - strings.Count(text, "\r\n")
	for _, p := range problems {
		if p.Problem == "" || p.Error() == "" || p.Line < 0 || p.Column < 0 || p.Line > lines {
			t.Errorf("a problem without words or place in %d lines: %+v", lines, p)
		}
		if p.Line == 0 && p.Path != "" {
			t.Errorf("a problem of a part of the text that names no line: %+v", p)
		}
	}
}

// rewritten gives the policy that its document makes when it is written and read again.
func rewritten(t *testing.T, p *policy.Policy) *policy.Policy {
	t.Helper()
	if _, err := json.Marshal(p.Document); err != nil {
		t.Fatalf("the document cannot be shown: %v", err)
	}
	text, err := yaml.Dump(p.Document)
	if err != nil {
		t.Fatal(err)
	}
	again, problems := policy.New(text, catalogue.Registry)
	if len(problems) > 0 {
		t.Fatalf("what was accepted is refused when it is written and read again: %v\n%s", strict.Problems(problems), text)
	}
	if diff := cmp.Diff(p.Document, again.Document, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s\n%s", diff, text)
	}
	return again
}

// sound holds that a verdict is whole: what refuses says why, and what parks whom to ask.
func sound(t *testing.T, v policy.Verdict) {
	t.Helper()
	switch v.Outcome {
	case policy.Refuse:
		if v.Check == "" || !v.Unknown && (v.Refusal == nil || v.Rule == "") {
			t.Fatalf("refused without a reason: %+v", v)
		}
	case policy.Park:
		if v.Ask.People < 1 || v.Ask.Name == "" {
			t.Fatalf("parked for nobody: %+v", v)
		}
	case policy.Run:
	default:
		t.Fatalf("neither run nor parked nor refused: %+v", v)
	}
}
