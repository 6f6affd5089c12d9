//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockServer makes this the only server on a SQLite file, until unlock or the end of the process. A second one would
// be right but slow, for their writers would wait for each other; it is most likely a mistake.
func lockServer(database string) (unlock func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(database), 0o700); err != nil {
		return nil, fmt.Errorf("making the database's folder: %w", err)
	}
	f, err := os.OpenFile(database+"-serve", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the database: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, fmt.Errorf("another dtcgate serves %s already: stop it, or name another place with --data", database)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the database: %w", err)
	}
	return f.Close, nil
}
