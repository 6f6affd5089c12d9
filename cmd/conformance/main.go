//go:build conformance

// Command conformance is a server for the tasks-* scenarios of the official MCP conformance suite, which want tools of
// their own. It is built with the tag conformance, by .ci/clients alone, and is part of no release.
//
// The tools (tools.go) are called through the same server, gate and queue as ours: a task of theirs is a row, run by a
// worker. What the suite asks beyond that and the gate has on purpose not (calls that only a client with tasks may make, and
// questions back to the client) is added by a front before the server (front.go), so that nothing of it is in the server.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/server"
	"github.com/dtcgate/dtcgate/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// run serves on a port of the system's choice until ctx ends, on a database that is dropped then. It prints the address
// and a key as one line.
func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := store.Open(ctx, filepath.Join(dir, "db"))
	if err != nil {
		return err
	}
	defer db.Close()
	key, err := admit(ctx, db)
	if err != nil {
		return err
	}
	log := zerolog.New(os.Stderr)
	g := gate.New(gate.Config{DB: db, Tools: registry, Log: log})
	s, err := server.New(server.Config{
		Gate: g, Tools: registry, DB: db, Log: log, Version: "conformance",
		Networks: server.Networks{Agents: auth.Networks{netip.MustParsePrefix("127.0.0.0/8")}},
	})
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s/mcp %s\n", ln.Addr(), key)
	return serve(ctx, ln, g, server.HTTPServer(newFront(s, db)))
}

func serve(ctx context.Context, ln net.Listener, g *gate.Gate, web *http.Server) error {
	working, done := context.WithCancel(ctx)
	defer done()
	worked := make(chan struct{})
	go func() { defer close(worked); g.Work(working) }()
	defer context.AfterFunc(ctx, func() { web.Close() })()
	err := web.Serve(ln)
	done()
	<-worked
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// admit makes a merchant with a policy, and a key, and gives the key's secret.
func admit(ctx context.Context, db *store.DB) (secret string, err error) {
	err = db.InTx(ctx, func(tx *store.Tx) error {
		m, err := auth.EnsureMerchant(tx, "Conformance")
		if err == nil {
			err = policytest.Install(tx, m.ID)
		}
		if err == nil {
			_, secret, err = auth.MintKey(tx, auth.Key{Merchant: m.ID, Name: "conformance", Profile: "admin", Ceiling: auth.MaxLevel})
		}
		return err
	})
	return secret, err
}
