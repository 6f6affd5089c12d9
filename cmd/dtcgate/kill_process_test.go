package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A process is one life of the server.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	wire   *wire
	ended  chan error
	log    string
	took   time.Duration // from the signal to the end
	lived  time.Duration // under load, until it was gone
	failed error         // how it ended, when not with status 0
}

// loopback is where the rig's webhook is.
const loopback = "127.0.0.0/8"

// start starts a server and waits until it is ready.
func (r *rig) start() *process {
	r.t.Helper()
	begin := time.Now()
	p := r.launch()
	if p.wire == nil {
		r.t.Fatalf("the server ended: %v\n%s", p.failed, p.tail())
	}
	p.awaitReady()
	r.starts = append(r.starts, time.Since(begin))
	return p
}

// launch starts a server and waits until it serves. Its wire is nil when it ended before.
func (r *rig) launch(environment ...string) *process {
	r.t.Helper()
	p := &process{t: r.t, log: filepath.Join(r.t.TempDir(), "server.log"), ended: make(chan error, 1)}
	p.cmd = exec.Command("dtcgate", "serve", "--listen", "127.0.0.1:0", "--data", r.dir, "--db", r.dsn, "--agent-networks", "127.0.0.1", "--admin-networks", "127.0.0.1",
		"--webhook-networks", loopback)
	p.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=10", vendorsVariable+"="+r.abroad.at)
	p.cmd.Env = append(append(p.cmd.Env, r.env...), environment...)
	log, err := os.Create(p.log)
	if err != nil {
		r.t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = p.cmd.Process.Kill() }) // of a test that failed half-way; otherwise it has ended
	address := make(chan string, 1)
	go func() {
		watch(stderr, log, address)
		p.ended <- p.cmd.Wait()
	}()
	if at, serves := <-address; serves {
		p.wire = newWire("http://" + at)
	} else {
		p.failed = <-p.ended
	}
	return p
}

func (p *process) awaitReady() {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); {
		answer, err := p.wire.client.Get(p.wire.base + "/readyz")
		if err != nil {
			break // the socket is open before the address is told, so nothing will come
		}
		answer.Body.Close()
		if answer.StatusCode == http.StatusOK {
			return
		}
	}
	p.t.Fatalf("the server did not get ready:\n%s", p.tail())
}

// end sends a signal and waits for the process to be gone.
func (p *process) end(signal syscall.Signal) {
	p.t.Helper()
	p.wire.dying.Store(true)
	begin := time.Now()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Errorf("the server had ended by itself: %v\n%s", err, p.tail())
	}
	select {
	case p.failed = <-p.ended:
	case <-time.After(20 * time.Second):
		p.t.Errorf("the server does not end:\n%s", p.tail())
	}
	p.took = time.Since(begin)
	p.wire.client.CloseIdleConnections()
	said, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Error(err)
	}
	if bad := trouble(said); bad != "" {
		p.t.Errorf("the server's log has:\n%s", bad)
	}
}

// busy is in the server's line about an outside system that was too busy, as the rig's are now and then.
const busy = "The outside system could not be reached."

// trouble gives the first line of a log that tells of an error, and what belongs to it.
func trouble(log []byte) string {
	lines := strings.Split(string(log), "\n")
	for i, line := range lines {
		switch {
		case strings.Contains(line, busy):
		case strings.Contains(line, `"level":"error"`):
			return line
		case strings.Contains(line, "DATA RACE"), strings.Contains(line, "panic"):
			return strings.Join(lines[i:min(i+50, len(lines))], "\n")
		}
	}
	return ""
}

// tail gives the end of the server's log.
func (p *process) tail() string {
	said, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(said[max(0, len(said)-4000):])
}
