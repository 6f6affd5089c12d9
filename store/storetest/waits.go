package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Waits are what the sessions on a PostgreSQL schema were found doing, over many looks.
type Waits struct {
	Looks  int
	Busy   int            // sessions that were carrying out a statement, over all looks
	Locked int            // those of them that waited for a lock that another session holds (wait_event_type Lock)
	Held   int            // looks at which any session did
	Events map[string]int // those of Busy that waited, by type and event; for a lock also by the statement
}

// LockShare is the part of busy sessions' time that was spent waiting for locks.
func (w Waits) LockShare() float64 { return float64(w.Locked) / float64(max(w.Busy, 1)) }

func (w Waits) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d looks, %.1f busy sessions each, %.2f%% of them wait for a lock (at %.2f%% of looks)",
		w.Looks, float64(w.Busy)/float64(max(w.Looks, 1)), 100*w.LockShare(), 100*float64(w.Held)/float64(max(w.Looks, 1)))
	names := slices.SortedFunc(maps.Keys(w.Events), func(x, y string) int { return w.Events[y] - w.Events[x] })
	for _, name := range names[:min(8, len(names))] {
		fmt.Fprintf(&b, "; %s %.1f%%", name, 100*float64(w.Events[name])/float64(max(w.Busy, 1)))
	}
	return b.String()
}

// activity is what sessions of an application do; a session that waits for its client is idle, in a transaction or not.
const activity = `SELECT COALESCE(wait_event_type, ''), COALESCE(wait_event, '')
		|| CASE WHEN wait_event_type = 'Lock' THEN ' in ' || left(regexp_replace(query, '\s+', ' ', 'g'), 70) ELSE '' END FROM pg_stat_activity
	WHERE datname = current_database() AND application_name = $1 AND state = 'active' AND pid <> pg_backend_pid()
		AND COALESCE(wait_event_type, '') <> 'Client'`

// look adds what is so now.
func (w *Waits) look(ctx context.Context, db *sql.DB, application string) error {
	rows, err := db.QueryContext(ctx, activity, application)
	if err != nil {
		return err
	}
	defer rows.Close()
	locked := 0
	for rows.Next() {
		var kind, event string
		if err := rows.Scan(&kind, &event); err != nil {
			return err
		}
		if w.Busy++; kind == "Lock" {
			locked++
		}
		if kind != "" {
			w.Events[kind+":"+event]++
		}
	}
	w.Looks++
	w.Locked += locked
	w.Held += min(locked, 1)
	return rows.Err()
}

// SampleWaits looks every so often at the sessions of the schema at dsn (one of this package's), until the test ends or the
// answer is asked for.
func SampleWaits(t testing.TB, dsn string, every time.Duration) (end func() Waits) {
	t.Helper()
	db, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var w Waits
	var looking sync.WaitGroup
	looking.Go(func() {
		var err error
		if w, err = Watch(ctx, db, applicationOf(dsn), every); err != nil {
			t.Errorf("looking at what sessions wait for: %v", err)
		}
	})
	end = func() Waits { stop(); looking.Wait(); return w }
	t.Cleanup(func() { end() })
	return end
}

// Watch looks every so often at the sessions of an application, until ctx ends. db is where they are.
func Watch(ctx context.Context, db *sql.DB, application string, every time.Duration) (Waits, error) {
	w := Waits{Events: map[string]int{}}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return w, nil
		case <-tick.C:
		}
		if err := w.look(ctx, db, application); err != nil && ctx.Err() == nil {
			return w, err
		}
	}
}

// applicationOf is the name by which the sessions of an address are known.
func applicationOf(dsn string) string {
	address, err := url.Parse(dsn)
	if err != nil {
		return ""
	}
	return address.Query().Get("application_name")
}
