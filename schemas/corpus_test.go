package schemas_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/schemas"
)

// corpus reads the files of the optional test data whose name has the prefix.
func corpus(t *testing.T, prefix string) map[string][]byte {
	t.Helper()
	path := filepath.Join("..", "..", "shared", "corpora", "dev.tgz")
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no test data at %s: public JSON cases are not run", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if name, ok := strings.CutPrefix(header.Name, "corpora/"+prefix); ok && header.Typeflag == tar.TypeReg {
			if files[name], err = io.ReadAll(archive); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// stricter are valid JSON texts of JSONTestSuite that dtcgate refuses, and why.
var stricter = map[string]string{
	"y_object_duplicated_key":           "a name twice",
	"y_object_duplicated_key_and_value": "a name twice",
	"y_object_escaped_null_in_key":      "NUL in a name",
	"y_string_null_escape":              "NUL in a string",
	"y_number_double_close_to_zero":     "more than 32 characters",
	"y_number":                          "beyond 2^53-1 (123e65)",
	"y_number_real_capital_e":           "beyond 2^53-1 (1E22)",
	"y_number_real_exponent":            "beyond 2^53-1 (123e45)",
	"y_number_real_fraction_exponent":   "beyond 2^53-1 (123.456e78)",
	"y_object_extreme_numbers":          "beyond 2^53-1 (1.0e+28)",
}

func TestJSONTestSuite(t *testing.T) {
	cases := corpus(t, "json_parsing/files/test_parsing__")
	for name, raw := range cases {
		name = strings.TrimSuffix(name, ".json")
		err := schemas.Strict(raw)
		switch why, strict := stricter[name]; {
		case name[0] == 'n' && err == nil:
			t.Errorf("%s is not JSON and is accepted", name)
		case name[0] == 'y' && err != nil && !strict:
			t.Errorf("%s is refused without a reason of ours: %v", name, err)
		case name[0] == 'y' && err == nil && strict:
			t.Errorf("%s is accepted in spite of: %s", name, why)
		}
		agree(t, name, raw)
	}
	for name := range stricter {
		if _, ok := cases[name+".json"]; !ok {
			t.Errorf("%s is not in the suite", name)
		}
	}
}

func TestTransformationCasesAreRefusedOrKept(t *testing.T) {
	for name, raw := range corpus(t, "json_parsing/files/test_transform__") {
		agree(t, name, raw)
	}
}

// agree holds that an accepted value is the same before and after, whatever it is wrapped in.
func agree(t *testing.T, name string, raw []byte) {
	t.Helper()
	if schemas.Strict(raw) != nil {
		return
	}
	wrapped := append(append([]byte(`{"a":`), raw...), '}')
	canonical, err := schemas.Canonical(wrapped)
	if err != nil {
		t.Errorf("%s: Strict takes it, Canonical says %v", name, err)
		return
	}
	sameValue(t, wrapped, canonical)
}

func TestBodiesWithTwoMeaningsAreRefused(t *testing.T) {
	refused := map[string]bool{}
	for _, want := range []string{
		"reject", "reject duplicate key", "case variant must not override", "-32700", "-32700 (one message a POST)", "limit",
		"depth limit", "depth limit, 400 in < 10 ms", "kept exactly or rejected; no CPU burst", "no big.Float blow-up",
	} {
		refused[want] = true
	}
	seeds := json.NewDecoder(bytes.NewReader(corpus(t, "jsonrpc_seeds/seeds.jsonl")[""]))
	for {
		var seed struct{ Name, Raw, Want string }
		if err := seeds.Decode(&seed); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if refused[seed.Want] && schemas.Strict([]byte(seed.Raw)) == nil {
			t.Errorf("%s is accepted: %.80s", seed.Name, seed.Raw)
		}
		if seed.Want == "ok" && schemas.Strict([]byte(seed.Raw)) != nil {
			t.Errorf("%s is refused", seed.Name)
		}
		agree(t, seed.Name, []byte(seed.Raw))
	}
}
