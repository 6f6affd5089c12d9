package storetest

import (
	"testing"

	"go.uber.org/goleak"
)

// NothingLeft notes which goroutines run, and gives the check that no others do. It does not count what waits to interrupt a SQLite
// connection: that is replaced by another when it has done so, and ends with the connection, which a test of package store holds it to.
func NothingLeft(t testing.TB) func() {
	before := goleak.IgnoreCurrent()
	return func() {
		t.Helper()
		goleak.VerifyNone(t, before, Interrupters())
	}
}

// Interrupters are the goroutines of SQLite connections that wait to interrupt them.
func Interrupters() goleak.Option {
	return goleak.IgnoreTopFunction("zombiezen.com/go/sqlite.(*Conn).SetInterrupt.func1")
}
