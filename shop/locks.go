package shop

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// lockOrder is the order of locks: these tables, and within each the rows by the bytes of the key. See the package comment.
var lockOrder = []struct{ table, key string }{
	{"campaigns", "campaign_id"},
	{"segments", "segment_id"},
	{"orders", "order_no"},
	{"customers", "customer_no"},
	{"tickets", "ticket_id"},
	{"variants", "sku"},
	{"products", "product_code"},
	{"ad_accounts", "ad_account_id"},
	{"deliveries", "mailing_id, customer_no"},
	{"dossiers", "dossier_id"},
	{"shops", "merchant_id"},
}

// lock takes those rows of a table in lockOrder that a condition picks, before they are changed by a statement that would
// take them in an order of its own.
func lock(tx *store.Tx, merchant, table, where string, args ...any) error {
	i := slices.IndexFunc(lockOrder, func(l struct{ table, key string }) bool { return l.table == table })
	key := strings.ReplaceAll(lockOrder[i].key, ",", ` COLLATE "binary",`) + ` COLLATE "binary"`
	q := sqlText("SELECT 1 FROM "+table+" WHERE merchant_id = ?", merchant)
	if where != "" {
		q.add(" AND "+where, args...)
	}
	q.add(" ORDER BY " + key)
	if err := tx.Lock(q.sql(), q.args...); err != nil {
		return fmt.Errorf("holding rows of %s: %w", table, err)
	}
	return nil
}
