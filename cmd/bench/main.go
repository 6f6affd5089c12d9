// Command bench measures calls through the whole gate over real HTTP, beside what bounds them: a handler that answers a
// constant, and a bare MCP server of the same SDK that echoes. Everything runs on one machine in one run, so that the
// ratios mean something where the absolute figures do not.
//
// Every server is a process of its own (this program again, under an environment variable). It answers on one port and
// tells on another how much it has allocated and computed. The load is a second process's worth of keep-alive
// connections, each with one request under way.
//
// The other parts measure without HTTP, one call at a time: a key among few and among a million (keys.go), a call of each tool
// through the gate (tools.go), and a policy's decision alone (decide.go). What people decide is measured among many requests (approvals.go).
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

// roleVariable makes this program one of the servers.
const roleVariable = "DTCGATE_BENCH_ROLE"

// profileVariable has a server write its CPU profile to a file.
const profileVariable = "DTCGATE_BENCH_PROFILE"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if role := os.Getenv(roleVariable); role != "" {
		err = runServer(ctx, role, os.Stdout)
	} else {
		err = measure(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context) error {
	seconds := flag.Duration("for", 2*time.Second, "how long each row is measured")
	callers := flag.String("callers", "1,16,64", "how many calls are under way at once")
	only := flag.String("only", "", "load: calls over HTTP; tools: each tool by itself; keys: a key among few and among a million; decide: decisions of a policy; replay: a draft of a policy on recorded calls; approvals: from approve to done among many open requests; all if left out")
	open := flag.Int("open", 10_000, "how many requests wait for people meanwhile")
	presses := flag.Int("presses", 200, "how often approve is pressed, one at a time and again four at a time")
	recorded := flag.Int("recorded", 200_000, "how many recorded calls a draft is rehearsed on")
	each := flag.Duration("each", 500*time.Millisecond, "how long each call of a tool is measured")
	servers := flag.String("servers", "", "measure only servers with this in their names")
	calls := flag.String("calls", "", "measure only calls with this in their names")
	real := flag.String("real", "../shared/demo-data", "the real merchant's data")
	of := flag.String("of", "", "measure only tools with this in their names")
	flag.Parse()
	switch *only {
	case "tools":
		return measureTools(ctx, *real, *of, *each)
	case "keys":
		return measureKeys(ctx)
	case "decide":
		return measureDecisions()
	case "replay":
		return measureReplay(ctx, *recorded)
	case "approvals":
		return measureApprovals(ctx, *open, *presses)
	}
	var levels []int
	for _, s := range strings.Split(*callers, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("-callers %q: %q is not a number of callers", *callers, s)
		}
		levels = append(levels, n)
	}
	fmt.Println("| server | call | callers | calls/s | p50 | p99 | CPU µs/call | allocs/call | KB/call |")
	fmt.Println("|--|--|--|--|--|--|--|--|--|")
	for _, role := range []string{roleConstant, roleSDK, roleSQLite, rolePostgres} {
		if !strings.Contains(role, *servers) {
			continue
		}
		if err := measureServer(ctx, role, *calls, levels, *seconds); err != nil {
			return fmt.Errorf("%s: %w", role, err)
		}
	}
	if *only == "load" {
		return nil
	}
	if err := measureKeys(ctx); err != nil {
		return err
	}
	if err := measureDecisions(); err != nil {
		return err
	}
	if err := measureReplay(ctx, *recorded); err != nil {
		return err
	}
	if err := measureApprovals(ctx, *open, *presses); err != nil {
		return err
	}
	return measureTools(ctx, *real, *of, *each)
}

func measureServer(ctx context.Context, role, calls string, levels []int, during time.Duration) error {
	s, err := start(ctx, role)
	if err != nil {
		return err
	}
	defer s.stop()
	for _, c := range callsOf(role, s.hello) {
		if !strings.Contains(c.name, calls) {
			continue
		}
		for _, n := range levels {
			if err := s.load(c, n, during/4); err != nil { // warm
				return fmt.Errorf("%s: %w", c.name, err)
			}
			row, err := s.measure(c, n, during)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Printf("| %s | %s | %d | %.0f | %s | %s | %.0f | %.0f | %.1f |\n", role, c.name, n, row.perSecond,
				micros(row.p50), micros(row.p99), row.cpu, row.allocs, row.bytes/1024)
		}
	}
	return nil
}

func micros(d time.Duration) string {
	if d < time.Millisecond {
		return fmt.Sprintf("%d µs", d.Microseconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
