package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// freeAddress is one that nobody serves on at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestSystemdIsToldWhatTheServerIsAt(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenPacket("unixgram", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	hear := func() string {
		b := make([]byte, 100)
		if err := systemd.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, _, err := systemd.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	listen := freeAddress(t)
	server := exec.Command("dtcgate", "serve", "--data", t.TempDir(), "--listen", listen, "--agent-networks", "127.0.0.1")
	server.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=300000")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if said := hear(); said != "READY=1" {
		t.Errorf("first it says %q", said)
	}
	if err := probe(t.Context(), listen, "/readyz"); err != nil {
		t.Errorf("it says that it is ready: %v", err)
	}
	for range 2 {
		if said := hear(); said != "WATCHDOG=1" {
			t.Errorf("then it says %q", said)
		}
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	said := hear()
	for said == "WATCHDOG=1" {
		said = hear()
	}
	if said != "STOPPING=1" {
		t.Errorf("at its end it says %q", said)
	}
	if err := server.Wait(); err != nil {
		t.Error(err)
	}
}

// TestTheUnitIsHardened asks systemd itself, where it is there.
func TestTheUnitIsHardened(t *testing.T) {
	for _, want := range []string{"Type=notify", "DynamicUser=yes", "ProtectSystem=strict", "NoNewPrivileges=yes", "MemoryMax=", "LimitNOFILE=", "StateDirectory=dtcgate"} {
		if !strings.Contains(unit, "\n"+want) {
			t.Errorf("the unit lacks %s", want)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here")
	}
	if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold=15", "dtcgate.service").CombinedOutput(); err != nil {
		t.Errorf("its exposure is above 1.5: %v\n%s", err, out)
	}
}
