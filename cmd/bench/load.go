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
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A benchCall is one kind of request, as bytes for the wire.
type benchCall struct {
	name string
	make func(n int64) []byte // the n-th request
}

// callsOf are the calls that are measured on a server.
func callsOf(role string, h hello) []benchCall {
	switch role {
	case roleConstant:
		return []benchCall{{"POST", func(int64) []byte { return request("POST", "/", "", `{"jsonrpc":"2.0"}`) }}}
	case roleSDK:
		return []benchCall{{"tools/call, 2025-11-25", func(n int64) []byte { return toolCall("", "echo", `{"a":1}`, n) }}}
	}
	draft := `{"name":"Spring","channel":"email","subject":"Hello","body":"Spring is here.","idempotency_key":"%d-%d"}`
	run := time.Now().UnixNano()
	return []benchCall{
		{"whoami, MCP", func(n int64) []byte { return toolCall(h.Key, "dtc_whoami", `{}`, n) }},
		{"whoami, REST", func(int64) []byte { return request("GET", "/api/v1/agent/v1/whoami", h.Key, "") }},
		{"one order, MCP", func(n int64) []byte { return toolCall(h.Key, "dtc_get_order", `{"order_no":"`+h.OrderNo+`"}`, n) }},
		{"one order, REST", func(int64) []byte { return request("GET", "/api/v1/agent/v1/orders/"+h.OrderNo, h.Key, "") }},
		{"campaign create, MCP", func(n int64) []byte {
			return toolCall(h.Key, "dtc_create_campaign", fmt.Sprintf(draft, run, n), n)
		}},
		{"campaign create, REST", func(n int64) []byte {
			return request("POST", "/api/v1/agent/v1/campaigns", h.Key, fmt.Sprintf(draft, -run, n))
		}},
	}
}

func toolCall(key, tool, args string, n int64) []byte {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, n, tool, args)
	return request("POST", "/mcp", key, body)
}

func request(method, path, key, body string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\nAccept: application/json, text/event-stream\r\n", method, path)
	if key != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", key)
	}
	if method == "POST" {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nMcp-Protocol-Version: 2025-11-25\r\nContent-Length: %d\r\n", len(body))
	}
	return []byte(b.String() + "\r\n" + body)
}

// A child is a server process under measurement.
type child struct {
	hello
	cmd   *exec.Cmd
	stdin io.Closer
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
	_ = s.stdin.Close()
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

func (s *child) used() (u used, err error) {
	r, err := http.Get("http://" + s.Control)
	if err != nil {
		return u, err
	}
	defer r.Body.Close()
	return u, json.NewDecoder(r.Body).Decode(&u)
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

func (s *child) caller(c benchCall, until time.Time) ([]time.Duration, error) {
	conn, err := net.Dial("tcp", s.Address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	var times []time.Duration
	for time.Now().Before(until) {
		request := c.make(s.next.Add(1))
		started := time.Now()
		if _, err := conn.Write(request); err != nil {
			return nil, err
		}
		if err := readAnswer(in); err != nil {
			return nil, err
		}
		times = append(times, time.Since(started))
	}
	return times, nil
}

// readAnswer reads one answer and refuses to count one that is an error.
func readAnswer(in *bufio.Reader) error {
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if r.StatusCode/100 != 2 || strings.Contains(string(body), `"isError":true`) || strings.Contains(string(body), `"error":{`) {
		return fmt.Errorf("answered %d: %.300s", r.StatusCode, body)
	}
	return nil
}
