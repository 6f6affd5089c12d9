package notify

import (
	"errors"
	"slices"
	"testing"

	"github.com/dtcgate/dtcgate/auth"
)

func TestEveryResultOfAnAttemptIsCounted(t *testing.T) {
	problems := []string{problemOf(auth.ErrNotPublic), problemOf(errors.New("refused")), "sealed", "internal", "timeout"}
	for status := 100; status < 600; status++ {
		problems = append(problems, problemIn(status))
	}
	var a attempts
	for _, p := range problems {
		a.count(answer{problem: p})
		if p != "" && !slices.Contains(Results, p) {
			t.Errorf("%q is not in the list", p)
		}
	}
	sum := int64(0)
	for n := range Results {
		if a[n].Load() == 0 {
			t.Errorf("no attempt had %q", Results[n])
		}
		sum += a[n].Load()
	}
	if int(sum) != len(problems) || len(a) != len(Results) {
		t.Errorf("%d of %d attempts are counted", sum, len(problems))
	}
}
