package shop

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

func TestWordsOfAText(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                nil,
		" %_' OR 1=1; -- ":                {"or", "1"},
		"Émile's 100% Wool_Hat, wool HAT": {"emiles", "100", "wool", "hat"},
		"85123A 22-inch":                  {"85123a", "22", "inch"},
		"STRASSE straße İstanbul Ærø":     {"strasse", "straße", "istanbul", "ærø"},
		"’ ' \u0301":                      nil,
		strings.Repeat("ü", 50):           {strings.Repeat("u", maxWord)},
		"\x00\xff bad\xffbytes 東京 ﬁne":    {"bad", "bytes", "東京", "fine"},
	} {
		if diff := cmp.Diff(want, words(text)); diff != "" {
			t.Errorf("words of %q (-want +got):\n%s", text, diff)
		}
	}
}

func TestThingsAreFoundByAllTheirWords(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		texts := map[string]string{
			"heart": "White Hanging HEART T-Light Holder 85123A", "hat": "Émile's 100% Wool_Hat, wool hat red", "stair": "Straße 東京 Zebra zzz",
		}
		in := func(do func(d *Desk) error) {
			t.Helper()
			if err := db.InTx(t.Context(), func(tx *store.Tx) error { return do(&Desk{tx: tx, merchant: "m"}) }); err != nil {
				t.Fatal(err)
			}
		}
		in(func(d *Desk) error {
			w := &writer{tx: d.tx, merchant: "m", progress: func(int, int) {}}
			for id, text := range texts {
				w.index("thing", id, strings.Fields(text)...)
			}
			w.words.flush()
			return w.err
		})
		in(func(d *Desk) error {
			return (&Desk{tx: d.tx, merchant: "other"}).index("thing", "others", "heart hat zebra")
		})
		in(func(d *Desk) error { return d.index("kind", "others", "heart hat zebra") })

		find := func(text string) (found []string) {
			in(func(d *Desk) (err error) {
				q := sqlText("SELECT DISTINCT id FROM search_words WHERE merchant_id = ? AND kind = 'thing'", "m").foundBy("thing", "id", text, "m")
				found, err = store.All(d.tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) }, q.sql(), q.args...)
				return err
			})
			slices.Sort(found)
			return found
		}
		for text, want := range map[string][]string{
			"":                  {"hat", "heart", "stair"},
			" ":                 {"hat", "heart", "stair"},
			"heart":             {"heart"},
			"HEA":               {"heart"},
			"eart":              {},
			"85123":             {"heart"},
			"85123a t-light":    {"heart"},
			"85124":             {},
			"h":                 {"hat", "heart"},
			"w h":               {"hat", "heart"},
			"hat heart":         {},
			"emile émil EMILE'": {"hat"},
			"wool hat WOOL":     {"hat"},
			"100%":              {"hat"},
			"%":                 {},
			"_":                 {},
			"h%x":               {},
			"wool_hat":          {"hat"},
			"'; DROP TABLE":     {},
			"strass":            {},
			"straß":             {"stair"},
			"東":                 {"stair"},
			"zz":                {"stair"},
			"z":                 {"stair"},
		} {
			if got := find(text); !slices.Equal(got, want) {
				t.Errorf("%q finds %q, want %q", text, got, want)
			}
		}

		in(func(d *Desk) error { return d.index("thing", "hat", "Blue", "cap") })
		in(func(d *Desk) error { return d.index("thing", "heart") })
		for text, want := range map[string][]string{"wool": {}, "cap": {"hat"}, "heart": {}} {
			if got := find(text); !slices.Equal(got, want) {
				t.Errorf("indexed anew, %q finds %q, want %q", text, got, want)
			}
		}
	})
}

// TestLoadedProductsAreFound looks for what only a variant has, and for what a product is called.
func TestLoadedProductsAreFound(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for range 2 { // the second load replaces the first
			if _, err := LoadDemo(t.Context(), db, "m", 1, sunday); err != nil {
				t.Fatal(err)
			}
		}
		c := Generate(1, sunday)
		err := db.Read(t.Context(), func(tx *store.Tx) error {
			for _, v := range c.Variants {
				q := sqlText("SELECT COUNT(*) FROM products WHERE merchant_id = ? AND product_code = ?", "m", v.ProductCode).
					foundBy(productWords, "product_code", v.SKU+" "+v.Title, "m")
				var n int
				if err := tx.QueryRow(q.sql(), q.args...).Scan(&n); err != nil || n != 1 {
					t.Errorf("%s %q finds %d products, want 1 (%v)", v.SKU, v.Title, n, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
