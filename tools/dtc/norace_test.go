//go:build !race

package dtc

const raceEnabled = false
