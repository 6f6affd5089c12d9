package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A File takes events as lines of JSON at its end. It is opened for each batch, so that logrotate may move it away at any time, without a signal.
type File struct {
	Path string
}

// Send appends a batch in one write and flushes it to the disk. What a killed process left of its last line is cut off first.
func (f File) Send(_ context.Context, b Batch) error {
	lines, err := Lines(b.Entries)
	if err != nil {
		return err
	}
	_, err = os.Stat(f.Path)
	made := errors.Is(err, os.ErrNotExist)
	out, err := os.OpenFile(f.Path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	err = appendTo(out, lines)
	if err = errors.Join(err, out.Close()); err == nil && made {
		err = syncDir(filepath.Dir(f.Path))
	}
	return err
}

func appendTo(out *os.File, lines []byte) error {
	info, err := out.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file: what it is given cannot be flushed", out.Name())
	}
	if err := cutTorn(out, info.Size()); err != nil {
		return err
	}
	if _, err := out.Write(lines); err != nil {
		return err
	}
	return out.Sync()
}

// torn is what a line of ours begins with.
const torn = `{"`

// cutTorn cuts off a last line that does not end. One that is not the beginning of one of ours is left, and refused.
func cutTorn(out *os.File, size int64) error {
	from, line, err := lastLine(out, size)
	if err != nil || len(line) == 0 {
		return err
	}
	if !bytes.HasPrefix(line, []byte(torn)[:min(len(line), len(torn))]) {
		return fmt.Errorf("%s ends with half a line that is not of this log: name another file", out.Name())
	}
	return out.Truncate(from)
}

// lastLine is what stands after the last end of a line, and where it begins.
func lastLine(in io.ReaderAt, size int64) (from int64, line []byte, err error) {
	const step = 64 << 10
	for from = size; from > 0; {
		part := make([]byte, min(step, from))
		from -= int64(len(part))
		if _, err := in.ReadAt(part, from); err != nil {
			return 0, nil, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			return from + int64(i) + 1, append(part[i+1:], line...), nil
		}
		line = append(part, line...)
		if len(line) > 2*batchBytes+longestLine {
			return 0, nil, errors.New("its last line is too long to be of this log: name another file")
		}
	}
	return 0, line, nil
}

// longestLine bounds one event: its entry with personal values, twice, and generously.
const longestLine = 4 << 20

// syncDir makes a new name last.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
