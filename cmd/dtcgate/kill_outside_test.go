package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
	"github.com/dtcgate/dtcgate/tools/outsidetest"
)

// vendorsVariable tells a server process of the rig where the outside systems are.
const vendorsVariable = "DTCGATE_TEST_VENDORS"

// The tools that act outside, each at a vendor of its own, which helps no more than the tool's shape says.
const (
	pay      = "test_pay"       // nobody but a person can tell what became of it
	payTold  = "test_pay_told"  // the vendor can tell
	payAgain = "test_pay_again" // the vendor knows an execution again
)

var shapes = []outsidetest.Shape{
	{Name: pay, Path: "test.pay"}, {Name: payTold, Path: "test.paytold", Probes: true}, {Name: payAgain, Path: "test.payagain", Repeatable: true},
}

func paysOutside(tool string) bool { return tool == pay || tool == payTold || tool == payAgain }

// mainWithVendors is main, with the tools of the outside systems that the rig has started.
func mainWithVendors() {
	if at := os.Getenv(vendorsVariable); at != "" {
		all := dtc.Tools()
		for _, s := range shapes {
			all = append(all, outsidetest.Tool(at+"/"+s.Name, s))
		}
		registry = tools.NewRegistry(all...)
	}
	main()
}

// An abroad is the outside systems. They live in the rig's process, so that no kill of a server reaches them, and sync what they did to files
// before they answer.
type abroad struct {
	at      string
	web     *httptest.Server
	vendors map[string]*outsidetest.Vendor
	book    *ledger
	db      *store.DB // to look whether what comes was announced
	mail    mailbox
	faulty  atomic.Bool                       // requests and answers are lost, late and refused
	all     atomic.Pointer[outsidetest.Fault] // what goes wrong with each request, when it is set
	open    atomic.Int64                      // connections
}

func newAbroad(r *rig) *abroad {
	a := &abroad{vendors: map[string]*outsidetest.Vendor{}, book: r.book, db: storetest.Open(r.t, r.dsn)}
	if err := os.MkdirAll(filepath.Join(r.dir, "abroad"), 0o700); err != nil {
		r.t.Fatal(err)
	}
	all := http.NewServeMux()
	for _, s := range shapes {
		v := &outsidetest.Vendor{Repeats: s.Repeatable, Ledger: filepath.Join(r.dir, "abroad", s.Name), Fault: a.fault}
		a.vendors[s.Name] = v
		all.Handle("/"+s.Name+"/", http.StripPrefix("/"+s.Name, v))
	}
	all.Handle("/hook", &a.mail)
	a.web = httptest.NewUnstartedServer(all)
	a.web.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			a.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			a.open.Add(-1)
		}
	}
	a.web.Start()
	a.at = a.web.URL
	r.t.Cleanup(func() { a.web.CloseClientConnections(); a.web.Close() })
	return a
}

// fault is what goes wrong with the nth request for an execution, and takes up to 40 ms, so that kills meet requests on their way.
func (a *abroad) fault(execution string, n int) outsidetest.Fault {
	a.announced(execution, n)
	if f := a.all.Load(); f != nil {
		return *f
	}
	if !a.faulty.Load() {
		return outsidetest.None
	}
	<-time.After(time.Duration(rand.IntN(40)) * time.Millisecond)
	switch i := rand.IntN(100); {
	case i < 8:
		return outsidetest.LoseAnswer
	case i < 14:
		return outsidetest.LoseRequest
	case i < 17:
		return outsidetest.Hang
	case i < 20:
		return outsidetest.HangAfter
	case i < 23:
		return outsidetest.Refuse
	case i < 26:
		return outsidetest.Busy
	}
	return outsidetest.None
}

// announced complains about a request that comes before the intent to make it is committed.
func (a *abroad) announced(execution string, n int) {
	var sends int
	err := a.db.Read(context.Background(), func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT COALESCE(SUM(x.sends), 0) FROM executions x JOIN jobs j ON j.id = x.job_id
			WHERE x.execution_id = $1 AND j.status <> 'queued'`, execution).Scan(&sends)
	})
	if err != nil || sends < n {
		a.book.complain("C1: the execution %s is asked for the %d. time, and %d intents are on record: %v", execution, n, sends, err)
	}
}

// quiet waits until nothing is on its way any more: the listener hands out connections in their order, and each has one request.
func (a *abroad) quiet() {
	if answer, err := http.Get(a.at + "/quiet"); err == nil {
		answer.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	for a.open.Load() > 0 {
		<-time.After(time.Millisecond)
	}
}

// stop ends the outside systems' look at the database, whose file is whole when nobody has it open.
func (a *abroad) stop() error { return a.db.Close() }

// An openDoubt is a job of which nobody but the outside system knows what became.
type openDoubt struct {
	job     string
	outcome tools.Known
}

// findDoubts tells people what they may find out by a look at the outside system.
func (r *rig) findDoubts(db *store.DB) error {
	var doubts []openDoubt
	err := db.Read(r.t.Context(), func(tx *store.Tx) (err error) {
		doubts, err = store.All(tx, func(row store.Row) (d openDoubt, err error) {
			var tool, execution string
			err = row.Scan(&d.job, &tool, &execution)
			d.outcome = tools.DidNotHappen
			if err == nil && r.abroad.vendors[tool].Effects(execution) > 0 {
				d.outcome = tools.Happened
			}
			return d, err
		}, `SELECT j.id, j.tool, x.execution_id FROM jobs j JOIN executions x ON x.job_id = j.id WHERE j.status = 'indeterminate'`)
		return err
	})
	r.book.doubt(doubts)
	return err
}

// pay pays one of a few at one of the outside systems.
func (k *caller) pay() bool {
	tool := shapes[k.rng.IntN(len(shapes))].Name
	return k.ask(k.write(tool, "reason", map[string]any{"payee": fmt.Sprintf("payee-%d", k.rng.IntN(30)), "amount": 100 + k.rng.IntN(100)}))
}
