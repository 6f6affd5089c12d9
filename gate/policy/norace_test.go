//go:build !race

package policy

// RaceEnabled says whether the tests run with the race detector.
const RaceEnabled = false
