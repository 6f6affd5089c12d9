package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	migrator "modernc.org/sqlite"
	"zombiezen.com/go/sqlite"
)

// reasons says what each driver code that means ErrUnavailable is about: SQLite's primary result codes, PostgreSQL's
// SQLSTATEs or their classes (two characters).
var (
	sqliteReasons = map[int]string{
		3: "no permission", 5: "locked by another process", 6: "locked", 7: "out of memory", 8: "read-only",
		10: "input or output error", 11: "damaged", 13: "the disk is full", 14: "the file cannot be opened",
		15: "locking protocol", 22: "the file is too large for this system", 26: "not a database",
	}
	postgresReasons = map[string]string{
		"08": "connection lost", "25006": "read-only", "28": "the server refused the user", "3D": "no such database",
		"40001": "conflict with another transaction", "40P01": "deadlock", "53": "out of resources", "55P03": "locked",
		"57": "the server is stopping or stopped the statement", "58": "system error", "XX": "internal error",
	}
)

// sqliteConstraint is the primary result code SQLITE_CONSTRAINT, postgresConstraint its SQLSTATE class.
const (
	sqliteConstraint   = 19
	postgresConstraint = "23"
)

// unavailable marks an error that is the database's fault as ErrUnavailable and leaves every other as it is: an ended
// context stays one, and so does a violated constraint.
func unavailable(err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) || ended(err) {
		return err
	}
	if reason := reasonOf(err); reason != "" {
		return fmt.Errorf("%w (%s): %w", ErrUnavailable, reason, err)
	}
	return err
}

// lost is unavailable for the steps of a transaction itself, which only the database can fail.
func lost(doing string, err error) error {
	err = fmt.Errorf("%s: %w", doing, err)
	if ended(err) {
		return err
	}
	if marked := unavailable(err); errors.Is(marked, ErrUnavailable) {
		return marked
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func reasonOf(err error) string {
	if code := sqliteCode(err); code != 0 {
		return sqliteReasons[code]
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		if reason := postgresReasons[pg.Code]; reason != "" || len(pg.Code) < 2 {
			return reason
		}
		return postgresReasons[pg.Code[:2]]
	}
	if brokenConn(err) {
		return postgresReasons["08"]
	}
	return ""
}

func brokenConn(err error) bool {
	var connecting *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connecting) || errors.As(err, &network) || pgconn.SafeToRetry(err) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

// IsConstraint reports whether err is a violated constraint: unique, check, foreign key, not null, append-only.
func IsConstraint(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return len(pg.Code) == 5 && pg.Code[:2] == postgresConstraint
	}
	return hasSQLiteCode(err, sqliteConstraint)
}

func hasSQLiteCode(err error, primary int) bool { return sqliteCode(err) == primary }

// sqliteCode is the primary result code of an error of SQLite's, 0 for any other. The rest of a code is detail. Migrations go through
// another library than all else.
func sqliteCode(err error) int {
	var migrating *migrator.Error
	if errors.As(err, &migrating) {
		return migrating.Code() & 0xff
	}
	if code := sqlite.ErrCode(err); code != sqlite.ResultOK && code != sqlite.ResultError {
		return int(code.ToPrimary())
	}
	return 0
}
