//go:build !race

package main

import (
	"testing"
	"time"
)

// Without the race detector the server is as fast as it will be, so that its time to get ready means something.
const (
	killTimes   = 50
	readyWithin = 2 * time.Second
)

func TestKilledAtAnyTimeNothingIsLostOrDoubled(t *testing.T) { killAtAnyTime(t) }
