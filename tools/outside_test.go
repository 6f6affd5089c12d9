package tools

import (
	"context"
	"errors"
	"testing"
)

func TestTheShapesOfToolsExcludeEachOther(t *testing.T) {
	spec := Spec{
		Name: "dtc_do_it", Path: "it.do", Title: "Do it", Description: "A tool of the tests that does nothing at all.", Class: ClassSpend,
		Risk: Risk{Undo: 1}, Resource: "it:/name", Undo: "None", Routes: []Route{{Method: "POST", Path: "/it"}}, Repeatable: true,
	}
	sends := Func[goodIn, goodIn]{
		Preview: func(*Call, goodIn) (Preview, error) { return Preview{}, nil },
		Send:    func(_ context.Context, _ *Call, in goodIn, _ string) (goodIn, error) { return in, nil },
		Probe:   func(_ context.Context, _ *Call, in goodIn, _ string) (goodIn, Known, error) { return in, Happened, nil },
	}
	if panics(func() { Define(spec, sends) }) {
		t.Fatal("a good tool was refused")
	}
	for name, spoil := range map[string]func(*Spec, *Func[goodIn, goodIn]){
		"it sends and writes": func(_ *Spec, f *Func[goodIn, goodIn]) {
			f.Write = func(*Call, goodIn) (goodIn, error) { return goodIn{}, nil }
		},
		"it sends and steps": func(_ *Spec, f *Func[goodIn, goodIn]) {
			f.Step = func(*Call, goodIn, *Progress) (goodIn, error) { return goodIn{}, nil }
		},
		"it sends and reads": func(s *Spec, f *Func[goodIn, goodIn]) {
			s.Risk.Undo = 0
			f.Read = func(*Call, goodIn) (goodIn, error) { return goodIn{}, nil }
		},
		"it sends without a preview": func(_ *Spec, f *Func[goodIn, goodIn]) { f.Preview = nil },
		"it settles steps":           func(_ *Spec, f *Func[goodIn, goodIn]) { f.Stopped = func(*Call, goodIn, Progress) error { return nil } },
		"it restores": func(_ *Spec, f *Func[goodIn, goodIn]) {
			f.Undo = Reversible(func(*Call, goodIn) (int, error) { return 0, nil }, func(*Call, goodIn, goodIn, int) error { return nil })
		},
		"a brake that sends":           func(s *Spec, _ *Func[goodIn, goodIn]) { s.Brake, s.Class = true, ClassNone },
		"it probes and does not send":  func(s *Spec, f *Func[goodIn, goodIn]) { s.Repeatable = false; writes(f) },
		"it repeats and does not send": func(_ *Spec, f *Func[goodIn, goodIn]) { f.Probe = nil; writes(f) },
	} {
		s, g := spec, sends
		spoil(&s, &g)
		if !panics(func() { Define(s, g) }) {
			t.Errorf("%s: accepted", name)
		}
	}
}

// writes lets f write where it sent.
func writes(f *Func[goodIn, goodIn]) {
	f.Send, f.Write = nil, func(*Call, goodIn) (goodIn, error) { return goodIn{}, nil }
}

func TestAProbeThatFailsKnowsNothing(t *testing.T) {
	var h Handler
	sender[goodIn, goodIn]{probe: func(_ context.Context, _ *Call, in goodIn, _ string) (goodIn, Known, error) {
		return in, Happened, errors.New("the connection was lost")
	}}.erase(&h)
	result, known, err := h.Probe(t.Context(), &Call{Args: []byte(`{"name":"x"}`)}, "id")
	if result != nil || known != Unknown || err == nil {
		t.Errorf("got %v, %q, %v", result, known, err)
	}
}
