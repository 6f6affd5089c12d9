// Command docs writes docs/tools.md: of every tool what it is for, who may call it, when people are asked, how it is undone, and one call
// with the answer that it really gave.
//
// The calls are the Spec.Example of each tool. They run through the gate on the generated demo merchant, whose seed and day are
// fixed, so that the page is the same wherever it is made; ids and secrets that have chance in them are blotted out. A test holds the page in docs
// to what this program writes, and runs every example on both databases.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dtcgate/dtcgate/store"
)

func main() {
	if err := run(context.Background(), "docs/tools.md"); err != nil {
		fmt.Fprintln(os.Stderr, "docs:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file string) error {
	dir, err := os.MkdirTemp("", "docs")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := store.Open(ctx, filepath.Join(dir, "docs.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	text, err := page(ctx, db)
	if err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o644)
}
