package store_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/store"
)

func TestEveryBorderIsListedOnce(t *testing.T) {
	source, err := os.ReadFile("borders.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), ` Border = "`); n != len(store.Borders) {
		t.Errorf("%d borders are named and %d are listed", n, len(store.Borders))
	}
	if sorted := slices.Sorted(slices.Values(store.Borders)); len(slices.Compact(sorted)) != len(store.Borders) {
		t.Errorf("a border is listed twice: %v", store.Borders)
	}
}
