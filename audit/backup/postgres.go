package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
)

// snapshotPostgres runs pg_dump on the very snapshot in which the manifest's facts are read.
func snapshotPostgres(ctx context.Context, db *store.DB, dsn, file string, m *Manifest) error {
	return db.Read(ctx, func(tx *store.Tx) error {
		var snapshot string
		if err := tx.QueryRow(`SELECT pg_export_snapshot(), current_schema()`).Scan(&snapshot, &m.Namespace); err != nil {
			return err
		}
		if err := tx.QueryRow(schemaQuery).Scan(&m.Schema); err != nil {
			return err
		}
		if err := m.readHead(tx.QueryRow(audit.TreeHeadQuery)); err != nil {
			return err
		}
		dump, err := program(ctx, dsn, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--lock-wait-timeout=30s",
			"--snapshot="+snapshot, "--schema="+quoted(m.Namespace), "--file="+file)
		if err != nil {
			return err
		}
		if err := run(dump); err != nil {
			return err
		}
		return os.Chmod(file, 0o600)
	})
}

// quoted is a name as PostgreSQL's programs and SQL take it literally.
func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// sslVariables are what an address may say about TLS, under the names by which PostgreSQL's programs take it.
var sslVariables = map[string]string{
	"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY",
	"target_session_attrs": "PGTARGETSESSIONATTRS",
}

// program prepares one of PostgreSQL's programs. The address goes by the environment, and the password with it: others can list command
// lines. No password is asked for.
func program(ctx context.Context, dsn, name string, args ...string) (*exec.Cmd, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%s is not on the PATH: install PostgreSQL's client programs, no older than the server (Debian: postgresql-client)", name)
	}
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("the PostgreSQL address cannot be read (it is not shown, as it may hold a password)")
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--no-password"}, args...)...)
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "PGHOST="+cfg.Host, "PGPORT="+strconv.Itoa(int(cfg.Port)), "PGUSER="+cfg.User, "PGDATABASE="+cfg.Database,
		"PGAPPNAME=dtcgate backup", "PGOPTIONS=")
	if cfg.Password != "" {
		cmd.Env = append(cmd.Env, "PGPASSWORD="+cfg.Password)
	}
	if address, err := url.Parse(dsn); err == nil {
		for setting, variable := range sslVariables {
			if v := address.Query().Get(setting); v != "" {
				cmd.Env = append(cmd.Env, variable+"="+v)
			}
		}
	}
	return cmd, nil
}

// run runs a program, whose last words are the error if it fails.
func run(cmd *exec.Cmd) error {
	var said tail
	cmd.Stderr = &said
	return said.explain(cmd, cmd.Run())
}

// tail keeps the last words of a program.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	if t.Len() > 8<<10 {
		t.Next(t.Len() - 4<<10)
	}
	return t.Buffer.Write(p)
}

func (t *tail) explain(cmd *exec.Cmd, err error) error {
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, bytes.TrimSpace(t.Bytes()))
	}
	return err
}

// checkPostgres has pg_restore read a backup to its end. That its rows fit together shows when it is restored.
func checkPostgres(ctx context.Context, dir string, m Manifest) error {
	read, err := script(ctx, dir, m)
	if err != nil {
		return err
	}
	read.Stdout = io.Discard
	return run(read)
}

// script prepares pg_restore to write the SQL of a backup. It reaches no server.
func script(ctx context.Context, dir string, m Manifest) (*exec.Cmd, error) {
	return program(ctx, "postgres://", "pg_restore", "--no-owner", "--no-privileges", "--schema="+m.Namespace, "--file=-", filepath.Join(dir, m.File))
}

// restorePostgres loads a backup into an empty schema in one transaction, which ends with the note that the restore is not finished; then
// finish does its part and takes the note away.
func restorePostgres(ctx context.Context, dir string, m Manifest, dsn string, finish func(*store.DB) error) error {
	if err := refuseFilled(ctx, dsn, m.Namespace); err != nil {
		return err
	}
	if err := load(ctx, dir, m, dsn); err != nil {
		return fmt.Errorf("nothing was restored: %w", err)
	}
	db, err := store.Open(ctx, dsn)
	if err != nil {
		return err
	}
	return errors.Join(finish(db), db.Close())
}

// refuseFilled refuses a schema with anything in it, whether of ours or not.
func refuseFilled(ctx context.Context, dsn, namespace string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("cannot reach PostgreSQL to restore to: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var here string
	var things int64
	err = conn.QueryRow(ctx, `SELECT COALESCE(current_schema(), ''), (SELECT COUNT(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = current_schema())`).Scan(&here, &things)
	switch {
	case err != nil:
		return err
	case here != namespace:
		return fmt.Errorf("the backup is of the schema %q and the address leads to %q: restore it to a database with such a schema, "+
			"and name it in the address as search_path", namespace, here)
	case things > 0:
		return fmt.Errorf("the schema %q is not empty: a backup is restored to a place where there is nothing", here)
	}
	return nil
}

// load pipes pg_restore's SQL into psql. Only when the whole of it has come does it send the COMMIT: whatever ends half-way is rolled back.
func load(ctx context.Context, dir string, m Manifest, dsn string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	read, err := script(ctx, dir, m)
	if err != nil {
		return err
	}
	write, err := program(ctx, dsn, "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output="+os.DevNull)
	if err != nil {
		return err
	}
	var readSaid, writeSaid tail
	read.Stderr, write.Stderr = &readSaid, &writeSaid
	into, err := write.StdinPipe()
	if err != nil {
		return err
	}
	if err := write.Start(); err != nil {
		return err
	}
	_, err = io.WriteString(into, "BEGIN;\n")
	if err == nil {
		read.Stdout = into
		err = readSaid.explain(read, read.Run())
	}
	if err == nil {
		_, err = fmt.Fprintf(into, "\n%s;\nCOMMIT;\n", unfinishedSQL(m.Namespace))
	}
	err = errors.Join(err, into.Close())
	return errors.Join(writeSaid.explain(write, write.Wait()), err)
}
