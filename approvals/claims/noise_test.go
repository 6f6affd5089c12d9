package claims

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// sample is one text in how many is read; all of them give the same share of marks and take four times as long.
const sample = 4

// benign reads one in sample of the texts of the optional test data in which nothing is an attack.
func benign(t *testing.T) (texts []string) {
	t.Helper()
	file, err := os.Open(filepath.Join("..", "..", "..", "shared", "corpora", "dev.tgz"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no test data at ../shared/corpora/dev.tgz: marks on ordinary text are not counted")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if err == io.EOF {
			t.Fatal("the test data has no business texts")
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Name != "corpora/benign_business/dev.jsonl" {
			continue
		}
		lines := bufio.NewScanner(archive)
		lines.Buffer(nil, 1<<22)
		for n := 0; lines.Scan(); n++ {
			if n%sample != 0 {
				continue
			}
			var row struct{ Text string }
			if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
				t.Fatal(err)
			}
			text, _ := prefix(row.Text, 500)
			texts = append(texts, text)
		}
		return texts
	}
}

// A reason about something else altogether is the worst case of marks on a card: none of its figures is on record.
func TestOrdinaryTextIsHardlyMarked(t *testing.T) {
	texts := benign(t)
	for name, r := range map[string]Record{"refund": refund(), "campaign": campaign(), "discount": discount()} {
		claims, material := 0, 0
		for _, text := range texts {
			marked := false
			for _, c := range held(t, text, r) {
				claims++
				marked = marked || c.Material
			}
			if marked {
				material++
			}
		}
		t.Logf("held to a %s, %d texts make %d claims; %d texts (%.2f%%) have a material difference", name, len(texts), claims, material, 100*float64(material)/float64(len(texts)))
		if material*50 > len(texts) {
			t.Errorf("more than one text in 50 has a material difference")
		}
	}
}
