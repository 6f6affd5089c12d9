package shop

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// notPersonal are tables with a column that leads to a customer, of which an erasure leaves everything, and why.
var notPersonal = map[string]string{
	"order_lines":     "goods and prices",
	"order_touches":   "channels and campaigns, by which a later refund is credited",
	"refund_lines":    "pieces and sums",
	"shipping_labels": "a carrier, a weight and a price; the address is on none",
	"tickets":         "numbers, a queue and times; the words are in the messages",
}

// TestEveryTableAboutCustomersIsAnswered fails for a new table that leads to a customer until it is known what becomes of it
// when the customer asks for the data, or for its end.
func TestEveryTableAboutCustomersIsAnswered(t *testing.T) {
	db := storetest.New(t, "sqlite")
	shopTables := "|" + strings.Join(tables, "|") + "|"
	held := map[string]bool{"dossiers": true}
	for _, h := range holdings {
		held[regexp.MustCompile(`FROM (\w+)`).FindStringSubmatch(h.rows)[1]] = true
	}
	erased := map[string]bool{}
	for _, tr := range personal {
		erased[tr.table] = true
	}
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		leading, err := store.All(tx, func(r store.Row) (name string, err error) { return name, r.Scan(&name) },
			`SELECT DISTINCT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) p
			WHERE m.type = 'table' AND p.name IN ('customer_no', 'order_no', 'ticket_id', 'refund_no')`)
		for _, table := range leading {
			if !strings.Contains(shopTables, "|"+table+"|") {
				t.Errorf("%s is not emptied when a shop is loaded anew", table)
			}
			if !held[table] {
				t.Errorf("%s leads to a customer and is in no dossier: give it a line in holdings", table)
			}
			if !erased[table] && notPersonal[table] == "" {
				t.Errorf("%s leads to a customer: erase it by a line in personal, or say in notPersonal why not", table)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDossierFilesOutliveACrash(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Date(2026, 11, 22, 9, 30, 0, 0, London)
		db.Now = func() time.Time { return now }
		if _, err := LoadDemo(t.Context(), db, "mer_test", 1, now); err != nil {
			t.Fatal(err)
		}
		var token string
		add := func(customer string) {
			t.Helper()
			err := db.InTx(t.Context(), func(tx *store.Tx) error {
				d, err := At(tx, "mer_test")
				if err == nil {
					_, token, _, err = d.AddDossier(customer)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		find := func() (content []byte, err error) {
			var d Dossier
			err = db.Read(t.Context(), func(tx *store.Tx) error { d, err = FindDossier(tx, token); return err })
			if err != nil {
				return nil, err
			}
			return (&DossierFiles{DB: db, Dir: filepath.Join(t.TempDir(), "none")}).Content(d)
		}
		files := &DossierFiles{DB: db, Dir: filepath.Join(t.TempDir(), "ex[ports")}
		tidy := func(want int) {
			t.Helper()
			if err := files.TidyOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			if found, _ := fs.Glob(os.DirFS(files.Dir), "*/*.json"); len(found) != want {
				t.Errorf("%d files, want %d", len(found), want)
			}
		}
		add("1002")
		if content, err := find(); err != nil || !strings.Contains(string(content), "c1002@example.com") {
			t.Errorf("before it is a file: %v", err)
		}
		// A crash after the file and before the mark, and one in the middle of a file.
		half := filepath.Join(files.Dir, "mer_test", ".unfinished-1")
		if err := writeWhole(half, []byte("half")); err != nil {
			t.Fatal(err)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if err := files.keep(ended, Dossier{ID: "dos_x", Merchant: "mer_test", Body: []byte("{}")}); !errors.Is(err, context.Canceled) {
			t.Errorf("a mark that could not be made: %v", err)
		}
		tidy(1)
		if _, err := os.Stat(half); err != nil {
			t.Errorf("a file that may be being written is gone: %v", err)
		}
		if _, err := find(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("from another directory: %v", err)
		}
		now = now.Add(KeepDossier - time.Second)
		tidy(1)
		now = now.Add(2 * time.Second)
		if _, err := find(); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a late token: %v", err)
		}
		tidy(0)
		if left, _ := fs.Glob(os.DirFS(files.Dir), "*/.*"); len(left) > 1 {
			t.Errorf("left: %q", left)
		}
		add("1003")
		tidy(1)
		if _, err := LoadDemo(t.Context(), db, "mer_test", 2, now); err != nil {
			t.Fatal(err)
		}
		tidy(0)
	})
}

// TestNoNoticeOutlivesAnErasure lets somebody ship an order of a customer who is being erased: the address is read, the erasure
// comes, and the notice is written after it. It must not be there when both have ended.
func TestNoNoticeOutlivesAnErasure(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		now := time.Date(2026, 11, 22, 9, 30, 0, 0, London)
		db.Now = func() time.Time { return now }
		if _, err := LoadDemo(t.Context(), db, "mer_test", 1, now); err != nil {
			t.Fatal(err)
		}
		at := func(tx *store.Tx, fn func(d *Desk) error) error {
			d, err := At(tx, "mer_test")
			if err == nil {
				err = fn(d)
			}
			return err
		}
		var customer, order string
		erased := make(chan error, 1)
		erase := func() {
			erased <- db.InTx(t.Context(), func(tx *store.Tx) error {
				return at(tx, func(d *Desk) error {
					c, err := d.Customer(customer)
					if err == nil {
						_, err = d.Erase(c)
					}
					return err
				})
			})
		}
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			err := tx.QueryRow(`SELECT customer_no, order_no FROM orders o WHERE status = 'open' AND customer_note = '' AND NOT EXISTS (SELECT 1
				FROM order_lines l JOIN variants v ON v.merchant_id = l.merchant_id AND v.sku = l.sku
				WHERE l.merchant_id = o.merchant_id AND l.order_no = o.order_no AND v.on_hand < 2 * l.qty) ORDER BY order_no DESC LIMIT 1`).Scan(&customer, &order)
			if err != nil {
				return err
			}
			return at(tx, func(d *Desk) error {
				o, err := d.Order(order)
				if err != nil {
					return err
				}
				s := Shipment{Carrier: "dpd", TrackingNo: "TRACK12345", Reason: "packed", Actor: "staff"}
				for _, l := range o.Lines {
					s.Lines = append(s.Lines, ShipmentLine{Line: l.Line, SKU: l.SKU, Qty: l.ToShip()})
				}
				if _, err := d.Fulfil(o, s); err != nil {
					return err
				}
				address, err := d.AddressOf(customer)
				if err != nil {
					return err
				}
				go erase()
				select { // it comes to its end where it is not held up
				case err := <-erased:
					erased <- err
				case <-time.After(300 * time.Millisecond):
				}
				return d.Notify(customer, address, ShipmentNotice(o, s))
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := <-erased; err != nil {
			t.Fatal(err)
		}
		for q, what := range map[string]string{
			`SELECT COUNT(*) FROM deliveries WHERE customer_no = $1 AND address LIKE '%@%'`:                                                      "deliveries have the address",
			`SELECT COUNT(*) FROM order_events e WHERE what LIKE '%TRACK%' AND order_no IN (SELECT order_no FROM orders WHERE customer_no = $1)`: "events tell the parcel",
		} {
			var n int
			err := db.Read(t.Context(), func(tx *store.Tx) error { return tx.QueryRow(q, customer).Scan(&n) })
			if err != nil || n != 0 {
				t.Errorf("%d %s (%v)", n, what, err)
			}
		}
	})
}
