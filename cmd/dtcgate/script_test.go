package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func TestMain(m *testing.M) {
	if os.Getenv(unreadyVariable) == "" { // the server of a test is this program too
		os.Setenv(unreadyVariable, "0s") // no test but those of replicas has anybody turn to another server
	}
	testscript.Main(m, map[string]func(){"dtcgate": mainWithVendors})
}

const unreadyVariable = "DTCGATE_UNREADY_FOR"

// TestCommandLine runs the stories in testdata on both engines. Beside the usual commands they have:
//
//	serve [flags]       start `dtcgate serve` on a free port, wait until it serves, set $URL
//	stop [signal]       end it (TERM if not said); it must end well and within 10 s; its output is server.out and server.err
//	http STATUS METHOD PATH TOKEN [BODY]
//	                    make a request that must have this status, and print the body; TOKEN - for none
//	status N ARGS…      run dtcgate, which must end with this status
//	issuer FILE MERCHANT SCOPES   start a token service, write the settings that trust it, and set $TOKEN
//	field NAME PATH     set $NAME to what stands at a path such as data.0.id in the one JSON document printed last
//	lines N FILE        wait until a file has so many lines
//	elsewhere           set $ELSEWHERE to an empty place that a backup can be restored to
//	tamper SQL          change the audit log, past what protects it
func TestCommandLine(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			testscript.Run(t, testscript.Params{
				Dir:       "testdata",
				Setup:     func(e *testscript.Env) error { return setUp(t, engine, e) },
				Condition: func(c string) (bool, error) { return c == engine, nil },
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"issuer": cmdIssuer(t), "elsewhere": cmdElsewhere(t),
					"serve": cmdServe, "stop": cmdStop, "http": cmdHTTP, "status": cmdStatus, "field": cmdField, "tamper": cmdTamper, "lines": cmdLines,
				},
			})
		})
	}
}

// setUp gives a script its database, and $SHOP, a merchant that is small enough to be loaded often.
func setUp(t *testing.T, engine string, e *testscript.Env) error {
	shop, err := filepath.Abs(filepath.Join("testdata", "shop"))
	if err != nil {
		return err
	}
	e.Setenv("SHOP", shop)
	e.Setenv(unreadyVariable, os.Getenv(unreadyVariable))
	e.Setenv("DTCGATE_DATA", filepath.Join(e.WorkDir, "data"))
	e.Setenv("GORACE", "atexit_sleep_ms=10") // under the race detector every command would end a second late
	e.Setenv("DTCGATE_DB", filepath.Join(e.WorkDir, "data", "dtcgate.db"))
	if engine != "sqlite" {
		e.Setenv("DTCGATE_DB", storetest.DSN(t, engine))
	}
	e.Values[runningKey{}] = &running{}
	return nil
}

// running is the server of a script.
type running struct {
	cmd   *exec.Cmd
	ended chan error
}

type runningKey struct{}

// kill ends a server that a failed script left behind, and shows its log.
func (s *running) kill(ts *testscript.TestScript) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may have ended by itself
	<-s.ended
	s.cmd = nil
	ts.Logf("the server's log:\n%s", ts.ReadFile("server.err"))
}

var servingAt = regexp.MustCompile(`serving.*(127\.0\.0\.1:\d+)|(127\.0\.0\.1:\d+).*serving`)

func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(runningKey{}).(*running)
	if neg || s.cmd != nil {
		ts.Fatalf("one server at a time; to see it refused, use exec")
	}
	s.cmd = exec.Command("dtcgate", append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	if !slices.Contains(args, "--dev") && !slices.Contains(args, "--agent-networks") {
		s.cmd.Args = append(s.cmd.Args, "--agent-networks", "127.0.0.1")
	}
	for _, name := range []string{"DTCGATE_DATA", "DTCGATE_DB", "GORACE"} {
		s.cmd.Env = append(s.cmd.Env, name+"="+ts.Getenv(name))
	}
	out, err := os.Create(ts.MkAbs("server.out"))
	ts.Check(err)
	defer out.Close()
	log, err := os.Create(ts.MkAbs("server.err"))
	ts.Check(err)
	s.cmd.Stdout = out
	stderr, err := s.cmd.StderrPipe()
	ts.Check(err)
	ts.Check(s.cmd.Start())
	ts.Defer(func() { s.kill(ts) })
	address := make(chan string, 1)
	s.ended = make(chan error, 1)
	go func() {
		watch(stderr, log, address)
		s.ended <- s.cmd.Wait()
	}()
	at := <-address
	if at == "" {
		ts.Fatalf("the server did not start:\n%s", ts.ReadFile("server.err"))
	}
	ts.Setenv("URL", "http://"+at)
}

// watch copies a server's log to a file and tells the address that it serves on, or nothing when it ends before.
func watch(stderr io.Reader, log io.WriteCloser, address chan<- string) {
	defer log.Close()
	defer close(address)
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		fmt.Fprintln(log, lines.Text())
		if m := servingAt.FindStringSubmatch(lines.Text()); m != nil {
			address <- m[1] + m[2]
		}
	}
}

func cmdStop(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(runningKey{}).(*running)
	signal := syscall.SIGTERM
	if len(args) > 0 && args[0] == "INT" {
		signal = syscall.SIGINT
	}
	ts.Check(s.cmd.Process.Signal(signal))
	select {
	case err := <-s.ended:
		s.cmd = nil
		if err != nil {
			ts.Fatalf("the server ended with %v:\n%s", err, ts.ReadFile("server.err"))
		}
	case <-time.After(10 * time.Second):
		ts.Fatalf("the server did not end within 10 s")
	}
}

func cmdHTTP(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 4 {
		ts.Fatalf("usage: http STATUS METHOD PATH TOKEN [BODY]")
	}
	body := strings.NewReader(strings.Join(args[4:], " "))
	r, err := http.NewRequest(args[1], ts.Getenv("URL")+args[2], body)
	ts.Check(err)
	if args[3] != "-" {
		r.Header.Set("Authorization", "Bearer "+args[3])
	}
	if r.Method != http.MethodGet {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", rand.Text())
	}
	answer, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	_, err = io.Copy(ts.Stdout(), answer.Body)
	ts.Check(err)
	if strconv.Itoa(answer.StatusCode) != args[0] {
		ts.Fatalf("the status is %d", answer.StatusCode)
	}
}

func cmdStatus(ts *testscript.TestScript, _ bool, args []string) {
	status, wrong := 0, (*exec.ExitError)(nil)
	if err := ts.Exec("dtcgate", args[1:]...); errors.As(err, &wrong) {
		status = wrong.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(status) != args[0] {
		ts.Fatalf("the status is %d", status)
	}
}

// unprotect takes the trigger away that keeps entries from being changed, as the owner of a database can.
var unprotect = map[string]string{
	"sqlite":   "DROP TRIGGER audit_entries_update",
	"postgres": "DROP TRIGGER audit_entries_change ON audit_entries",
}

func cmdTamper(ts *testscript.TestScript, _ bool, args []string) {
	db, err := store.Open(context.Background(), ts.Getenv("DTCGATE_DB"))
	ts.Check(err)
	defer db.Close()
	ts.Check(db.InTx(context.Background(), func(tx *store.Tx) error {
		if _, err := tx.Exec(unprotect[tx.Engine()]); err != nil {
			return err
		}
		n, err := tx.Exec(args[0])
		if err == nil && n == 0 {
			err = errors.New("nothing was changed")
		}
		return err
	}))
}

// cmdLines waits for what a server writes.
func cmdLines(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if text, err := os.ReadFile(ts.MkAbs(args[1])); err == nil && bytes.Count(text, []byte("\n")) >= want {
			return
		}
	}
	ts.Fatalf("%s does not get %d lines", args[1], want)
}

func cmdElsewhere(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, _ []string) {
		ts.Setenv("ELSEWHERE", storetest.Elsewhere(t, ts.Getenv("DTCGATE_DB")))
	}
}

func cmdField(ts *testscript.TestScript, _ bool, args []string) {
	d := json.NewDecoder(bytes.NewReader([]byte(ts.ReadFile("stdout"))))
	d.UseNumber()
	var v any
	ts.Check(d.Decode(&v))
	if d.More() {
		ts.Fatalf("more than one JSON document was printed")
	}
	for step := range strings.SplitSeq(args[1], ".") {
		if list, ok := v.([]any); ok {
			i, err := strconv.Atoi(step)
			ts.Check(err)
			if i >= len(list) {
				ts.Fatalf("the list has %d elements", len(list))
			}
			v = list[i]
			continue
		}
		object, _ := v.(map[string]any)
		if v = object[step]; v == nil {
			ts.Fatalf("there is no %s in %v", step, object)
		}
	}
	ts.Setenv(args[0], fmt.Sprint(v))
}
