package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// pgRows is an answer of PostgreSQL. Its columns are read without database/sql's detour over values of any type.
type pgRows struct {
	rows    pgValues
	types   *pgtype.Map
	answers pgx.BatchResults // that the rows are the last of; nil: none
}

// pgValues is an answer as it comes (pgx.Rows), or one that is known already (*pgAnswer).
type pgValues interface {
	Next() bool
	FieldDescriptions() []pgconn.FieldDescription
	RawValues() [][]byte // nil: there is no row
	Close()
	Err() error
}

func (r *pgRows) next() (bool, error) {
	if r.rows.Next() {
		return true, nil
	}
	return false, r.close()
}

func (r *pgRows) columns() ([]string, error) {
	fields := r.rows.FieldDescriptions()
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names, nil
}

func (r *pgRows) scan(dest []any) error {
	fields, values := r.rows.FieldDescriptions(), r.rows.RawValues()
	if values == nil {
		return errors.New("store: there is no row to read")
	}
	if len(fields) != len(dest) {
		return fmt.Errorf("store: %d columns are read into %d places", len(fields), len(dest))
	}
	for i, d := range dest {
		if err := r.column(&fields[i], values[i], d); err != nil {
			return fmt.Errorf("store: column %s: %w", fields[i].Name, err)
		}
	}
	return nil
}

// column reads one column, the usual ones without a detour.
func (r *pgRows) column(f *pgconn.FieldDescription, raw []byte, dest any) error {
	if raw != nil && f.DataTypeOID == pgtype.Int8OID && f.Format == pgtype.BinaryFormatCode && len(raw) == 8 {
		n := int64(binary.BigEndian.Uint64(raw))
		if d, ok := dest.(*int64); ok {
			*d = n
			return nil
		}
		return assign(dest, n)
	}
	if raw != nil && f.DataTypeOID == pgtype.TextOID {
		if d, ok := dest.(*string); ok {
			*d = string(raw)
			return nil
		}
		return assign(dest, string(raw))
	}
	v, err := r.value(f, raw)
	if err != nil {
		return err
	}
	return assign(dest, v)
}

// value is what a column holds as SQLite would give it: a sum of whole numbers, which PostgreSQL makes a numeric, is one, too.
func (r *pgRows) value(f *pgconn.FieldDescription, raw []byte) (any, error) {
	if raw == nil {
		return nil, nil
	}
	kind, ok := r.types.TypeForOID(f.DataTypeOID)
	if !ok {
		return string(raw), nil
	}
	v, err := kind.Codec.DecodeDatabaseSQLValue(r.types, f.DataTypeOID, f.Format, raw)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case []byte:
		return string(v), nil
	case string:
		if f.DataTypeOID == pgtype.NumericOID {
			return number(v), nil
		}
	}
	return v, nil
}

// number is a numeric as a whole number or a fraction where it is one, and as its text otherwise.
func number(text string) any {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return n
	}
	return text
}

func (r *pgRows) close() error {
	r.rows.Close()
	err := r.rows.Err()
	if r.answers != nil {
		if ended := r.answers.Close(); err == nil {
			err = ended
		}
	}
	return err
}
