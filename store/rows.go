package store

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"
)

// Rows are the answer to a query, one at a time.
type Rows struct {
	of  cursor
	err error // that ended it
}

// cursor is an engine's answer to a query.
type cursor interface {
	next() (bool, error)
	columns() ([]string, error)
	scan(dest []any) error
	close() error // may be called again
}

// Next goes to the next row, and reports whether there is one. When there is none Err says why.
func (r *Rows) Next() bool {
	if r.err != nil {
		return false
	}
	more, err := r.of.next()
	r.err = err
	return more && err == nil
}

// Scan reads the row into dest, one pointer a column, as database/sql does with what the two engines store: text and whole numbers.
func (r *Rows) Scan(dest ...any) error { return r.of.scan(dest) }

// Columns are the names of the columns.
func (r *Rows) Columns() ([]string, error) { return r.of.columns() }

// Err is what ended the rows, nil for their end.
func (r *Rows) Err() error { return r.err }

// Close ends the answer. It may be called again.
func (r *Rows) Close() error {
	err := r.of.close()
	if r.err == nil {
		r.err = err
	}
	return err
}

// assign is what database/sql does with a value that a column has: text, a whole number, or NULL.
func assign(dest, value any) error {
	if to, ok := dest.(sql.Scanner); ok {
		return to.Scan(value)
	}
	if to, ok := dest.(*any); ok {
		*to = value
		return nil
	}
	to := reflect.ValueOf(dest)
	if to.Kind() != reflect.Pointer || to.IsNil() {
		return fmt.Errorf("store: a column cannot be read into %T", dest)
	}
	return assignTo(to.Elem(), value)
}

func assignTo(to reflect.Value, value any) error {
	if to.Kind() == reflect.Pointer {
		if value == nil {
			to.SetZero()
			return nil
		}
		to.Set(reflect.New(to.Type().Elem()))
		return assignTo(to.Elem(), value)
	}
	switch v := value.(type) {
	case string:
		if to.Kind() == reflect.String {
			to.SetString(v)
			return nil
		}
		if to.Type() == reflect.TypeFor[[]byte]() {
			to.SetBytes([]byte(v))
			return nil
		}
	case int64:
		if to.CanInt() && !to.OverflowInt(v) {
			to.SetInt(v)
			return nil
		}
		if to.CanUint() && v >= 0 && !to.OverflowUint(uint64(v)) {
			to.SetUint(uint64(v))
			return nil
		}
		if to.CanFloat() {
			to.SetFloat(float64(v))
			return nil
		}
	case float64:
		if to.CanFloat() {
			to.SetFloat(v)
			return nil
		}
	case bool:
		if to.Kind() == reflect.Bool {
			to.SetBool(v)
			return nil
		}
	}
	return fmt.Errorf("store: a column that holds %T cannot be read into %s", value, to.Type())
}

// valueOf is an argument as a database takes it: nil, int64, float64, string or []byte.
func valueOf(arg any) (driver.Value, error) {
	switch v := arg.(type) {
	case nil, int64, string, []byte:
		return v, nil
	case int:
		return int64(v), nil
	}
	v, err := driver.DefaultParameterConverter.ConvertValue(arg)
	if b, ok := v.(bool); ok && err == nil {
		if v = int64(0); b {
			v = int64(1)
		}
	}
	return v, err
}
