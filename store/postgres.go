package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	poolSize      = 16
	connectWithin = 5 * time.Second
	// endWithin bounds a commit or rollback, which the caller's context does not stop.
	endWithin = 30 * time.Second
	// copyFrom is the number of rows from which COPY is faster than INSERT.
	copyFrom = 50
)

// postgresEngine is a PostgreSQL database. Every transaction has a connection of the pool for itself.
type postgresEngine struct{ db *sql.DB }

func openPostgres(ctx context.Context, dsn string) (engine, error) {
	cfg, err := postgresConfig(dsn)
	if err != nil {
		return nil, err
	}
	p := &postgresEngine{db: stdlib.OpenDB(*cfg)}
	p.db.SetMaxOpenConns(poolSize)
	p.db.SetMaxIdleConns(poolSize)
	if err := p.db.PingContext(ctx); err != nil {
		err = fmt.Errorf("cannot reach PostgreSQL at %s:%d (password not shown): %w", cfg.Host, cfg.Port, err)
		return nil, errors.Join(err, p.db.Close())
	}
	if _, err := p.db.ExecContext(ctx, byteOrder); err != nil {
		return nil, errors.Join(fmt.Errorf("naming the byte order: %w", err), p.db.Close())
	}
	if err := migrate(ctx, "postgres", p.db); err != nil {
		return nil, errors.Join(err, p.db.Close())
	}
	return p, nil
}

func postgresConfig(dsn string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errAddress
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectWithin
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "dtcgate"
	}
	return cfg, nil
}

func (p *postgresEngine) name() string { return "postgres" }

func (p *postgresEngine) write(ctx context.Context, run work) error {
	return p.tx(ctx, sql.TxOptions{Isolation: sql.LevelReadCommitted}, run)
}

func (p *postgresEngine) bulk(ctx context.Context, run work) error { return p.write(ctx, run) }

func (p *postgresEngine) read(ctx context.Context, run work) error {
	return p.tx(ctx, sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, run)
}

func (p *postgresEngine) close() error { return p.db.Close() }

func (p *postgresEngine) tx(ctx context.Context, opts sql.TxOptions, run work) error {
	c, err := p.begin(ctx, &opts)
	if err != nil {
		return lost("beginning a transaction", err)
	}
	defer c.close()
	if err := run(ctx, c); err != nil {
		return err
	}
	Reach(CommitBegins)
	if err := c.commit(); err != nil {
		return lost("committing", err)
	}
	Reach(CommitEnds)
	return nil
}

// begin tries twice: after a restart of the server the pool holds dead connections, and nothing has been done yet.
func (p *postgresEngine) begin(ctx context.Context, opts *sql.TxOptions) (*pgConn, error) {
	c, err := p.beginOnce(ctx, opts)
	if err == nil || ctx.Err() != nil {
		return c, err
	}
	p.db.SetMaxIdleConns(0) // closes them
	p.db.SetMaxIdleConns(poolSize)
	return p.beginOnce(ctx, opts)
}

func (p *postgresEngine) beginOnce(ctx context.Context, opts *sql.TxOptions) (*pgConn, error) {
	conn, err := p.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	// The transaction outlives ctx for the sake of its commit: one that is cut off half-way leaves nobody knowing
	// whether it happened. Its beginning and its statements do end with ctx.
	life, cut := context.WithCancel(context.WithoutCancel(ctx))
	begun := context.AfterFunc(ctx, cut)
	tx, err := conn.BeginTx(life, opts)
	if !begun() {
		err = ctx.Err()
	}
	if err != nil {
		cut()
		return nil, errors.Join(err, conn.Close())
	}
	return &pgConn{conn, tx, cut}, nil
}

// pgConn is a transaction and the connection it runs on.
type pgConn struct {
	conn *sql.Conn
	tx   *sql.Tx
	cut  context.CancelFunc // ends the transaction at once
}

func (c *pgConn) commit() error {
	defer time.AfterFunc(endWithin, c.cut).Stop()
	return c.tx.Commit()
}

// close rolls back what is not committed. Should that fail, the connection is broken and the server does it.
func (c *pgConn) close() {
	defer c.cut()
	defer time.AfterFunc(endWithin, c.cut).Stop()
	_ = c.tx.Rollback()
	_ = c.conn.Close()
}

func (c *pgConn) exec(ctx context.Context, q string, args []any) (int64, error) {
	done, err := c.tx.ExecContext(ctx, q, args...)
	if err != nil {
		return 0, err
	}
	return done.RowsAffected()
}

func (c *pgConn) query(ctx context.Context, _ bool, q string, args []any) (*Rows, error) {
	rows, err := c.tx.QueryContext(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	return &Rows{of: sqlRows{rows}}, nil
}

func (c *pgConn) insert(ctx context.Context, into string, cols []string, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	if len(rows) < copyFrom {
		args := make([]any, 0, len(rows)*len(cols))
		for _, r := range rows {
			args = append(args, r...)
		}
		_, err := c.tx.ExecContext(ctx, insertSQL("INSERT INTO", into, cols, len(rows), numbered), args...)
		return err
	}
	return c.conn.Raw(func(driver any) error {
		_, err := driver.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{into}, cols, pgx.CopyFromRows(rows))
		return err
	})
}
