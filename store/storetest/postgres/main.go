// Command postgres runs a command with a temporary PostgreSQL, so that all the test processes of one `go test ./...`
// share a server:
//
//	go run ./store/storetest/postgres -- go test ./...
//
// If DTCGATE_TEST_DATABASE_URL is set already, it just runs the command. Its exit status is the command's.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/dtcgate/dtcgate/store/storetest"
)

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: postgres -- COMMAND ARGUMENTS…")
		os.Exit(2)
	}
	status, err := run(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "postgres:", err)
	}
	os.Exit(status)
}

func run(args []string) (status int, err error) {
	if os.Getenv(storetest.URLVariable) == "" {
		server, err := storetest.Launch(false)
		if err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, server.Remove()) }()
		if err := os.Setenv(storetest.URLVariable, server.DSN); err != nil {
			return 1, err
		}
	}
	// The terminal sends its signals to the command too; we wait for its end and clean up.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s)
		case err := <-ended:
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				return max(1, exit.ExitCode()), nil
			}
			return 0, err
		}
	}
}
