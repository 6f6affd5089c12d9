package main

import (
	"context"
	"fmt"
	"strings"
)

// Figure 1: typed reads through the whole gate, with the record durable before the answer, beside a handler that answers a constant and beside a bare MCP
// server of the same SDK. All servers run at once, and each is called in turn, so that a round is one moment of the machine.

const speedCallers = 16

// A lane is one kind of call on one server.
type lane struct {
	server string
	*child
	benchCall
	rows []row // one a round
}

func (l *lane) perSecond() (all []float64) {
	for _, r := range l.rows {
		all = append(all, r.perSecond)
	}
	return all
}

func (l *lane) cpu() (all []float64) {
	for _, r := range l.rows {
		all = append(all, r.cpu)
	}
	return all
}

func (b *bench) speed(ctx context.Context) error {
	var lanes []*lane
	for _, role := range []string{roleConstant, roleSDK, roleConstantLogged, roleSDKLogged} {
		s, err := start(ctx, role)
		if err != nil {
			return err
		}
		defer s.stop()
		bare, _, _ := strings.Cut(role, ", set up")
		for _, c := range callsOf(bare, s.hello) {
			lanes = append(lanes, &lane{server: role, child: s, benchCall: c})
		}
	}
	for _, engine := range engines {
		s, done, err := b.serveOne(ctx, engine, "speed")
		defer done()
		if err != nil {
			return err
		}
		for _, c := range readsOf(s.hello) {
			lanes = append(lanes, &lane{server: "dtcgate, " + engine, child: s, benchCall: c})
		}
	}
	if err := b.run(lanes, speedCallers); err != nil {
		return err
	}
	fmt.Printf("Bare servers run as Go has them (GOGC=100, no memory limit, no log); set up as serve, with GOGC=%d, a memory limit of %d MiB and a line in a file for each request. "+
		"dtcgate is `dtcgate serve`, which sets itself up and logs each request to a file. CPU is the server process's.\n\n", serveGOGC, serveLimit>>20)
	printLanes(lanes, speedCallers)
	b.compare(lanes)
	return nil
}

// run measures lanes round by round. The first turn of each is not counted.
func (b *bench) run(lanes []*lane, callers int) error {
	for round := range b.rounds + 1 {
		for _, l := range lanes {
			if !strings.Contains(l.server, b.servers) || !strings.Contains(l.name, b.calls) {
				continue
			}
			r, err := l.measure(l.benchCall, callers, b.during)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", l.server, l.name, err)
			}
			if round > 0 {
				l.rows = append(l.rows, r)
			}
		}
	}
	return nil
}

func printLanes(lanes []*lane, callers int) {
	fmt.Printf("| server | call, %d callers | calls/s: min · median · max | CPU µs/call: min · median · max | p50 | p99 |\n|--|--|--|--|--|--|\n", callers)
	for _, l := range lanes {
		if len(l.rows) == 0 {
			continue
		}
		middle := l.rows[len(l.rows)/2]
		fmt.Printf("| %s | %s | %s | %s | %s | %s |\n", l.server, l.name, threeOf(l.perSecond()), threeOf(l.cpu()), micros(middle.p50), micros(middle.p99))
	}
}

// The targets of figure 1: of the bare SDK's calls a second, of the constant handler's, and of the latter's processor time.
var (
	overSDK       = map[string]float64{"whoami": 5, "order": 3}
	ofConstant    = .35
	ofConstantCPU = 3.0
)

// compare adds the ratios. Bare servers as their users start them decide; the same with serve's settings are told beside.
func (b *bench) compare(lanes []*lane) {
	sqlite := "dtcgate, " + engines[0]
	for _, l := range lanes {
		kind, over, _ := strings.Cut(l.name, ", ")
		if l.server != sqlite || len(l.rows) == 0 {
			continue
		}
		for _, bare := range lanes {
			constant := strings.HasPrefix(bare.server, roleConstant)
			switch {
			case len(bare.rows) == 0:
			case strings.HasPrefix(bare.server, roleSDK) && bare.name == "echo, "+over:
				b.promise(1, l.name+": calls/s over "+bare.server, overSDK[kind], ratios(l.perSecond(), bare.perSecond()))
			case constant && kind == "whoami":
				b.promise(1, l.name+": calls/s over "+bare.server, ofConstant, ratios(l.perSecond(), bare.perSecond()))
				b.bound(1, l.name+": CPU a call over "+bare.server, ofConstantCPU, ratios(l.cpu(), bare.cpu()))
			}
		}
	}
}
