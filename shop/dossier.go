package shop

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// KeepDossier is how long a dossier can be fetched.
const KeepDossier = 7 * 24 * time.Hour

// A Dossier is all that the shop holds about one customer, put together for that customer. Whoever has its token may
// read it, so the token is stored as its hash only.
type Dossier struct {
	ID         string
	Merchant   string
	CustomerNo string
	ExpiresAt  time.Time
	Body       []byte // empty once the file is written

	tokenHash string
}

// A holding is a kind of row that the shop holds about a customer, $2 of merchant $1, and the order of its rows.
type holding struct{ name, rows, order string }

const (
	theirOrders  = "(SELECT order_no FROM orders WHERE merchant_id = $1 AND customer_no = $2)"
	theirTickets = "(SELECT ticket_id FROM tickets WHERE merchant_id = $1 AND customer_no = $2)"
)

// holdings are all of them. A table that comes to hold something about customers gets a line here and one in personal.
var holdings = []holding{
	{"customer", "SELECT * FROM customers WHERE merchant_id = $1 AND customer_no = $2", "customer_no"},
	{"tags", "SELECT tag FROM customer_tags WHERE merchant_id = $1 AND customer_no = $2", "tag"},
	{"orders", "SELECT * FROM orders WHERE merchant_id = $1 AND customer_no = $2", "placed_at, order_no"},
	{"order_lines", "SELECT * FROM order_lines WHERE merchant_id = $1 AND order_no IN " + theirOrders, "order_no, line"},
	{"order_events", "SELECT * FROM order_events WHERE merchant_id = $1 AND order_no IN " + theirOrders, "order_no, event_no"},
	{"order_notes", "SELECT * FROM order_notes WHERE merchant_id = $1 AND order_no IN " + theirOrders, "order_no, note_id"},
	{"order_touches", "SELECT * FROM order_touches WHERE merchant_id = $1 AND order_no IN " + theirOrders, "order_no, touch_no"},
	{"shipments", "SELECT * FROM shipments WHERE merchant_id = $1 AND order_no IN " + theirOrders, "shipped_at, shipment_no"},
	{"shipping_labels", "SELECT * FROM shipping_labels WHERE merchant_id = $1 AND order_no IN " + theirOrders, "created_at, label_id"},
	{"refunds", "SELECT * FROM refunds WHERE merchant_id = $1 AND order_no IN " + theirOrders, "refunded_at, refund_no"},
	{"refund_lines", "SELECT * FROM refund_lines WHERE merchant_id = $1 AND refund_no IN (SELECT refund_no FROM refunds " +
		"WHERE merchant_id = $1 AND order_no IN " + theirOrders + ")", "refund_no, line"},
	{"tickets", "SELECT * FROM tickets WHERE merchant_id = $1 AND customer_no = $2", "opened_at, ticket_id"},
	{"ticket_messages", "SELECT * FROM ticket_messages WHERE merchant_id = $1 AND ticket_id IN " + theirTickets, "ticket_id, message_no"},
	{"ticket_drafts", "SELECT * FROM ticket_drafts WHERE merchant_id = $1 AND ticket_id IN " + theirTickets, "ticket_id, draft_id"},
	{"messages", `SELECT d.mailing_id, m.kind, m.channel, d.address, m.subject, m.body, d.created_at, d.carried_at
		FROM deliveries d LEFT JOIN mailings m ON m.merchant_id = d.merchant_id AND m.mailing_id = d.mailing_id
		WHERE d.merchant_id = $1 AND d.customer_no = $2`, "d.created_at, d.mailing_id"},
}

// AddDossier puts together what the shop holds about a customer, and gives it with the token that opens it and with how
// many rows it holds. The token is nowhere else.
func (d *Desk) AddDossier(customer string) (made Dossier, token string, rows int64, err error) {
	made = Dossier{
		ID: store.NewID("dos", d.tx.Now), Merchant: d.merchant, CustomerNo: customer, ExpiresAt: d.tx.Now.Add(KeepDossier),
	}
	if made.Body, rows, err = d.held(customer); err != nil {
		return made, "", 0, fmt.Errorf("putting together the dossier: %w", err)
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails
	token = base64.RawURLEncoding.EncodeToString(secret[:])
	made.tokenHash = hashToken(token)
	_, err = d.tx.Exec(`INSERT INTO dossiers (merchant_id, dossier_id, customer_no, token_sha256, body, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, d.merchant, made.ID, customer, made.tokenHash, string(made.Body),
		store.Micros(d.tx.Now), store.Micros(made.ExpiresAt))
	if err != nil {
		return made, "", 0, fmt.Errorf("storing the dossier: %w", err)
	}
	return made, token, rows, nil
}

func hashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// Held counts the rows that a dossier would hold.
func (d *Desk) Held(customer string) (rows int64, err error) {
	for _, h := range holdings {
		var n int64
		if err := d.tx.QueryRow("SELECT COUNT(*) FROM ("+h.rows+") AS held", d.merchant, customer).Scan(&n); err != nil {
			return 0, fmt.Errorf("counting %s: %w", h.name, err)
		}
		rows += n
	}
	return rows, nil
}

// held is all rows about a customer as JSON for people.
func (d *Desk) held(customer string) (body []byte, rows int64, err error) {
	all := map[string]any{"made_at": d.tx.Now, "customer_no": customer, "money": "minor units of " + d.Currency}
	for _, h := range holdings {
		list, err := d.rowsOf(h.rows+" ORDER BY "+h.order, customer)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", h.name, err)
		}
		all[h.name] = list
		rows += int64(len(list))
	}
	body, err = json.MarshalIndent(all, "", " ")
	return body, rows, err
}

// rowsOf gives rows by the names of their columns, with times as people read them. It leaves out whose shop it is.
func (d *Desk) rowsOf(rows, customer string) ([]map[string]any, error) {
	found, err := d.tx.Query(rows, d.merchant, customer)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		return nil, err
	}
	list := []map[string]any{}
	for found.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			return nil, err
		}
		list = append(list, named(columns, values))
	}
	return list, found.Err()
}

func named(columns []string, values []any) map[string]any {
	row := map[string]any{}
	for i, name := range columns {
		micros, isNumber := values[i].(int64)
		switch {
		case name == "merchant_id":
		case isNumber && (name == "at" || strings.HasSuffix(name, "_at")):
			row[name] = nil
			if micros != 0 {
				row[name] = time.UnixMicro(micros).UTC()
			}
		default:
			row[name] = values[i]
		}
	}
	return row
}

const dossierColumns = "merchant_id, dossier_id, customer_no, token_sha256, body, expires_at"

func scanDossier(r store.Row) (Dossier, error) {
	var d Dossier
	var body string
	err := r.Scan(&d.Merchant, &d.ID, &d.CustomerNo, &d.tokenHash, &body, store.At(&d.ExpiresAt))
	d.Body = []byte(body)
	return d, err
}

// FindDossier gives the dossier that a token opens, until it expires. A wrong token and a late one are both
// store.ErrNotFound.
//
// The row is found by the token's hash, of which an index tells no more than whether it is there; the comparison after it
// takes the same time for all hashes.
func FindDossier(tx *store.Tx, token string) (Dossier, error) {
	hash := hashToken(token)
	d, err := store.One(tx, scanDossier, "SELECT "+dossierColumns+" FROM dossiers WHERE token_sha256 = $1 AND expires_at > $2",
		hash, store.Micros(tx.Now))
	if err == nil && subtle.ConstantTimeCompare([]byte(d.tokenHash), []byte(hash)) != 1 {
		err = store.ErrNotFound
	}
	return d, err
}
