package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheHeapStaysBelowWhatTheControlGroupsAllow(t *testing.T) {
	for _, c := range []struct {
		name       string
		self       string
		outer, own string // memory.max
		want       int64
	}{
		{"no control groups", "", "", "", usualLimit},
		{"no limit", "0::/a/b\n", "max\n", "max\n", usualLimit},
		{"its own limit", "0::/a/b\n", "max\n", "300000000\n", 200000000},
		{"the limit of the one above", "0::/a/b\n", "150000000\n", "300000000\n", 100000000},
		{"much", "0::/a/b\n", "max\n", "64000000000\n", usualLimit},
		{"version 1", "4:memory:/a/b\n", "150000000\n", "", usualLimit},
		{"nonsense", "0::/a/b\n", "lots\n", "-5\n", usualLimit},
	} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, "a", "b"), 0o700); err != nil {
			t.Fatal(err)
		}
		for path, text := range map[string]string{"self": c.self, "a/memory.max": c.outer, "a/b/memory.max": c.own} {
			if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := heapLimit(root, filepath.Join(root, "self")); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
