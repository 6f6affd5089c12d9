//go:build race

package main

import (
	"testing"
	"time"
)

// The race detector makes everything five to ten times slower. The rounds under it look for races in the server; the
// many kills, and the time to get ready, are for the build without it.
const (
	killTimes   = 6
	readyWithin = 20 * time.Second
)

func TestKilledAtAnyTimeNothingIsLostOrDoubled(t *testing.T) { killAtAnyTime(t) }
