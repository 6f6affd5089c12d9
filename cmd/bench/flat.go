package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Figure 3: what a call costs does not grow with what is there. The same is timed on little and on much, in turn, call by call, so that the ratio holds on a
// noisy machine.

const flatTarget = 1.20

// A flatness is something that is timed on little (0) and on much (1).
type flatness struct {
	engine, what string
	sides        [2]string
	perRound     int
	once         func(ctx context.Context, side, n int) (time.Duration, error)
}

func (b *bench) flat(ctx context.Context) error {
	for _, part := range []func(context.Context) error{b.flatKeys, b.flatApprovals, b.flatRecord, b.flatTools} {
		if err := part(ctx); err != nil {
			return err
		}
		fmt.Println()
	}
	return nil
}

// flatHead prints the head of a table of flatnesses.
func (b *bench) flatHead(of string) {
	fmt.Printf("| engine | %s | what | little, µs: min · median · max of %d rounds | much, µs | ratio: min · median · max |\n|--|--|--|--|--|--|\n", of, b.rounds)
}

// flatness measures one, prints its row and adds the figure.
func (b *bench) flatness(ctx context.Context, f flatness) error {
	var medians [2][]float64 // in µs
	for round := range b.rounds + 1 {
		p50, err := f.round(ctx, round)
		if err != nil {
			return fmt.Errorf("%s, %s: %w", f.engine, f.what, err)
		}
		for side := range p50 {
			if round > 0 { // the first one warms
				medians[side] = append(medians[side], float64(p50[side].Nanoseconds())/1000)
			}
		}
	}
	grown := ratios(medians[1], medians[0])
	between := f.sides[0] + " to " + f.sides[1]
	fmt.Printf("| %s | %s | %s | %s | %s | %s |\n", f.engine, between, f.what, threeOf(medians[0]), threeOf(medians[1]), threeOf(grown))
	b.bound(3, f.engine+", "+between+": "+f.what, flatTarget, grown)
	return nil
}

// round gives the median of each side.
func (f flatness) round(ctx context.Context, round int) (p50 [2]time.Duration, err error) {
	var times [2][]time.Duration
	for n := range f.perRound {
		for i := range times {
			side := (i + n) % 2 // neither is always the first
			took, err := f.once(ctx, side, round*f.perRound+n)
			if err != nil {
				return p50, err
			}
			times[side] = append(times[side], took)
		}
	}
	for side := range times {
		slices.Sort(times[side])
		p50[side] = times[side][f.perRound/2]
	}
	return p50, nil
}

// between names the sides of a comparison.
func between(little, much int, of string) [2]string {
	return [2]string{fmt.Sprint(little), fmt.Sprint(much, " ", of)}
}

// timing times something.
func timing(do func() error) (time.Duration, error) {
	started := time.Now()
	err := do()
	return time.Since(started), err
}

// whoamiOn is a whole call of dtc_whoami on one of two stands.
func whoamiOn(sides [2]*stand) func(context.Context, int, int) (time.Duration, error) {
	return func(ctx context.Context, side, _ int) (time.Duration, error) {
		_, took, err := sides[side].timed(ctx, sides[side].free, "dtc_whoami", `{}`)
		return took, err
	}
}
