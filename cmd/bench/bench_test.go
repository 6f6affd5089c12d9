package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// partsVariable names the parts of the bench that are run, by commas, or "all" of them, which takes a minute. Without it the one that needs neither
// the built program nor a load is run.
const partsVariable = "DTCGATE_TEST_BENCH"

// mainVariable makes the test the program that it tests.
const mainVariable = "DTCGATE_BENCH_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(mainVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestEveryPartPrintsItsTable(t *testing.T) {
	chosen := "verify"
	switch s := os.Getenv(partsVariable); s {
	case "":
	case "all":
		chosen = ""
	default:
		chosen = s
	}
	expected, err := chosenParts(chosen)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-quick", "-only", chosen)
	cmd.Env = append(os.Environ(), mainVariable+"=1")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, errs.String())
	}
	for _, p := range expected {
		_, after, _ := strings.Cut(string(out), "## "+p.name+": ")
		section, _, _ := strings.Cut(after, "\n## ")
		if !strings.Contains(section, "|--|") || strings.Count(section, "\n| ") < 2 {
			t.Errorf("%s printed no table: %q", p.name, section)
		}
	}
	for number := '1'; chosen == "" && number <= '5'; number++ {
		if !strings.Contains(string(out), "\n| "+string(number)+" | ") {
			t.Errorf("figure %c has no line:\n%s", number, out)
		}
	}
}

func TestTheMedianRoundDecidesAFigure(t *testing.T) {
	for _, c := range []struct {
		figure
		reached bool
	}{
		{figure{target: 5, rounds: []float64{9, 4, 5}}, true},
		{figure{target: 5, rounds: []float64{9, 4.9, 4}}, false},
		{figure{target: 5, atMost: true, rounds: []float64{9, 5, 4}}, true},
		{figure{target: 5, atMost: true, rounds: []float64{1, 5.1, 9}}, false},
		{figure{target: 0, atMost: true, rounds: []float64{0}}, true},
		{figure{target: 0, atMost: true, rounds: []float64{1}}, false},
	} {
		if c.figure.reached() != c.reached {
			t.Errorf("%+v is reached: %v", c.figure, !c.reached)
		}
	}
}
