// Command bench measures what dtcgate promises about its speed, beside what bounds it, and everything on one machine in one run, so that the ratios mean
// something where the absolute figures do not.
//
// The five promised figures come first (speed.go, writes.go, flat.go, memory.go, replicas.go): each is measured in several rounds in which what
// is compared takes turns, and ends in a line with its target and what was reached (figures.go). They measure the program that ships, `dtcgate serve`, as
// a process of its own (house.go), with its log in a file.
//
// The other parts show where the time goes: calls over HTTP at several numbers of callers (load.go), the check of the record (verify.go), and without HTTP,
// one call at a time, a call of each tool through the gate (tools.go), a policy's decision (decide.go), a draft on recorded calls (replay.go), and
// what people decide among many requests (approvals.go).
//
// Servers other than dtcgate are this program again, under an environment variable (servers.go). The load is keep-alive connections, each with one
// request under way.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// roleVariable makes this program one of the servers.
const roleVariable = "DTCGATE_BENCH_ROLE"

// profileVariable has a server write its CPU profile to a file.
const profileVariable = "DTCGATE_BENCH_PROFILE"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
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

// A bench is one run.
type bench struct {
	settings
	dir     string // its own, for databases and logs
	figures []figure
}

// settings are the flags.
type settings struct {
	rounds                        int
	during, each, fill            time.Duration
	soak                          time.Duration
	callers, servers, calls, of   string
	real, program, profile        string
	open, presses, recorded, keys int
	rows, tools, verified         int
}

// A part is something that is measured by itself.
type part struct {
	name, about string
	measure     func(*bench, context.Context) error
}

var parts = []part{
	{"speed", "figure 1: reads through the whole gate beside a bare MCP server and a constant", (*bench).speed},
	{"writes", "figure 2: durable campaigns and audit rows a second", (*bench).writes},
	{"flat", "figure 3: few and very many keys, open approvals, audit rows, tools", (*bench).flat},
	{"memory", "figure 4: memory after 64 callers and over a long load", (*bench).memory},
	{"replicas", "figure 5: one and three replicas on one PostgreSQL", (*bench).replicas},
	{"verify", "checking the record, entries a second", (*bench).verify},
	{"load", "calls over HTTP at several numbers of callers", (*bench).loads},
	{"decide", "decisions of a policy", func(*bench, context.Context) error { return measureDecisions() }},
	{"replay", "a draft of a policy on recorded calls", func(b *bench, ctx context.Context) error { return measureReplay(ctx, b.recorded) }},
	{"approvals", "from approve to done among many open requests", func(b *bench, ctx context.Context) error { return measureApprovals(ctx, b.open, b.presses) }},
	{"tools", "a call of each tool", func(b *bench, ctx context.Context) error { return measureTools(ctx, b.real, b.of, b.each) }},
}

// quick are sizes for a run that shows that everything is measured and says nothing about speed.
var quick = settings{
	rounds: 1, during: 100 * time.Millisecond, each: 10 * time.Millisecond, fill: 3 * time.Second, soak: 3 * time.Second, callers: "4", of: "dtc_whoami",
	open: 50, presses: 5, recorded: 1000, keys: 1000, rows: 2000, tools: 100, verified: 1000,
}

func flags(s *settings) (only *string) {
	var names []string
	for _, p := range parts {
		names = append(names, p.name+": "+p.about)
	}
	only = flag.String("only", "", "measure only these parts, by commas; "+strings.Join(names, "; "))
	flag.IntVar(&s.rounds, "rounds", 5, "how often the five figures are measured")
	flag.DurationVar(&s.during, "for", 1500*time.Millisecond, "how long each row is measured, in each round")
	flag.StringVar(&s.callers, "callers", "1,16,64", "load: how many calls are under way at once")
	flag.StringVar(&s.servers, "servers", "", "speed, load: only servers with this in their names")
	flag.StringVar(&s.calls, "calls", "", "speed, load: only calls with this in their names")
	flag.StringVar(&s.program, "dtcgate", "", "the program under measurement; it is built when left out")
	flag.StringVar(&s.profile, "profile", "", "writes, verify: write this process's CPU profile to this file")
	flag.IntVar(&s.keys, "keys", 1_000_000, "flat: the many keys")
	flag.IntVar(&s.open, "open", 10_000, "flat, approvals: how many requests wait for people")
	flag.IntVar(&s.rows, "rows", 10_000_000, "flat: the many audit rows; each takes 2 KB of disk on PostgreSQL and 5 on SQLite")
	flag.DurationVar(&s.fill, "fill", 14*time.Minute, "flat: how long audit rows are made for, on each engine, before it is enough")
	flag.IntVar(&s.tools, "tools", 1000, "flat: the many tools")
	flag.DurationVar(&s.soak, "soak", 10*time.Minute, "memory: how long the load goes on, on both engines at once")
	flag.IntVar(&s.verified, "entries", 100_000, "verify: how many entries are checked")
	flag.IntVar(&s.presses, "presses", 200, "approvals: how often approve is pressed, one at a time and again four at a time")
	flag.IntVar(&s.recorded, "recorded", 200_000, "replay: how many recorded calls a draft is rehearsed on")
	flag.DurationVar(&s.each, "each", 300*time.Millisecond, "tools: how long each call of a tool is measured")
	flag.StringVar(&s.real, "real", "../shared/demo-data", "tools: the real merchant's data")
	flag.StringVar(&s.of, "of", "", "tools: only tools with this in their names")
	return only
}

func measure(ctx context.Context) error {
	var b bench
	only := flags(&b.settings)
	smoke := flag.Bool("quick", false, "take sizes so small that the run shows only that everything is measured")
	flag.Parse()
	if *smoke {
		program := b.program
		b.settings = quick
		b.program = program
	}
	chosen, err := chosenParts(*only)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "dtcgate-bench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	for _, p := range chosen {
		fmt.Printf("\n## %s: %s\n\n", p.name, p.about)
		if err := p.measure(&b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	b.summary()
	return nil
}

func chosenParts(only string) (chosen []part, err error) {
	if only == "" {
		return parts, nil
	}
	for _, name := range strings.Split(only, ",") {
		n := len(chosen)
		for _, p := range parts {
			if p.name == name {
				chosen = append(chosen, p)
			}
		}
		if len(chosen) == n {
			return nil, fmt.Errorf("-only %s: there is no part %q; see -help", only, name)
		}
	}
	return chosen, nil
}

// room makes a folder of the run's own.
func (b *bench) room(name string) (string, error) {
	dir := filepath.Join(b.dir, name)
	return dir, os.MkdirAll(dir, 0o700)
}

func micros(d time.Duration) string {
	if d < time.Millisecond {
		return fmt.Sprintf("%d µs", d.Microseconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
