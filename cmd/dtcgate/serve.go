package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/audit/backup"
	"github.com/dtcgate/dtcgate/audit/export"
	"github.com/dtcgate/dtcgate/audit/retention"
	"github.com/dtcgate/dtcgate/audit/witness"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/server"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
)

type serve struct {
	served
	networks server.Networks // of reach
}

// served are the flags of a server: those of `serve`, and of `doctor`, which looks whether they are good ones.
type served struct {
	Dev    bool   `help:"Make a demo merchant, a key and a person on the first start, and print them. Not for production."`
	Listen string `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"The address to serve on."`

	Config    string `placeholder:"FILE" help:"A YAML file with the settings that are lists: issuers, sign_in, providers."`
	PublicURL string `name:"public-url" placeholder:"https://…" help:"The address under which agents and people reach this server."`

	reach
	masterKeys
	webhookReach
	witnessing
	exporting
	telemetry

	UnreadyFor   time.Duration `default:"3s" placeholder:"TIME" help:"On PostgreSQL: how long /readyz says that this server is leaving before it accepts no more, so that a load balancer has turned to the others."`
	AllowedHosts []string      `placeholder:"NAME,…" help:"Names, besides localhost, under which a server on a loopback address may be called: those of a proxy in front."`

	SlowMCP bool `name:"slow-mcp" hidden:"" help:"Send every MCP message the long way, to find out whether the short one is at fault."`
}

// Validate is called by kong: what it refuses is wrong use.
func (c *serve) Validate() (err error) {
	c.networks, err = c.check()
	return err
}

// check says what is wrong with the flags, and gives the networks that they name.
func (c *served) check() (server.Networks, error) {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return server.Networks{}, fmt.Errorf("--listen %q is not HOST:PORT, such as 127.0.0.1:8080", c.Listen)
	}
	if c.PublicURL != "" {
		if c.PublicURL, err = parsePublicURL(c.PublicURL); err != nil {
			return server.Networks{}, err
		}
	}
	if ip := net.ParseIP(host); c.Dev && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return server.Networks{}, fmt.Errorf("--dev prints secrets and serves this machine only: --listen must be 127.0.0.1, [::1] or localhost, not %q", host)
	}
	if c.UnreadyFor < 0 || c.UnreadyFor > maxUnready {
		return server.Networks{}, fmt.Errorf("--unready-for %s is not between 0s and %s", c.UnreadyFor, maxUnready)
	}
	tellable, err := c.tellable()
	if err != nil {
		return server.Networks{}, err
	}
	if err := c.exporting.check(tellable); err != nil {
		return server.Networks{}, err
	}
	if err := c.telemetry.check(); err != nil {
		return server.Networks{}, err
	}
	return c.parse(c.Dev)
}

const (
	// drainTime is how long a shutdown waits for requests that were accepted. With the workers' last step (1 s) and the audit
	// log's last pass (5 s at most) it stays below 10 s, once the server is no longer sent any (--unready-for).
	// A last copy of the checkpoint takes 3 s more at most, when a witness is out of reach.
	drainTime = 3 * time.Second
	// maxUnready bounds --unready-for: whoever ends servers kills one that takes longer.
	maxUnready = 5 * time.Minute
)

func (c *serve) Run(ctx context.Context, a *app) error {
	limitMemory()
	log := newLog(a.err, c.Dev)
	settings, err := readConfig(c.Config)
	if err != nil {
		return err
	}
	issuers, err := c.issuers(settings, log)
	if err != nil {
		return err
	}
	if len(settings.Providers) > 0 && c.PublicURL == "" {
		return fmt.Errorf("%s names providers: say with --public-url https://… where people come back to from them", c.Config)
	}
	if a.embedded() {
		unlock, err := lockServer(a.dsn())
		if err != nil {
			return err
		}
		defer unlock()
	}
	db, err := a.create(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := backup.Servable(ctx, db); err != nil {
		return err
	}
	if err := firstPolicies(ctx, db); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("cannot serve on %s, name another address with --listen: %w", c.Listen, err)
	}
	defer listener.Close()
	watch, err := c.install(log)
	if err != nil {
		return err
	}
	defer watch.close()
	db.Spans = watch.spans
	g, err := c.assemble(a, db, issuers, settings, watch, log)
	if err != nil {
		return err
	}
	if err := c.greet(ctx, a, db, listener.Addr().String()); err != nil {
		return err
	}
	log.Info().Str("address", listener.Addr().String()).Str("store", db.Engine()).Msg("serving")
	return besideSystemd(ctx, listener.Addr().String(), func() error { return g.run(ctx, listener, c.leave(a)) })
}

// leave is how this server ends. Beside an embedded database there is no other that requests could go to.
func (c *serve) leave(a *app) server.Leave {
	l := server.Leave{Unready: c.UnreadyFor, Drain: drainTime}
	if a.embedded() {
		l.Unready = 0
	}
	return l
}

// newLog writes JSON lines, or lines for people on a terminal and in development.
func newLog(w io.Writer, dev bool) zerolog.Logger {
	if dev || isTerminal(w) {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w)}
	}
	return zerolog.New(secret.Redacting(w)).With().Timestamp().Logger()
}

// A running gate is a server with all that works beside it.
type runningGate struct {
	db      *store.DB
	logged  func(error)
	web     *server.Server
	gate    *gate.Gate
	carrier *shop.Carrier
	exports *shop.DossierFiles
	issuers *auth.Issuers // nil: there are none
	audit   *audit.Log
	vault   *vault.Vault
	witness *witness.Witness  // nil: checkpoints stay here
	outside func() error      // closes what the witness copies to
	copies  *export.Exports   // nil: there are none
	pruner  *retention.Pruner // nil: all is kept
	watch   *instruments
}

func (c *serve) assemble(a *app, db *store.DB, issuers *auth.Issuers, settings fileConfig, watch *instruments, log zerolog.Logger) (*runningGate, error) {
	provider, err := settings.SignIn.provider(db.Now)
	if err != nil {
		return nil, err
	}
	signer, key, err := audit.LoadOrCreateSigner(a.auditKey(), "dtcgate")
	if err != nil {
		return nil, err
	}
	logged := func(err error) { log.Error().Err(err).Msg("working") }
	keys, err := c.open(a)
	if err != nil {
		return nil, err
	}
	v, err := vault.New(vault.Config{DB: db, Keys: keys, Providers: settings.Providers, PublicURL: c.PublicURL, OnError: logged})
	if err != nil {
		return nil, err
	}
	hooks, err := c.webhooks(db, keys, c.PublicURL, logged)
	if err != nil {
		return nil, err
	}
	tellable, err := c.tellable()
	if err != nil {
		return nil, err
	}
	copies, pruner, err := c.exporting.exports(db, tellable, logged)
	if err != nil {
		return nil, err
	}
	exports := &shop.DossierFiles{DB: db, Dir: filepath.Join(a.Data, "exports"), Shared: !a.embedded(), OnError: logged}
	metrics := server.NewMetrics(registry, releaseName())
	g := gate.New(gate.Config{
		DB: db, Tools: registry, Log: log, Exports: exports, Issuers: issuers, OIDC: provider, Webhooks: hooks,
		Observe: metrics.Called, Spans: watch.spans,
	})
	witnessed, outside, err := c.witness(db, key, log)
	if err != nil {
		return nil, err
	}
	metrics.Watch(server.Sources{DB: db, Gate: g, Log: log, Webhooks: hooks, Witness: witnessed, Traces: watch.sent})
	web, err := server.New(server.Config{
		Gate: g, Tools: registry, DB: db, Log: log, Version: releaseName(), AllowedHosts: c.AllowedHosts, Networks: c.networks,
		PublicURL: c.PublicURL, Issuers: issuers, Vault: v, Metrics: metrics, ScrapeToken: c.MetricsToken, Spans: watch.spans,
		Slow: c.SlowMCP,
	})
	if err != nil {
		return nil, err
	}
	return &runningGate{
		witness: witnessed, outside: outside, copies: copies, pruner: pruner,
		db: db, logged: logged, web: web, gate: g, exports: exports, issuers: issuers, vault: v, watch: watch,
		carrier: &shop.Carrier{DB: db, Dir: filepath.Join(a.Data, "outbox"), OnError: logged},
		audit:   audit.New(audit.Config{DB: db, Signer: signer, VerifierKey: key, OnError: logged}),
	}, nil
}

// leave runs what copies the record and lets its end go.
func (r *runningGate) leave(ctx context.Context, workers *sync.WaitGroup) {
	if r.copies != nil {
		workers.Go(func() { _ = r.copies.Run(ctx) }) // leases that it cannot give up run out
	}
	if r.pruner != nil {
		workers.Go(func() { r.pruner.Run(ctx) })
	}
}

// run serves until ctx ends and then ends in this order: it is no longer ready, nothing more is accepted, what was accepted is answered,
// workers finish the step they are at, the record is numbered and signed to its end, and its last checkpoint leaves the house.
func (r *runningGate) run(ctx context.Context, l net.Listener, leave server.Leave) error {
	beside := context.WithoutCancel(ctx)
	working, stopWork := context.WithCancel(beside)
	recording, stopAudit := context.WithCancel(beside)
	defer stopAudit()
	var workers sync.WaitGroup
	workers.Go(func() { r.db.Relay(working, r.logged) })
	workers.Go(func() { r.gate.Work(working) })
	workers.Go(func() { r.carrier.Run(working) })
	workers.Go(func() { r.exports.Run(working) })
	if r.issuers != nil {
		workers.Go(func() { r.issuers.Run(working) })
	}
	workers.Go(func() { r.vault.Run(working) })
	r.leave(working, &workers)
	if l := r.watch.metrics; l != nil {
		workers.Go(func() { r.watch.told(server.ServeMetrics(working, l, r.web)) })
	}
	recorded := make(chan error, 1)
	go func() { recorded <- r.audit.Run(recording) }()
	copied := r.copyOut(beside)

	err := server.Serve(ctx, l, r.web, leave)
	stopWork()
	workers.Wait()
	stopAudit()
	return errors.Join(err, <-recorded, copied())
}
