package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A benchCall is one kind of request, as bytes for the wire.
type benchCall struct {
	name string
	make func(n int64) []byte // the n-th request
}

// always is a call that is the same every time.
func always(name string, request []byte) benchCall {
	return benchCall{name, func(int64) []byte { return request }}
}

// The eras of MCP.
const (
	era2025 = "2025-11-25"
	era2026 = "2026-07-28"
)

// callsOf are the calls that are measured on a server.
func callsOf(role string, h hello) []benchCall {
	switch role {
	case roleConstant:
		return []benchCall{always("POST", request("POST", "/", "", `{"jsonrpc":"2.0"}`))}
	case roleSDK:
		return []benchCall{
			always("echo, MCP "+era2025, toolCall(era2025, "", "echo", `{"a":1}`)),
			always("echo, MCP "+era2026, toolCall(era2026, "", "echo", `{"a":1}`)),
		}
	}
	return append(readsOf(h), createsOf(h)...)
}

// readsOf are reads of a merchant.
func readsOf(h hello) []benchCall {
	order := `{"order_no":"` + h.OrderNo + `"}`
	return []benchCall{
		always("whoami, MCP "+era2025, toolCall(era2025, h.Key, "dtc_whoami", `{}`)),
		always("whoami, MCP "+era2026, toolCall(era2026, h.Key, "dtc_whoami", `{}`)),
		always("whoami, REST", request("GET", "/api/v1/agent/v1/whoami", h.Key, "")),
		always("order, MCP "+era2025, toolCall(era2025, h.Key, "dtc_get_order", order)),
		always("order, MCP "+era2026, toolCall(era2026, h.Key, "dtc_get_order", order)),
		always("order, REST", request("GET", "/api/v1/agent/v1/orders/"+h.OrderNo, h.Key, "")),
	}
}

// createsOf are writes of a merchant, each under an idempotency key of its own.
func createsOf(h hello) []benchCall {
	run := time.Now().UnixNano()
	return []benchCall{
		{"campaign create, MCP " + era2025, func(n int64) []byte { return toolCall(era2025, h.Key, "dtc_create_campaign", campaign(run, n)) }},
		{"campaign create, REST", func(n int64) []byte { return request("POST", "/api/v1/agent/v1/campaigns", h.Key, campaign(-run, n)) }},
	}
}

// campaign are the arguments of the n-th campaign of a run.
func campaign(run, n int64) string {
	return fmt.Sprintf(`{"name":"Spring","channel":"email","subject":"Hello","body":"Spring is here.","idempotency_key":"%d-%d"}`, run, n)
}

// toolCall is a call of a tool as a client of an era makes it.
func toolCall(era, key, tool, args string) []byte {
	headers, meta := []string{"Mcp-Protocol-Version: " + era}, ""
	if era > "2026" {
		headers = append(headers, "Mcp-Method: tools/call", "Mcp-Name: "+tool)
		meta = `,"_meta":{"io.modelcontextprotocol/protocolVersion":"` + era + `","io.modelcontextprotocol/clientCapabilities":{},` +
			`"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}`
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":` + args + meta + `}}`
	return request("POST", "/mcp", key, body, headers...)
}

func request(method, path, key, body string, headers ...string) []byte {
	lines := append([]string{method + " " + path + " HTTP/1.1", "Host: localhost", "Accept: application/json, text/event-stream"}, headers...)
	if key != "" {
		lines = append(lines, "Authorization: Bearer "+key)
	}
	if method == "POST" {
		lines = append(lines, "Content-Type: application/json", fmt.Sprint("Content-Length: ", len(body)))
	}
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n" + body)
}

// A child is a server process under measurement.
type child struct {
	hello
	cmd   *exec.Cmd
	stdin io.Closer // nil: it ends at a signal
	next  atomic.Int64
}

func start(ctx context.Context, role string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &child{cmd: exec.CommandContext(ctx, self)}
	s.cmd.Env = append(os.Environ(), roleVariable+"="+role)
	s.cmd.Stderr = os.Stderr
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	return s, json.NewDecoder(out).Decode(&s.hello)
}

func (s *child) stop() {
	if s.stdin != nil {
		_ = s.stdin.Close()
	} else {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
	}
	_ = s.cmd.Wait()
}

type row struct {
	perSecond, cpu, allocs, bytes float64
	p50, p99                      time.Duration
}

func (s *child) measure(c benchCall, callers int, during time.Duration) (row, error) {
	before, err := s.used()
	if err != nil {
		return row{}, err
	}
	started := time.Now()
	times, err := s.run(c, callers, during)
	if err != nil {
		return row{}, err
	}
	took := time.Since(started)
	after, err := s.used()
	if err != nil {
		return row{}, err
	}
	n := float64(len(times))
	slices.Sort(times)
	return row{
		perSecond: n / took.Seconds(), p50: times[len(times)/2], p99: times[len(times)*99/100],
		cpu: float64((after.CPU - before.CPU).Microseconds()) / n, allocs: float64(after.Mallocs-before.Mallocs) / n,
		bytes: float64(after.Bytes-before.Bytes) / n,
	}, nil
}

// used asks the server what it has used. Of one that does not tell, the system knows the time.
func (s *child) used() (u used, err error) {
	if s.Control == "" {
		u.CPU, err = cpuOf(s.cmd.Process.Pid)
		return u, err
	}
	r, err := http.Get("http://" + s.Control)
	if err != nil {
		return u, err
	}
	defer r.Body.Close()
	return u, json.NewDecoder(r.Body).Decode(&u)
}

// loads measures each server by itself at several numbers of callers.
func (b *bench) loads(ctx context.Context) error {
	var levels []int
	for _, s := range strings.Split(b.callers, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("-callers %q: %q is not a number of callers", b.callers, s)
		}
		levels = append(levels, n)
	}
	fmt.Println("| server | call | callers | calls/s | p50 | p99 | CPU µs/call | allocs/call | KB/call |")
	fmt.Println("|--|--|--|--|--|--|--|--|--|")
	for _, role := range []string{roleConstant, roleSDK, roleSQLite, rolePostgres} {
		if !strings.Contains(role, b.servers) {
			continue
		}
		if err := b.measureServer(ctx, role, levels); err != nil {
			return fmt.Errorf("%s: %w", role, err)
		}
	}
	return nil
}

func (b *bench) measureServer(ctx context.Context, role string, levels []int) error {
	s, err := start(ctx, role)
	if err != nil {
		return err
	}
	defer s.stop()
	for _, c := range callsOf(role, s.hello) {
		if !strings.Contains(c.name, b.calls) {
			continue
		}
		for _, n := range levels {
			if err := s.load(c, n, b.during/4); err != nil { // warm
				return fmt.Errorf("%s: %w", c.name, err)
			}
			row, err := s.measure(c, n, b.during)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Printf("| %s | %s | %d | %.0f | %s | %s | %.0f | %.0f | %.1f |\n", role, c.name, n, row.perSecond,
				micros(row.p50), micros(row.p99), row.cpu, row.allocs, row.bytes/1024)
		}
	}
	return nil
}

func (s *child) load(c benchCall, callers int, during time.Duration) error {
	_, err := s.run(c, callers, during)
	return err
}

// run keeps one request under way on each of so many connections, and gives how long each took.
func (s *child) run(c benchCall, callers int, during time.Duration) ([]time.Duration, error) {
	until := time.Now().Add(during)
	times, errs := make([][]time.Duration, callers), make([]error, callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() { times[i], errs[i] = s.caller(c, until) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return slices.Concat(times...), nil
}

// caller calls until then. With an error it gives how long the calls before took.
func (s *child) caller(c benchCall, until time.Time) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", s.Address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	in := answers{in: bufio.NewReaderSize(conn, 16<<10)}
	var times []time.Duration
	for time.Now().Before(until) {
		request := c.make(s.next.Add(1))
		started := time.Now()
		if _, err := conn.Write(request); err != nil {
			return times, err
		}
		if err := in.next(); err != nil {
			return times, err
		}
		times = append(times, time.Since(started))
	}
	return times, nil
}
