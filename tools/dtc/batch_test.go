package dtc

import (
	"slices"
	"testing"

	"github.com/dtcgate/dtcgate/tools"
)

func TestWhoMayMakeAWriteAtOnceMayMakeABatchOfIt(t *testing.T) {
	for _, tool := range tools.NewRegistry(Tools()...).All() {
		h := tool.Handler()
		if fits := h.Write != nil && tool.Scope != "" && !tool.Brake; fits && !slices.Contains(batchScopes, tool.Scope) {
			t.Errorf("a key with %s alone is not shown dtc_batch, which takes %s", tool.Scope, tool.Name)
		}
	}
}
