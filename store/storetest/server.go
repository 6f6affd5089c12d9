package storetest

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Server is a temporary PostgreSQL server. It listens on a Unix socket in its own folder only, and its folder and
// processes go away with it, or with the process that launched it, however that one ends.
type Server struct {
	DSN string

	dir    string
	bin    string
	fsync  string              // "on" | "off"
	as     *syscall.Credential // nil: as ourselves
	hangUp io.Closer           // tells the guard that we are gone
	guard  *exec.Cmd
}

// running keeps servers from being collected as garbage, and the inputs of their guards with them.
var running sync.Map

// StartPostgres starts a server for one test, durable as in production, that the test may stop and kill.
func StartPostgres(t testing.TB) *Server {
	t.Helper()
	s, err := Launch(true)
	if err != nil {
		t.Fatalf("starting PostgreSQL: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Errorf("removing PostgreSQL: %v", err)
		}
	})
	return s
}

// Launch makes and starts a server. PostgreSQL refuses to run as root, so root runs it as postgres or nobody. Without
// fsync (durable) it is faster, and a power cut would lose it.
func Launch(durable bool) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	as, err := unprivileged()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "dtcgate-pg")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, fsync: "off", as: as}
	if durable {
		s.fsync = "on"
	}
	s.DSN = "postgres://postgres@/postgres?" + url.Values{"host": {dir}}.Encode()
	if err := s.create(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	return s, nil
}

func (s *Server) create() error {
	if s.as != nil {
		if err := os.Chown(s.dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			return err
		}
	}
	if err := s.watch(); err != nil {
		return err
	}
	return s.run("initdb", "-D", s.data(), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Start starts the server after Stop or Kill, and waits until it answers.
func (s *Server) Start() error {
	options := fmt.Sprintf("-c listen_addresses= -c unix_socket_directories='%s' -c fsync=%s -c max_connections=300", s.dir, s.fsync)
	if s.fsync == "off" {
		options += " -c synchronous_commit=off -c full_page_writes=off -c wal_level=minimal -c max_wal_senders=0"
	}
	return s.run("pg_ctl", "-D", s.data(), "-l", filepath.Join(s.dir, "log"), "-o", options, "-w", "start")
}

// Stop shuts the server down in good order; open connections are cut.
func (s *Server) Stop() error { return s.run("pg_ctl", "-D", s.data(), "-m", "fast", "-w", "stop") }

// Kill ends the server at once, as a crash would: its next start recovers from the log.
func (s *Server) Kill() error {
	return s.run("pg_ctl", "-D", s.data(), "-m", "immediate", "-w", "stop")
}

// Configure changes a setting of the server, for sessions that are open as well. It returns when new sessions have it: those that were open have been told
// by then, and have it with their next statement.
func (s *Server) Configure(t testing.TB, setting, value string) {
	t.Helper()
	db, err := sql.Open("pgx", s.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // one session for all, which may write whatever others may
	for _, q := range []string{"SET default_transaction_read_only = off", "ALTER SYSTEM SET " + setting + " = " + value, "SELECT pg_reload_conf()"} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	db.SetMaxIdleConns(-1) // a new session for each look
	for now := ""; now != value; {
		if err := db.QueryRowContext(t.Context(), "SELECT reset_val FROM pg_settings WHERE name = $1", setting).Scan(&now); err != nil {
			t.Fatal(err)
		}
	}
}

// Remove ends the server and deletes its files.
func (s *Server) Remove() error {
	running.Delete(s)
	if err := s.hangUp.Close(); err != nil {
		return err
	}
	return s.guard.Wait()
}

// watch starts the guard: a shell that waits for the end of its input, which comes when this process ends, even when it
// is killed, and then cleans up.
func (s *Server) watch() error {
	const script = `trap '' INT TERM HUP; cat >/dev/null; "$1/pg_ctl" -D "$2/data" -m immediate -w stop; rm -rf "$2"; exit 0`
	s.guard = exec.Command("sh", "-c", script, "sh", s.bin, s.dir)
	s.guard.Dir = "/"
	s.guard.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true}
	var err error
	if s.hangUp, err = s.guard.StdinPipe(); err != nil {
		return err
	}
	running.Store(s, nil)
	return s.guard.Start()
}

func (s *Server) run(program string, args ...string) error {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	// A file, because the server started by pg_ctl would keep a pipe open.
	out, err := os.CreateTemp("", "dtcgate-pg-out")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(said))
	}
	return nil
}

// binaries finds the folder of initdb, pg_ctl and postgres, installing Debian's package when we may.
func binaries() (string, error) {
	if bin := findBinaries(); bin != "" {
		return bin, nil
	}
	if _, err := exec.LookPath("apt-get"); err == nil && os.Geteuid() == 0 {
		fmt.Fprintln(os.Stderr, "storetest: no PostgreSQL found; installing Debian's package for the tests: apt-get install postgresql")
		install := "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends postgresql"
		if out, err := exec.Command("sh", "-c", install).CombinedOutput(); err != nil {
			return "", fmt.Errorf("installing PostgreSQL: %w: %s", err, bytes.TrimSpace(out))
		}
		if bin := findBinaries(); bin != "" {
			return bin, nil
		}
	}
	return "", errors.New("no PostgreSQL to test with: set " + URLVariable +
		" to the address of one (postgres://user:password@host:port/database), or install its server programs (initdb, pg_ctl)")
}

func findBinaries() string {
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		// Through the links, because initdb must be its neighbour.
		if path, err = filepath.EvalSymlinks(path); err == nil && complete(filepath.Dir(path)) {
			return filepath.Dir(path)
		}
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	slices.SortFunc(dirs, func(a, b string) int { return version(b) - version(a) })
	for _, dir := range dirs {
		if complete(dir) {
			return dir
		}
	}
	return ""
}

func version(bin string) int {
	n, _ := strconv.Atoi(strings.TrimPrefix(filepath.Dir(bin), "/usr/lib/postgresql/"))
	return n
}

func complete(bin string) bool {
	for _, program := range []string{"initdb", "pg_ctl", "postgres"} {
		if _, err := os.Stat(filepath.Join(bin, program)); err != nil {
			return false
		}
	}
	return true
}

// unprivileged is who runs the server when we are root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is neither a user postgres nor nobody to run it as")
}
