package storetest

import (
	"errors"
	"io"
	"math"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// Trips are the round trips to a PostgreSQL server: how often somebody who had been answered asked again.
type Trips struct {
	count atomic.Int64
	open  sync.WaitGroup
}

// Least is the fewest that any of some runs of fn takes, what nobody waits for included: the first runs prepare statements, and one that is kept
// waiting asks whether its connection lives.
func (t *Trips) Least(tb testing.TB, db *store.DB, fn func(run int) error) int64 {
	tb.Helper()
	least := int64(math.MaxInt64)
	for run := range 6 {
		Settle(db)
		before := t.count.Load()
		if err := fn(run); err != nil {
			tb.Fatal(err)
		}
		Settle(db)
		least = min(least, t.count.Load()-before)
	}
	return least
}

// CountTrips gives an address that leads to the database at dsn through a counter of round trips, until the test ends.
func CountTrips(t testing.TB, dsn string) (through string, trips *Trips) {
	t.Helper()
	address, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	to := func() (net.Conn, error) { return net.Dial("tcp", address.Host) }
	q := address.Query()
	if folder := q.Get("host"); folder != "" {
		to = func() (net.Conn, error) { return net.Dial("unix", filepath.Join(folder, ".s.PGSQL.5432")) }
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	q.Del("host")
	q.Set("sslmode", "disable")
	address.Host, address.RawQuery = listener.Addr().String(), q.Encode()
	trips = &Trips{}
	trips.open.Go(func() { trips.accept(t, listener, to) })
	t.Cleanup(func() { _ = listener.Close(); trips.open.Wait() })
	return address.String(), trips
}

func (t *Trips) accept(tb testing.TB, listener net.Listener, to func() (net.Conn, error)) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := to()
		if err != nil {
			tb.Errorf("reaching PostgreSQL: %v", err)
			_ = client.Close()
			continue
		}
		t.pass(client, server)
	}
}

// pass carries bytes both ways. What the client sends counts when it is the first since the server said something.
func (t *Trips) pass(client, server net.Conn) {
	var asked atomic.Bool
	carry := func(to, from net.Conn, note func()) {
		defer func() { _ = errors.Join(to.Close(), from.Close()) }()
		_, _ = io.Copy(noting{to, note}, from) // ends when either end does
	}
	t.open.Go(func() {
		carry(server, client, func() {
			if !asked.Swap(true) {
				t.count.Add(1)
			}
		})
	})
	t.open.Go(func() { carry(client, server, func() { asked.Store(false) }) })
}

// noting tells of each write before it is made.
type noting struct {
	net.Conn
	note func()
}

func (n noting) Write(b []byte) (int, error) {
	n.note()
	return n.Conn.Write(b)
}

// Settle waits until no connection of the database is in a transaction: what nobody waits for is over then.
func Settle(db *store.DB) {
	for db.Stats().InUse > 0 {
		time.Sleep(time.Millisecond)
	}
}
