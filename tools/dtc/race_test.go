//go:build race

package dtc

const raceEnabled = true
