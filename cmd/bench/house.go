package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// The program that ships, `dtcgate serve`, over databases that are made ready before it starts.

// A house is a database with shops, and a folder for who serves it.
type house struct {
	engine, dir, dsn string
	merchants        []hello // each with a key and an order
	close            func()
}

// engines are in the order in which they are measured.
var engines = []string{"SQLite", "PostgreSQL"}

// onEach measures something on every engine.
func onEach(measure func(engine string) error) error {
	for _, engine := range engines {
		if err := measure(engine); err != nil {
			return fmt.Errorf("%s: %w", engine, err)
		}
	}
	return nil
}

// database makes an empty database. close ends what it stands on.
func (b *bench) database(engine, name string) (dsn string, end func(), err error) {
	if engine == "PostgreSQL" {
		pg, err := storetest.Launch(true) // durable, as in production
		if err != nil {
			return "", nil, err
		}
		return pg.DSN, func() { _ = pg.Remove() }, nil
	}
	dir, err := b.room(name + "-database")
	return filepath.Join(dir, "dtcgate.db"), func() { _ = os.RemoveAll(dir) }, err
}

// house makes a house with so many merchants.
func (b *bench) house(ctx context.Context, engine, name string, merchants int) (h *house, err error) {
	h = &house{engine: engine}
	if h.dir, err = b.room(name + "-" + engine); err != nil {
		return nil, err
	}
	if h.dsn, h.close, err = b.database(engine, name); err != nil {
		return nil, err
	}
	db, err := store.Open(ctx, h.dsn)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	for i := range merchants {
		m, err := prepare(ctx, db, fmt.Sprint("bench", i))
		if err != nil {
			return nil, err
		}
		h.merchants = append(h.merchants, m)
	}
	return h, nil
}

// build makes the program, unless it was named.
func (b *bench) build(ctx context.Context) error {
	if b.program != "" {
		return nil
	}
	program := filepath.Join(b.dir, "dtcgate")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", program, "github.com/dtcgate/dtcgate/cmd/dtcgate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building dtcgate: %w\n%s", err, out)
	}
	b.program = program
	return nil
}

// serve starts the program on a house. Its log goes to a file, as under a service manager.
func (b *bench) serve(ctx context.Context, h *house, name string) (*child, error) {
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	file := filepath.Join(h.dir, name+".log")
	log, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	dsn := h.dsn
	if h.engine == "PostgreSQL" {
		dsn += "&application_name=" + application
	}
	s := &child{hello: h.merchants[0], cmd: exec.CommandContext(ctx, b.program, "serve", "--listen", "127.0.0.1:0", "--data", h.dir, "--db", dsn,
		"--agent-networks", "127.0.0.1", "--unready-for", "0s")}
	s.cmd.Stderr = log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if s.Address, err = awaitAddress(file); err != nil {
		_ = s.cmd.Process.Kill()
		return nil, errors.Join(err, s.cmd.Wait())
	}
	return s, nil
}

// serveOne serves a house that is made for it, with one merchant. done ends both, and is never nil.
func (b *bench) serveOne(ctx context.Context, engine, name string) (s *child, done func(), err error) {
	h, err := b.house(ctx, engine, name, 1)
	if err != nil {
		return nil, func() {}, err
	}
	if s, err = b.serve(ctx, h, name); err != nil {
		return nil, h.close, err
	}
	return s, func() { s.stop(); h.close() }, nil
}

// application is how PostgreSQL knows the sessions of the servers.
const application = "bench"

// startTime is how long a server may take until it serves.
const startTime = 30 * time.Second

// awaitAddress waits until a server's log says where it serves.
func awaitAddress(file string) (string, error) {
	var text []byte
	for end := time.Now().Add(startTime); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var err error
		if text, err = os.ReadFile(file); err != nil {
			return "", err
		}
		for line := range bytes.Lines(text) {
			var said struct{ Message, Address string }
			if json.Unmarshal(line, &said) == nil && said.Message == "serving" {
				return said.Address, nil
			}
		}
	}
	return "", fmt.Errorf("dtcgate does not serve after %s:\n%s", startTime, text)
}

// tick is the unit of processor time in /proc (sysconf(_SC_CLK_TCK), which is 100 on every Linux that Go runs on).
const tick = 10 * time.Millisecond

// cpuOf is the processor time that a process has used: the fields utime and stime of proc(5).
func cpuOf(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:])) // from the third on: the name may hold anything
	if len(fields) < 13 {
		return 0, io.ErrUnexpectedEOF
	}
	user, err := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * tick, errors.Join(err, err2)
}

// resident is the memory of a process, in KiB, by the names in /proc/PID/status.
type resident struct{ VmHWM, VmRSS, RssAnon, RssFile float64 }

func residentOf(pid int) (r resident, err error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return r, err
	}
	for _, field := range []struct {
		name string
		into *float64
	}{{"VmHWM:", &r.VmHWM}, {"VmRSS:", &r.VmRSS}, {"RssAnon:", &r.RssAnon}, {"RssFile:", &r.RssFile}} {
		fields := strings.Fields(string(raw))
		i := slices.Index(fields, field.name)
		if i < 0 || i+1 == len(fields) {
			return r, fmt.Errorf("/proc/%d/status has no %s", pid, field.name)
		}
		if *field.into, err = strconv.ParseFloat(fields[i+1], 64); err != nil {
			return r, err
		}
	}
	return r, nil
}
