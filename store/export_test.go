package store

import "time"

// Commits counts the commits of a SQLite database so far.
func Commits(db *DB) int64 {
	g := &db.engine.(*sqliteEngine).group
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.commits
}

// Waiting counts the callers who wait to write to a SQLite database.
func Waiting(db *DB) int {
	g := &db.engine.(*sqliteEngine).group
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue)
}

// Impatient has the SQLite databases that are opened from now on wait 20 ms for a lock. It returns how to undo that.
func Impatient() (undo func()) {
	patient := writerPragmas
	writerPragmas = append([]string{"busy_timeout(20)"}, patient[1:]...)
	return func() { writerPragmas = patient }
}

var (
	Unavailable = unavailable
	MaxMembers  = maxMembers
)

// Bells counts the names that somebody listens to.
func Bells(db *DB) int {
	db.bells.mu.Lock()
	defer db.bells.mu.Unlock()
	return len(db.bells.of)
}

// Relaying reports whether what is told is carried to other processes.
func Relaying(db *DB) bool {
	db.untold.mu.Lock()
	defer db.untold.mu.Unlock()
	return db.untold.open
}

// Brought counts what waits to be written.
func Brought[T any](g *Gathered[T]) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// Learned is how far a clock is put ahead by an answer of a database whose clock is off by so much.
func Learned(took, off time.Duration) time.Duration {
	var c clock
	asked := time.Now()
	c.learn(asked, took, asked.Add(took/2+off))
	return time.Duration(c.ahead.Load())
}
