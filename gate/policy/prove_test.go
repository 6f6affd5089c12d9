package policy

import (
	"context"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

var registry = tools.NewRegistry(dtc.Tools()...)

func proofOf(t testing.TB, document, assertions string) *Proof {
	t.Helper()
	p, problems := New([]byte(document), registry)
	if len(problems) > 0 {
		t.Fatal(strict.Problems(problems))
	}
	proof, problems := Prove(context.Background(), p, registry, []byte(assertions), func(int, int) {})
	if len(problems) > 0 {
		t.Fatal(strict.Problems(problems))
	}
	return proof
}

func TestWhatTheDefaultDocumentMakesTrueIsProved(t *testing.T) {
	proof := proofOf(t, string(Default), `
language: 1
assertions:
- {name: scoped gets nothing, for: {profiles: [scoped]}, always: {outcome: [refuse]}}
- {name: analysts only read, for: {profiles: [analyst], writes: true}, always: {outcome: [refuse]}}
- {name: analysts see no contact data, for: {profiles: [analyst], data: 3}, always: {outcome: [refuse]}}
- {name: nobody reaches many customers alone, for: {customers: {over: 500}}, always: {people: 2, roles: [marketing, manager]}}
- {name: the support profile stays in its queue, for: {profiles: [support], resource: "queue:billing/*"}, always: {outcome: [refuse]}}
- {name: support does not refund, for: {profiles: [support], money: {over: 0}}, always: {outcome: [refuse]}}
- {name: a big spend takes two, for: {money: {over: 50000, currency: GBP}, classes: [spend]}, always: {people: 2}}
- {name: what is destroyed takes a manager, for: {classes: [destructive], tools: [orders.cancel]}, always: {roles: [manager]}}
- {name: a fallen agent reads, for: {trust: {below: 30}, writes: true}, always: {outcome: [refuse]}}
- {name: analysts can always search orders, for: {profiles: [analyst], tools: [orders.search], trust: {from: 70}, tainted: false, resource: "order:*"}, never: {outcome: [refuse, park]}}
- {name: small money needs nobody, for: {money: {over: 0}}, always: {outcome: [refuse, park], people: 2}}
`)
	for i, f := range proof.Findings {
		want := Holds
		if i == len(proof.Findings)-1 {
			want = Fails
		}
		t.Log(f.Name, f.Result, f.Places, f.Asked)
		if f.Result != want {
			t.Errorf("%s: %s, want %s", f.Name, f.Result, want)
		}
		if f.Witness != nil {
			t.Log(f.Witness.Words, strings.Join(f.Witness.If, "; "))
		}
	}
}
