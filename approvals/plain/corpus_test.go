package plain

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// corpora are the files of the optional test data, by name. They are read where they are and are no part of the project.
var corpora = sync.OnceValues(func() (map[string][]byte, error) {
	file, err := os.Open(filepath.Join("..", "..", "..", "shared", "corpora", "dev.tgz"))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(header.Name, "corpora/")
		if wanted := strings.HasPrefix(name, "unicode/") || strings.HasPrefix(name, "benign_business/") || strings.HasPrefix(name, "topics/"); wanted {
			if files[name], err = io.ReadAll(archive); err != nil {
				return nil, err
			}
		}
	}
})

func corpus(t *testing.T, name string) []byte {
	t.Helper()
	files, err := corpora()
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no test data at ../shared/corpora/dev.tgz: public Unicode cases are not run")
	}
	if err != nil {
		t.Fatal(err)
	}
	if files[name] == nil {
		t.Fatalf("the test data has no %s", name)
	}
	return files[name]
}

// rows decodes lines of JSON.
func rows[T any](t *testing.T, raw []byte) (all []T) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		var row T
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	return all
}

// elsewhere are the display cases whose danger is not in the text as text: markup that templates escape, and JSON that package schemas refuses.
// They are to be shown as they are, and without a warning.
var elsewhere = map[string]bool{
	"nfkc_expand": true, "html": true, "slack_mrkdwn": true, "telegram_html": true, "css_unicode_escape_key": true,
	"case_key": true, "big_number": true, "lone_surrogate": true, "nul_in_string": true,
}

// ordinary are those with a link to an ordinary host: it is named.
var ordinary = map[string]string{"markdown_link": "evil", "slack_mrkdwn": "evil", "nfkc_expand": "", "telegram_html": ""}

func TestEveryDisplayCaseIsShownForWhatItIs(t *testing.T) {
	found, all := 0, 0
	for _, c := range rows[struct{ Name, Text, Want string }](t, corpus(t, "unicode/approval_display_cases.jsonl")) {
		all++
		s := Show(c.Text)
		check(t, c.Text)
		host, linked := ordinary[c.Name]
		switch warned := len(s.Warnings()) > 0 || s.Cut; {
		case linked && host != "" && (len(s.Links) == 0 || s.Links[0].Host != host):
			t.Errorf("%s: the links are %+v, want %s", c.Name, s.Links, host)
		case elsewhere[c.Name] && (warned || s.String() != c.Text):
			t.Errorf("%s: %q has the warnings %q", c.Name, s, s.Warnings())
		case !elsewhere[c.Name] && !warned:
			t.Errorf("%s: %q is shown without a warning (%s)", c.Name, s, c.Want)
		default:
			found++
		}
	}
	t.Logf("%d of %d display cases are shown as wanted", found, all)
}

func TestOrdinaryBusinessTextIsNotWarnedOf(t *testing.T) {
	for _, name := range []string{"benign_business/dev.jsonl", "topics/dev.jsonl"} {
		warned, all := map[string]int{}, 0
		for _, row := range rows[struct{ Text, Source string }](t, corpus(t, name)) {
			all++
			if w := Show(row.Text).Warnings(); len(w) > 0 {
				warned[row.Source]++
				t.Logf("%s: %.90q", row.Source, w)
			}
		}
		total := 0
		for _, n := range warned {
			total += n
		}
		t.Logf("%s: %d of %d texts (%.2f%%) have a warning: %v", name, total, all, 100*float64(total)/float64(all), warned)
		if total*200 > all {
			t.Errorf("%s: more than one text in 200 has a warning", name)
		}
	}
}

func TestIntentionalConfusablesOfLatinAreKnown(t *testing.T) {
	known, all := 0, 0
	for line := range strings.Lines(string(corpus(t, "unicode/intentional.txt"))) {
		fields := strings.SplitN(line, ";", 2)
		if len(fields) != 2 || strings.HasPrefix(line, "#") {
			continue
		}
		other, _, _ := strings.Cut(fields[1], "#")
		latin, err1 := strconv.ParseUint(strings.TrimSpace(fields[0]), 16, 32)
		like, err2 := strconv.ParseUint(strings.TrimSpace(other), 16, 32)
		if err1 != nil || err2 != nil || scriptOf(rune(latin)) != "Latin" || latin > 0x7F {
			continue
		}
		for _, name := range likeLatin {
			if scriptOf(rune(like)) != name {
				continue
			}
			if all++; Latin(rune(like)) == rune(latin) {
				known++
			} else {
				t.Errorf("U+%04X looks like %c and is taken for %c", like, rune(latin), Latin(rune(like)))
			}
		}
	}
	t.Logf("%d of %d intentional confusables of Latin in %v are known", known, all, likeLatin)
}
