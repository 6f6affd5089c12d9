package main

import (
	"fmt"
	"slices"
)

// A figure is a promise, and what was reached.
type figure struct {
	number int // of the promise, 1 to 5
	what   string
	target float64
	atMost bool      // else at least
	rounds []float64 // what each round reached
}

// promise adds a figure that must be at least its target.
func (b *bench) promise(number int, what string, atLeast float64, rounds []float64) {
	b.figures = append(b.figures, figure{number: number, what: what, target: atLeast, rounds: rounds})
}

// bound adds a figure that must be at most its target.
func (b *bench) bound(number int, what string, atMost float64, rounds []float64) {
	b.figures = append(b.figures, figure{number: number, what: what, target: atMost, atMost: true, rounds: rounds})
}

// summary prints every figure of the run. The median decides.
func (b *bench) summary() {
	if len(b.figures) == 0 {
		return
	}
	slices.SortStableFunc(b.figures, func(x, y figure) int { return x.number - y.number })
	fmt.Printf("\n## Figures\n\n| figure | what | target | min · median · max | verdict |\n|--|--|--|--|--|\n")
	for _, f := range b.figures {
		fmt.Println(f)
	}
}

func (f figure) String() string {
	least, sign := f.reached(), "≥"
	if f.atMost {
		sign = "≤"
	}
	verdict := "pass"
	if !least {
		verdict = "falls short"
	}
	return fmt.Sprintf("| %d | %s | %s %s | %s | %s |", f.number, f.what, sign, number(f.target), threeOf(f.rounds), verdict)
}

func (f figure) reached() bool {
	_, median, _ := spreadOf(f.rounds)
	if f.atMost {
		return median <= f.target
	}
	return median >= f.target
}

// spreadOf gives the least, the median and the most of values, which may be none.
func spreadOf(values []float64) (least, median, most float64) {
	if len(values) == 0 {
		return 0, 0, 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[0], sorted[len(sorted)/2], sorted[len(sorted)-1]
}

// threeOf writes the spread of values.
func threeOf(values []float64) string {
	least, median, most := spreadOf(values)
	return number(least) + " · " + number(median) + " · " + number(most)
}

// number writes a rate, a share or a ratio with as many digits as mean something.
func number(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

// ratios divides round by round.
func ratios(of, by []float64) []float64 {
	r := make([]float64, min(len(of), len(by)))
	for i := range r {
		r[i] = of[i] / by[i]
	}
	return r
}
