package main

import (
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// TestShopOfAnEarlierVersionIsMadeAnewOrNamed starts on a shop without what searches and sums are read from.
func TestShopOfAnEarlierVersionIsMadeAnewOrNamed(t *testing.T) {
	for source, want := range map[shop.Source]string{shop.Generated: "what was changed in it is gone", shop.Imported: "demo import PATH"} {
		db := storetest.New(t, "sqlite")
		start := func() (*greeting, string) {
			g := &greeting{cmd: func(args string) string { return args }}
			if err := g.prepare(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			g.write(&said)
			return g, said.String()
		}
		if g, said := start(); g.loaded == nil || strings.Contains(said, "earlier version") {
			t.Errorf("the first start says\n%s", said)
		}
		if g, said := start(); g.loaded != nil || strings.Contains(said, "earlier version") {
			t.Errorf("the second start says\n%s", said)
		}
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec("DELETE FROM search_words")
			if err == nil {
				_, err = tx.Exec("UPDATE shops SET source = $1", string(source))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if g, said := start(); (g.loaded != nil) != (source == shop.Generated) || !strings.Contains(said, want) {
			t.Errorf("a start on an earlier version's %s shop says\n%s", source, said)
		}
	}
}
