package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Bells between processes. What a transaction told (Tx.Tell) is carried to the other processes on the same PostgreSQL schema by
// LISTEN and NOTIFY, after the commit and on a connection of its own. A NOTIFY inside the transaction would be one statement less, but
// PostgreSQL commits transactions that notify one after the other, under a lock that it holds while it flushes
// (PreCommit_Notify in src/backend/commands/async.c): one flush would no longer serve many commits. So nothing is promised: what a process told when
// it was killed, or while its connection was away, is not heard, and whoever listens looks again after a while all the same.
const (
	payloadMax = 7900             // bytes of one NOTIFY; PostgreSQL takes less than 8000
	nameMax    = 200              // bytes of a bell's name on the wire; longer ones go by their hash
	untoldMax  = 10_000           // names that wait to be carried; with more all bells are rung
	aliveEvery = 15 * time.Second // how often a connection on which nothing comes is asked whether it is alive, and for the time
	aliveTime  = 5 * time.Second  // for what is asked on it
	relayPause = 250 * time.Millisecond
	relayMost  = 5 * time.Second // between two tries to connect
)

// everyBell on the wire stands for all names.
const everyBell = "*"

// untold are the names that wait for the carrier. It is closed, and keeps nothing, while there is no connection.
type untold struct {
	mu    sync.Mutex
	open  bool
	names map[string]bool
	wake  context.CancelFunc // of the carrier that waits; may be nil
}

func (u *untold) add(names []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.open || len(names) == 0 {
		return
	}
	for _, name := range names {
		u.names[onWire(name)] = true
	}
	if len(u.names) > untoldMax {
		u.names = map[string]bool{everyBell: true}
	}
	if u.wake != nil {
		u.wake()
	}
}

func (u *untold) serve(open bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open, u.names, u.wake = open, map[string]bool{}, nil
}

// take gives the names as payloads of NOTIFY, and forgets them.
func (u *untold) take() (payloads []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	var p strings.Builder
	for name := range u.names {
		if p.Len() > 0 && p.Len()+1+len(name) > payloadMax {
			payloads = append(payloads, p.String())
			p.Reset()
		}
		if p.Len() > 0 {
			p.WriteByte('\n')
		}
		p.WriteString(name)
	}
	if p.Len() > 0 {
		payloads = append(payloads, p.String())
	}
	clear(u.names)
	return payloads
}

// waiting gives a context that ends when there is something to carry, or after a while.
func (u *untold) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, aliveEvery)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.wake = cancel; len(u.names) > 0 {
		cancel()
	}
	return ctx, cancel
}

// onWire is a name as others are told it: one line that fits.
func onWire(name string) string {
	if len(name) <= nameMax && !strings.Contains(name, "\n") && name != everyBell && name != "" {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return "#" + hex.EncodeToString(sum[:])
}

// tell wakes those who listen in this process, and has the others told.
func (db *DB) tell(names []string) {
	db.bells.ring(names)
	db.untold.add(names)
}

// Relay carries what is told between the processes on one PostgreSQL, until ctx ends. A connection that is lost is made anew; hear is
// told why, and may be nil. On SQLite it only waits: there is one server.
func (db *DB) Relay(ctx context.Context, hear func(error)) {
	for pause := relayPause; isPostgres(db.dsn) && ctx.Err() == nil; pause = min(2*pause, relayMost) {
		began := time.Now()
		err := db.relay(ctx)
		if ctx.Err() == nil && hear != nil {
			hear(fmt.Errorf("hearing of other processes: %w", err))
		}
		if time.Since(began) > relayMost {
			pause = relayPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	<-ctx.Done()
}

// relay is Relay on one connection.
func (db *DB) relay(ctx context.Context) error {
	conn, channel, err := db.dialRelay(ctx)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	db.untold.serve(true)
	defer db.untold.serve(false)
	db.bells.ringAll() // for what was told while nobody heard
	for ctx.Err() == nil {
		if err := db.carry(ctx, conn, channel); err != nil {
			return err
		}
		if err := db.hear(ctx, conn); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// dialRelay connects and listens. The commit of a NOTIFY need not be flushed: after a crash of the database nobody listens any more.
func (db *DB) dialRelay(ctx context.Context) (conn *pgx.Conn, channel string, err error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	cfg, err := pgx.ParseConfig(db.dsn)
	if err != nil {
		return nil, "", errors.New("the PostgreSQL address cannot be read (it is not shown, as it may hold a password)")
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "dtcgate"
	}
	cfg.RuntimeParams["synchronous_commit"] = "off"
	if conn, err = pgx.ConnectConfig(ctx, cfg); err != nil {
		return nil, "", err
	}
	var schema string
	if err = conn.QueryRow(ctx, "SELECT COALESCE(current_schema(), '')").Scan(&schema); err == nil {
		channel = channelOf(schema)
		_, err = conn.Exec(ctx, "LISTEN "+channel)
	}
	if err != nil {
		hangUp(conn)
		return nil, "", err
	}
	return conn, channel, nil
}

// channelOf names a schema's channel; PostgreSQL's identifiers end at 63 bytes.
func channelOf(schema string) string {
	sum := sha256.Sum256([]byte(schema))
	return "dtcgate_" + hex.EncodeToString(sum[:16])
}

func hangUp(conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // what it could fail at is over
}

// carry tells the others what waits, all that gathered while the last was under way in one statement.
func (db *DB) carry(ctx context.Context, conn *pgx.Conn, channel string) error {
	payloads := db.untold.take()
	if len(payloads) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, aliveTime)
	defer cancel()
	_, err := conn.Exec(ctx, "SELECT pg_notify($1, payload) FROM unnest(CAST($2 AS TEXT[])) AS payload", channel, payloads)
	return err
}

// hear rings what another process told next, unless something is to be carried first.
func (db *DB) hear(ctx context.Context, conn *pgx.Conn) error {
	waiting, cancel := db.untold.waiting(ctx)
	defer cancel()
	heard, err := conn.WaitForNotification(waiting)
	switch {
	case err == nil && heard.PID != conn.PgConn().PID():
		db.bells.ringAs(strings.Split(heard.Payload, "\n"))
		return nil
	case err == nil:
		return nil
	case conn.IsClosed() || waiting.Err() == nil || ctx.Err() != nil:
		return err
	case !errors.Is(waiting.Err(), context.DeadlineExceeded):
		return nil
	}
	ctx, stop := context.WithTimeout(ctx, aliveTime)
	defer stop()
	return db.clock.set(ctx, func(ctx context.Context) (micros int64, err error) {
		return micros, conn.QueryRow(ctx, databaseTime).Scan(&micros)
	})
}
