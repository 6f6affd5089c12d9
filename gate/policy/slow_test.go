package policy

import "testing"

// InOneGoroutine leaves a test of very many decisions to the run without the race detector: they share nothing that is written, and a test of its own
// asks one policy from many sides with the detector on.
func InOneGoroutine(t *testing.T) {
	t.Helper()
	if RaceEnabled {
		t.Skip("very many decisions that share nothing: it runs without the race detector")
	}
}
