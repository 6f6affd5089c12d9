//go:build !unix

package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// lives finds nothing out; see the other one.
func lives(context.Context, *pgx.Conn) (bool, error) { return true, nil }
