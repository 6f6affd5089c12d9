package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"sync"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/server"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

const (
	roleConstant = "net/http, constant"
	roleSDK      = "go-sdk, echo"
	// The same two, set up as serve is: its memory limit, and a line in a log for each request.
	roleConstantLogged = "net/http, constant, set up as serve"
	roleSDKLogged      = "go-sdk, echo, set up as serve"
	roleSQLite         = "dtcgate, SQLite"
	rolePostgres       = "dtcgate, PostgreSQL"
)

// hello is the first line a server prints: where it is, and what its callers need to know.
type hello struct {
	Address string `json:"address"`
	Control string `json:"control"` // answers used
	Key     string `json:"key"`
	OrderNo string `json:"order_no"` // of an order whose answer is about orderBytes long
}

// used is what a server process has used since it began.
type used struct {
	Mallocs uint64        `json:"mallocs"`
	Bytes   uint64        `json:"bytes"`
	CPU     time.Duration `json:"cpu"`
}

// How dtcgate serve sets the collector where no control group bounds it: GOGC as Go has it, and a limit.
const (
	serveGOGC  = 100
	serveLimit = 512 << 20
)

// runServer is a server process: it serves until its input ends.
func runServer(ctx context.Context, role string, stdout io.Writer) error {
	if role != roleConstant && role != roleSDK { // those are as Go has them
		debug.SetGCPercent(serveGOGC)
		debug.SetMemoryLimit(serveLimit)
	}
	if file := os.Getenv(profileVariable); file != "" {
		stop, err := profile(file)
		if err != nil {
			return err
		}
		defer stop()
	}
	h, handler, done, err := handlerOf(ctx, role)
	if err != nil {
		return err
	}
	defer done()
	main, err := listen(handler, &h.Address)
	if err != nil {
		return err
	}
	defer main.Close()
	control, err := listen(http.HandlerFunc(tellUsed), &h.Control)
	if err != nil {
		return err
	}
	defer control.Close()
	if err := json.NewEncoder(stdout).Encode(h); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// profile writes down what the process computes until stop.
func profile(file string) (stop func(), err error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
		if f, err := os.Create(file + ".allocs"); err == nil {
			_ = pprof.Lookup("allocs").WriteTo(f, 0)
			f.Close()
		}
	}, pprof.StartCPUProfile(f)
}

// profiled writes this process's profile where it was asked for.
func (b *bench) profiled() (stop func(), err error) {
	if b.profile == "" {
		return func() {}, nil
	}
	return profile(b.profile)
}

func listen(h http.Handler, address *string) (*http.Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	*address = l.Addr().String()
	s := server.HTTPServer(h)
	go s.Serve(l) //nolint:errcheck // ends with Close
	return s, nil
}

func tellUsed(w http.ResponseWriter, _ *http.Request) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	cpu := time.Duration(r.Utime.Nano() + r.Stime.Nano())
	_ = json.NewEncoder(w).Encode(used{Mallocs: m.Mallocs, Bytes: m.TotalAlloc, CPU: cpu})
}

func handlerOf(ctx context.Context, role string) (h hello, handler http.Handler, done func(), err error) {
	done = func() {}
	switch role {
	case roleConstant:
		handler = http.HandlerFunc(constant)
	case roleConstantLogged:
		handler, done, err = logged(http.HandlerFunc(constant))
	case roleSDK:
		handler = echo()
	case roleSDKLogged:
		handler, done, err = logged(echo())
	case roleSQLite:
		return gateOn(ctx, func(dir string) string { return filepath.Join(dir, "bench.db") }, done)
	case rolePostgres:
		pg, err := storetest.Launch(true) // durable, as in production
		if err != nil {
			return h, nil, nil, err
		}
		return gateOn(ctx, func(string) string { return pg.DSN }, func() { _ = pg.Remove() })
	default:
		err = fmt.Errorf("no such server: %q", role)
	}
	return h, handler, done, err
}

func constant(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"status":"done"}`)
}

// logged writes a line for each request to a file.
func logged(next http.Handler) (h http.Handler, done func(), err error) {
	f, err := os.CreateTemp("", "dtcgate-bench-log")
	if err != nil {
		return nil, nil, err
	}
	log := zerolog.New(f).With().Timestamp().Logger()
	h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		next.ServeHTTP(w, r)
		log.Info().Str("method", r.Method).Str("path", r.URL.Path).Str("source", r.RemoteAddr).
			Float64("ms", float64(time.Since(started).Microseconds())/1000).Msg("request")
	})
	return h, func() { _ = f.Close(); _ = os.Remove(f.Name()) }, nil
}

// echo is the least that an MCP server of the SDK can do: one raw tool, no credential, nothing kept.
func echo() http.Handler {
	s := mcp.NewServer(&mcp.Implementation{Name: "echo", Version: "1"}, nil)
	s.AddTool(&mcp.Tool{Name: "echo", Description: "Echoes.", InputSchema: json.RawMessage(`{"type":"object"}`)},
		func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(r.Params.Arguments)}}}, nil
		})
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
}

// gateOn is the whole of dtcgate over the demo merchant, as serve wires it. done ends it, and then what it stood on.
func gateOn(ctx context.Context, dsn func(dir string) string, below func()) (h hello, _ http.Handler, done func(), err error) {
	dir, err := os.MkdirTemp("", "dtcgate-bench")
	if err != nil {
		return h, nil, nil, err
	}
	db, err := store.Open(ctx, dsn(dir))
	if err != nil {
		return h, nil, nil, err
	}
	if h, err = prepare(ctx, db, "bench"); err != nil {
		return h, nil, nil, err
	}
	lines, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return h, nil, nil, err
	}
	signer, key, err := audit.LoadOrCreateSigner(filepath.Join(dir, "audit.key"), "bench")
	if err != nil {
		return h, nil, nil, err
	}
	registry, log := tools.NewRegistry(dtc.Tools()...), zerolog.New(lines).With().Timestamp().Logger()
	g := gate.New(gate.Config{DB: db, Tools: registry, Log: log})
	web, err := server.New(server.Config{
		Gate: g, Tools: registry, DB: db, Log: log, Version: "bench",
		Networks: server.Networks{Agents: auth.Networks{netip.MustParsePrefix("127.0.0.0/8")}},
	})
	if err != nil {
		return h, nil, nil, err
	}
	record := audit.New(audit.Config{DB: db, Signer: signer, VerifierKey: key, OnError: func(err error) { log.Error().Err(err).Send() }})
	beside, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { g.Work(beside) })
	all.Go(func() { _ = record.Run(beside) }) // its errors went to OnError
	return h, web, func() {
		stop()
		all.Wait()
		_ = db.Close()
		_ = lines.Close()
		below()
		_ = os.RemoveAll(dir)
	}, nil
}

// benchSeed makes the same shop in every run.
const benchSeed = 1

// orderBytes is about how long the answer with the order is that is read.
const orderBytes = 1024

// prepare makes a merchant with a shop and a key.
func prepare(ctx context.Context, db *store.DB, name string) (h hello, err error) {
	var m auth.Merchant
	err = db.InTx(ctx, func(tx *store.Tx) (err error) {
		if m, err = auth.EnsureMerchant(tx, name); err != nil {
			return err
		}
		if err = policytest.Install(tx, m.ID); err != nil {
			return err
		}
		_, h.Key, err = auth.MintKey(tx, auth.Key{
			Merchant: m.ID, Name: "bench", Profile: "admin", Scopes: []auth.Scope{"orders:read", "marketing:write"}, Ceiling: auth.MaxLevel,
		})
		return err
	})
	if err != nil {
		return h, err
	}
	if _, err := shop.LoadDemo(ctx, db, m.ID, benchSeed, db.Now()); err != nil {
		return h, err
	}
	h.OrderNo, err = orderOf(ctx, db, m.ID, h.Key)
	return h, err
}

// orderOf finds an order whose answer is about orderBytes long.
func orderOf(ctx context.Context, db *store.DB, merchant, key string) (best string, err error) {
	orders, err := ordersOf(ctx, db, merchant)
	if err != nil {
		return "", err
	}
	s := &stand{Gate: gate.New(gate.Config{DB: db, Tools: tools.NewRegistry(dtc.Tools()...), Log: zerolog.Nop()}), db: db}
	off := 1 << 30
	for _, no := range orders {
		body, _, err := s.timed(ctx, key, "dtc_get_order", `{"order_no":"`+no+`"}`)
		if err != nil {
			return "", err
		}
		if by := max(len(body)-orderBytes, orderBytes-len(body)); by < off {
			best, off = no, by
		}
	}
	return best, nil
}

func ordersOf(ctx context.Context, db *store.DB, merchant string) (orders []string, err error) {
	err = db.Read(ctx, func(tx *store.Tx) error {
		orders, err = store.All(tx, func(r store.Row) (no string, err error) { return no, r.Scan(&no) },
			`SELECT order_no FROM orders WHERE merchant_id = $1 ORDER BY order_no LIMIT 50`, merchant)
		return err
	})
	return orders, err
}
