//go:build failpoints

package store

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// FailpointVariable names the border at which the process is to end, and the how many-th time it comes there: "sent:3".
const FailpointVariable = "DTCGATE_FAILPOINT"

var (
	deadly, comings = failpoint(os.Getenv(FailpointVariable))
	reached         atomic.Int64
)

func failpoint(set string) (at Border, times int64) {
	name, count, _ := strings.Cut(set, ":")
	times, err := strconv.ParseInt(count, 10, 64)
	if name != "" && err != nil {
		panic(FailpointVariable + " is a border and a count, such as sent:3, and not " + set)
	}
	return Border(name), times
}

// Reach ends the process as a power cut to it alone would, if this is the border and the time for it: nothing is closed, flushed or told.
func Reach(b Border) {
	if b != deadly || reached.Add(1) != comings {
		return
	}
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {} // the signal ends all threads, but perhaps not this one first
}
