package rehearsal

import (
	"testing"

	"github.com/dtcgate/dtcgate/gate/budget"
)

func TestTheLiveAnswerAboutABudgetIsBelievedAsFarAsItGoes(t *testing.T) {
	const nobody, passed, refused = 0, 1, 2 // what the live policy said of the same counter
	for _, c := range []struct {
		name                  string
		draft, live           int64 // counted so far
		amount, limit         int64 // of the draft's charge
		liveAmount, liveLimit int64
		said                  int
		fits                  bool
	}{
		{"only the draft counts it", 60, 0, 40, 100, 0, 0, nobody, true},
		{"only the draft counts it, and it is used up", 61, 0, 40, 100, 0, 0, nobody, false},
		{"less was settled than was reserved", 90, 90, 20, 100, 20, 100, passed, true},
		{"it was used up before the first call", 0, 0, 20, 100, 20, 100, refused, false},
		{"the draft has let more through", 95, 75, 20, 100, 20, 100, passed, false},
		{"the draft has let less through", 40, 90, 20, 100, 20, 100, refused, true},
		{"the draft's limit is lower", 40, 40, 20, 50, 20, 100, passed, false},
		{"the draft's limit is lower, and enough", 20, 20, 20, 50, 20, 100, passed, true},
		{"the draft's limit is higher", 90, 90, 20, 150, 20, 100, refused, true},
		{"the draft's limit is lower, and it was refused already", 0, 0, 20, 50, 20, 100, refused, false},
	} {
		n := &counter{draft: c.draft, live: c.live}
		same := budget.Charge{Amount: c.liveAmount, Limit: c.liveLimit}
		if n.fits(budget.Charge{Amount: c.amount, Limit: c.limit}, same, c.said != nobody, c.said == refused) != c.fits {
			t.Errorf("%s: want %v", c.name, c.fits)
		}
	}
}
