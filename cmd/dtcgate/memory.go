package main

import (
	"bufio"
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

// usualLimit is the heap's limit where nothing else bounds the process. A server under load stays far below it; it is there for what no test
// thought of.
const usualLimit = 512 << 20

// limitMemory has the collector work harder before memory runs out: at two thirds of what the process may have, because SQLite's pages, the
// stacks and the program itself are not the collector's. What GOMEMLIMIT says stands. GOGC is left as Go has it: measured under 64 callers, four
// times the garbage took twice the memory.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(heapLimit("/sys/fs/cgroup", "/proc/self/cgroup"))
	}
}

// collectLess is for a command that reads very much, keeps little of it and ends: it may have five times what it keeps, and checks the
// record a seventh faster. What GOGC says stands.
func collectLess() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// heapLimit is two thirds of the least memory.max from the process's control group up (cgroups v2), and usualLimit at most.
func heapLimit(root, self string) int64 {
	least := int64(math.MaxInt64)
	for dir := cgroup(self); ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(root, dir, "memory.max"))
		if n, wrong := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64); err == nil && wrong == nil && n > 0 { // "max" is no number
			least = min(least, n)
		}
		if dir == "/" || dir == "." {
			return min(least/3*2, usualLimit)
		}
	}
}

// cgroup is the path in the line "0::/path", which is the one of version 2.
func cgroup(self string) string {
	text, err := os.ReadFile(self)
	if err != nil {
		return "/"
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if path, ok := strings.CutPrefix(lines.Text(), "0::"); ok {
			return filepath.Clean("/" + path)
		}
	}
	return "/"
}
