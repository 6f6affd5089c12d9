package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	poolSize      = 16
	connectWithin = 5 * time.Second
	// endWithin bounds a commit or rollback, which the caller's context does not stop.
	endWithin = 30 * time.Second
)

// How transactions begin.
const (
	beginWrite = "begin isolation level read committed"
	beginRead  = "begin isolation level repeatable read read only"
)

// postgresEngine is a PostgreSQL database. Every transaction has a connection of the pool for itself (postgres_conn.go).
type postgresEngine struct{ pool *pgxpool.Pool }

func openPostgres(ctx context.Context, dsn string) (engine, error) {
	cfg, err := postgresConfig(dsn)
	if err != nil {
		return nil, err
	}
	if err := preparePostgres(ctx, cfg); err != nil {
		return nil, err
	}
	pooled, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, errAddress
	}
	pooled.ConnConfig, pooled.MaxConns, pooled.PrepareConn = cfg, poolSize, lives
	pool, err := pgxpool.NewWithConfig(ctx, pooled)
	if err != nil {
		return nil, err
	}
	return &postgresEngine{pool}, nil
}

// preparePostgres brings the schema to this program's, through database/sql, which the library for migrations speaks.
func preparePostgres(ctx context.Context, cfg *pgx.ConnConfig) error {
	db := stdlib.OpenDB(*cfg)
	if err := db.PingContext(ctx); err != nil {
		err = fmt.Errorf("cannot reach PostgreSQL at %s:%d (password not shown): %w", cfg.Host, cfg.Port, err)
		return errors.Join(err, db.Close())
	}
	return errors.Join(migratePostgres(ctx, db), db.Close())
}

func migratePostgres(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, byteOrder); err != nil {
		return fmt.Errorf("naming the byte order: %w", err)
	}
	return migrate(ctx, "postgres", db)
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
	return p.tx(ctx, beginWrite, run)
}

func (p *postgresEngine) bulk(ctx context.Context, run work) error { return p.write(ctx, run) }

func (p *postgresEngine) read(ctx context.Context, run work) error {
	return p.tx(ctx, beginRead, run)
}

// close waits for the transactions, and for what ends them.
func (p *postgresEngine) close() error {
	p.pool.Close()
	return nil
}

func (p *postgresEngine) tx(ctx context.Context, begin string, run work) error {
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return lost("beginning a transaction", err)
	}
	c := &pgConn{of: p, conn: conn, begin: begin, snapshot: begin == beginRead}
	defer c.close()
	if err := run(ctx, c); err != nil {
		return err
	}
	if c.snapshot {
		return nil // there is nothing to commit
	}
	Reach(CommitBegins)
	if err := c.commit(ctx); err != nil {
		return err
	}
	Reach(CommitEnds)
	return nil
}
