package store

import (
	"path/filepath"
	"testing"

	"zombiezen.com/go/sqlite"
)

// TestAStatementThatCannotBeBoundIsLetGo: SQLite closes no connection of which a statement is left, and keeps what it holds.
func TestAStatementThatCannotBeBoundIsLetGo(t *testing.T) {
	const q = "SELECT $1"
	path := filepath.Join(t.TempDir(), "x.db")
	made, err := sqlite.OpenConn(path)
	if err != nil {
		t.Fatal(err)
	}
	made.Close()
	s := &session{path: path}
	t.Cleanup(s.drop)
	open, err := s.query(t.Context(), false, q, []any{1})
	if err != nil {
		t.Fatal(err)
	}
	for _, once := range []bool{false, true} { // the kept one is busy, so that each is prepared for the time
		if _, err := s.query(t.Context(), once, q, nil); err == nil {
			t.Error("a query without its argument ran")
		}
	}
	again, err := s.query(t.Context(), true, q, []any{1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.exec(t.Context(), q, nil); err == nil {
		t.Error("a statement without its argument ran")
	}
	for _, rows := range []*Rows{open, again} {
		if err := rows.of.close(); err != nil {
			t.Error(err)
		}
	}
	for _, kept := range s.stmts {
		_ = kept.Finalize()
	}
	s.stmts = nil
	conn := s.conn
	s.conn = nil
	if err := conn.Close(); err != nil {
		t.Errorf("the connection does not close: %v", err)
	}
}
