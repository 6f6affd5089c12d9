package shop

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A table is one CSV file, plain or gzip, read strictly and row by row. The first mistake stops it and says where it
// is: orders.csv.gz:118: placed_at "2011-13-40" is not a date (want YYYY-MM-DD HH:MM).
type table struct {
	name   string // the file's, without its directory
	cols   []string
	csv    *csv.Reader
	row    []string
	line   int
	err    error
	closer []io.Closer
}

// openBundle opens DIR/NAME.csv or DIR/NAME.csv.gz, which must have exactly these columns.
func openBundle(dir, name string, cols ...string) (*table, error) {
	path := filepath.Join(dir, name+".csv")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		path += ".gz"
	}
	t, err := openTable(path)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(t.cols, cols) {
		t.Close()
		return nil, fmt.Errorf("%s:1: columns are %q (want %q)", t.name, strings.Join(t.cols, ","), strings.Join(cols, ","))
	}
	return t, nil
}

// openTable opens a CSV file and reads the names of its columns.
func openTable(path string) (*table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t := &table{name: filepath.Base(path), closer: []io.Closer{f}}
	var r io.Reader = bufio.NewReaderSize(f, 1<<16)
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(r)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: not a gzip file: %w", t.name, err)
		}
		r = z
	}
	buffered := bufio.NewReaderSize(r, 1<<16)
	if mark, _ := buffered.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		_, _ = buffered.Discard(3) // the three bytes are in the buffer: it cannot fail
	}
	t.csv = csv.NewReader(buffered)
	t.csv.ReuseRecord = true
	if !t.next() {
		t.Close()
		if t.err == nil {
			t.line = 1
			t.fail("the file is empty")
		}
		return nil, t.err
	}
	t.cols = slices.Clone(t.row)
	return t, nil
}

// Close closes the file.
func (t *table) Close() {
	for _, c := range t.closer {
		c.Close()
	}
}

// next reads a row; false at the end and after any mistake, which t.err then holds.
func (t *table) next() bool {
	if t.err != nil {
		return false
	}
	row, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return false
	}
	var wrong *csv.ParseError
	switch {
	case errors.As(err, &wrong):
		t.line = wrong.Line
		t.fail("%v", wrong.Err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		t.line++
		t.fail("the file ends in the middle; it was not copied whole")
	case err != nil:
		t.line++
		t.fail("reading: %v", err)
	default:
		t.row = row
		t.line, _ = t.csv.FieldPos(0)
	}
	return t.err == nil
}

// fail records a mistake in the row at hand; the first one stands.
func (t *table) fail(format string, args ...any) {
	if t.err == nil {
		t.err = t.place().mistake(format, args...)
	}
}

func (t *table) place() place { return place{t.name, t.line} }

const maxField = 4096 // bytes; no field of these files comes near

// text is a field that may be empty.
func (t *table) text(col int) string {
	s := t.row[col]
	switch {
	case len(s) > maxField:
		t.fail("%s has %d bytes (at most %d)", t.cols[col], len(s), maxField)
	case !utf8.ValidString(s):
		t.fail("%s is not UTF-8", t.cols[col])
	case strings.ContainsRune(s, 0):
		t.fail("%s holds a NUL byte", t.cols[col])
	}
	return strings.Clone(s) // the reader uses its buffer again
}

// key is a field that may not be empty.
func (t *table) key(col int) string {
	s := t.text(col)
	if s == "" {
		t.fail("%s is empty", t.cols[col])
	}
	return s
}

// Limits of numbers in the files. Far above any real shop, and low enough that no sum of them overflows.
const (
	maxQty      = 1_000_000
	maxMinor    = 100_000_000     // of one price: a million pounds
	maxSubtotal = 100_000_000_000 // of one order
)

// number is a whole number from least to most.
func (t *table) number(col int, least, most int64) int64 {
	n, err := strconv.ParseInt(t.row[col], 10, 64)
	switch {
	case err != nil:
		t.fail("%s %q is not a whole number", t.cols[col], t.row[col])
	case n < least || n > most:
		t.fail("%s %d is not between %d and %d", t.cols[col], n, least, most)
	}
	return n
}

// minute is a time in London.
func (t *table) minute(col int) time.Time {
	at, err := time.ParseInLocation("2006-01-02 15:04", t.row[col], London)
	if err != nil {
		t.fail("%s %q is not a date (want YYYY-MM-DD HH:MM)", t.cols[col], t.row[col])
	}
	return at
}
