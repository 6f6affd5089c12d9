package approvals

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
)

// The diagram that people read is the machine.
func TestTheDiagramIsTheMachine(t *testing.T) {
	page, err := os.ReadFile("../docs/approvals.md")
	if err != nil {
		t.Fatal(err)
	}
	var drawn, built []string
	for _, m := range regexp.MustCompile(`(?m)^  (\w+) --> (\w+): (\w+) \(job (\w+)\)$`).FindAllStringSubmatch(string(page), -1) {
		drawn = append(drawn, fmt.Sprint(m[1:]))
	}
	for _, a := range transitions {
		built = append(built, fmt.Sprint([]string{string(a.from), string(a.to), string(a.act), string(a.jobThen)}))
	}
	slices.Sort(drawn)
	if slices.Sort(built); !slices.Equal(drawn, built) {
		t.Errorf("the page draws %q, the machine has %q", drawn, built)
	}
}
