//go:build !unix

package main

// lockServer does nothing where there is no flock: SQLite's own locks keep two servers right.
func lockServer(string) (unlock func() error, err error) { return func() error { return nil }, nil }
