package witness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dtcgate/dtcgate/audit"
)

// A File keeps checkpoints as JSON lines: size, at and note, of which the note is what counts. It is opened anew for each, so
// that it may be rotated, and only appended to, so that the file system may be told to allow nothing else (chattr +a).
type File struct{ Path string }

// Name is what it is.
func (File) Name() string { return "file" }

// Put appends a line and has it on disk before it returns. A line that was cut off by a crash is ended first.
func (f File) Put(_ context.Context, c audit.Checkpoint) error {
	line, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = os.Stat(f.Path)
	isNew := errors.Is(err, fs.ErrNotExist)
	file, err := os.OpenFile(f.Path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = appendLine(file, line)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil || !isNew {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.Path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func appendLine(file *os.File, line []byte) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", file.Name())
	}
	last := []byte{'\n'}
	if info.Size() > 0 {
		if _, err := file.ReadAt(last, info.Size()-1); err != nil {
			return err
		}
	}
	if last[0] != '\n' {
		line = append([]byte{'\n'}, line...)
	}
	_, err = file.Write(append(line, '\n'))
	return err
}

// tail is how many bytes at the end of a file are looked through for its last line: a line has a few hundred.
const tail = 64 << 10

// Last is the note of the last line that is whole.
func (f File) Last(context.Context) (string, error) {
	file, err := os.Open(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	end, err := io.ReadAll(io.NewSectionReader(file, max(0, info.Size()-tail), tail))
	if err != nil {
		return "", err
	}
	notes, _ := notesIn(end)
	if len(notes) == 0 {
		return "", nil
	}
	return notes[len(notes)-1], nil
}

// notesIn reads lines, and counts those that are none: a crash cuts a line off, and what is cut off is no JSON.
func notesIn(lines []byte) (notes []string, unreadable int) {
	for line := range bytes.Lines(lines) {
		var c audit.Checkpoint
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if json.Unmarshal(line, &c) != nil || c.Note == "" {
			unreadable++
			continue
		}
		notes = append(notes, c.Note)
	}
	return notes, unreadable
}
