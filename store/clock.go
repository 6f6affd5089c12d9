package store

import (
	"context"
	"sync/atomic"
	"time"
)

// Processes on one PostgreSQL go by one clock, the database's: what one of them writes down as a time (until when a job is leased, a request
// waits, a session lasts) another compares with its own. So each measures how far its machine's clock is off, when it opens the database and, while
// Relay runs, every now and then, and makes up for it.
const (
	// clockTolerance is what machines that keep their time differ by, and a measurement errs by at most. So much is left as it is.
	clockTolerance = 250 * time.Millisecond
	// clockTime is how long a question for the time may take to be worth something.
	clockTime = clockTolerance
)

// A clock is this machine's, set by the database's.
type clock struct{ ahead atomic.Int64 } // what has to be added, in nanoseconds

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// learn hears that the database's clock showed theirs between asked and asked+took of this machine's.
func (c *clock) learn(asked time.Time, took time.Duration, theirs time.Time) {
	if took > clockTime {
		return
	}
	ahead := theirs.Sub(asked.Add(took / 2))
	if ahead.Abs() < clockTolerance {
		ahead = 0
	}
	c.ahead.Store(int64(ahead))
}

// databaseTime is in microseconds since 1970.
const databaseTime = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"

// set asks the database for the time. ask runs databaseTime.
func (c *clock) set(ctx context.Context, ask func(context.Context) (micros int64, err error)) error {
	asked := time.Now()
	theirs, err := ask(ctx)
	if err == nil {
		c.learn(asked, time.Since(asked), time.UnixMicro(theirs))
	}
	return err
}

func (db *DB) askTime(ctx context.Context) (micros int64, err error) {
	err = db.Read(ctx, func(tx *Tx) error { return tx.QueryRow(databaseTime).Scan(&micros) })
	return micros, err
}
