package server

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"strings"
	"testing"
)

// What others wrote stands here as it was published: web/vendor/SHA256SUMS names every file with its checksum, taken when it was copied out of
// the package that the first lines name, and no file stands beside it that is not named.
func TestVendoredFilesAreAsTheyWerePublished(t *testing.T) {
	raw, err := web.ReadFile("web/vendor/SHA256SUMS")
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
		body, err := web.ReadFile("web/vendor/" + name)
		if got := sha256.Sum256(body); err != nil || hex.EncodeToString(got[:]) != sum {
			t.Errorf("%s is another file, or none: %v", name, err)
		}
	}
	files, err := fs.ReadDir(web, "web/vendor")
	if err != nil || len(files) != len(named) {
		t.Errorf("%d files, %d named: %v", len(files), len(named), err)
	}
	for _, f := range files {
		if !named[f.Name()] {
			t.Errorf("%s is not named", f.Name())
		}
	}
}
