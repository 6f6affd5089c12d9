package server

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// What others wrote stands here as it was published: SHA256SUMS names every file of a folder with its checksum, taken when it was copied out of
// the package that the first lines name, and no file stands beside it that is not named.
func TestVendoredFilesAreAsTheyWerePublished(t *testing.T) {
	pages, err := fs.Sub(web, "web/vendor")
	if err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]fs.FS{"web/vendor": pages, "testdata/axe-core": os.DirFS("testdata/axe-core")} {
		t.Run(name, func(t *testing.T) { asPublished(t, dir) })
	}
}

func asPublished(t *testing.T, dir fs.FS) {
	raw, err := fs.ReadFile(dir, "SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{"SHA256SUMS": true}
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		sum, name, _ := strings.Cut(line, "  ")
		named[name] = true
		body, err := fs.ReadFile(dir, name)
		if got := sha256.Sum256(body); err != nil || hex.EncodeToString(got[:]) != sum {
			t.Errorf("%s is another file, or none: %v", name, err)
		}
	}
	files, err := fs.ReadDir(dir, ".")
	if err != nil || len(files) != len(named) {
		t.Errorf("%d files, %d named: %v", len(files), len(named), err)
	}
	for _, f := range files {
		if !named[f.Name()] {
			t.Errorf("%s is not named", f.Name())
		}
	}
}
