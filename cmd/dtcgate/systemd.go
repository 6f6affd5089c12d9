package main

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

//go:embed dtcgate.service
var unit string

// systemd prints the unit, so that the program alone is enough to install it.
type systemd struct{}

func (systemd) Run(a *app) error {
	_, err := fmt.Fprint(a.out, unit)
	return err
}

// besideSystemd runs serve, and tells systemd (sd_notify(3)) when the server is ready, that it lives, and that it ends. Where nobody asked for
// it, it tells nothing.
func besideSystemd(ctx context.Context, address string, serve func() error) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return serve()
	}
	telling, stop := context.WithCancel(ctx)
	var told sync.WaitGroup
	told.Go(func() { tellSystemd(telling, socket, address) })
	err := serve()
	stop()
	told.Wait()
	return err
}

// readyEvery is how often a server that starts is asked whether it is ready.
const readyEvery = 100 * time.Millisecond

// tellSystemd lets the server answer for itself: what does not answer is not said to live, and systemd starts it anew.
func tellSystemd(ctx context.Context, socket, address string) {
	defer sdNotify(socket, "STOPPING=1")
	for probe(ctx, address, "/readyz") != nil {
		if !pause(ctx, readyEvery) {
			return
		}
	}
	sdNotify(socket, "READY=1")
	within := watchdog(os.Getenv("WATCHDOG_USEC"))
	if within == 0 {
		<-ctx.Done()
		return
	}
	for pause(ctx, within/3) {
		if probe(ctx, address, "/healthz") == nil {
			sdNotify(socket, "WATCHDOG=1")
		}
	}
}

// pause reports whether ctx still goes on after a while.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// watchdog is how often systemd wants to hear that the server lives; 0 when it does not.
func watchdog(micros string) time.Duration {
	n, err := strconv.ParseInt(micros, 10, 64)
	if err != nil || n <= 0 {
		return 0
	}
	return time.Duration(n) * time.Microsecond
}

// sdNotify sends one datagram. One that is lost is systemd's to notice.
func sdNotify(socket, state string) {
	conn, err := net.DialTimeout("unixgram", socket, time.Second) // a name that begins with @ is abstract, to Go as to systemd
	if err != nil {
		return
	}
	_, _ = conn.Write([]byte(state))
	_ = conn.Close()
}
