package shop

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Note is what somebody wrote down about an order, for staff and agents. It changes nothing of the order, not even its
// version. Its text is nobody's order: an agent may have copied it from a customer.
type Note struct {
	ID      string
	OrderNo string
	At      time.Time
	Author  string // an agent's name
	Text    string
	Tags    []string
}

// AddNote keeps a note and gives it with its id.
func (d *Desk) AddNote(n Note) (Note, error) {
	n.ID, n.At = store.NewID("note", d.tx.Now), d.tx.Now
	_, err := d.tx.Exec(`INSERT INTO order_notes (merchant_id, order_no, note_id, text, tags, author, at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		d.merchant, n.OrderNo, n.ID, n.Text, jsonText(n.Tags), n.Author, store.Micros(n.At))
	if err != nil {
		return n, fmt.Errorf("storing the note: %w", err)
	}
	return n, nil
}

// HideNote hides a note that is shown; otherwise it answers ErrChanged.
func (d *Desk) HideNote(order, id string) error {
	err := changed(d.tx.Exec("UPDATE order_notes SET hidden_at = $1 WHERE merchant_id = $2 AND order_no = $3 AND note_id = $4 AND hidden_at IS NULL",
		store.Micros(d.tx.Now), d.merchant, order, id))
	if err != nil {
		return fmt.Errorf("hiding the note: %w", err)
	}
	return nil
}

// Notes gives the latest notes of an order that are not hidden, newest first, and how many there are in all.
func (d *Desk) Notes(order string, limit int) (notes []Note, total int, err error) {
	if total, err = d.countNotes(order); err == nil {
		notes, err = d.latestNotes(order, limit)
	}
	return notes, total, err
}

// AskNotes asks what Notes asks: see store.Tx.Ahead.
func (d *Desk) AskNotes(order string, limit int) {
	_, _ = d.countNotes(order)
	_, _ = d.latestNotes(order, limit)
}

const shownNotes = " FROM order_notes WHERE merchant_id = $1 AND order_no = $2 AND hidden_at IS NULL"

func (d *Desk) countNotes(order string) (n int, err error) {
	if err = d.tx.QueryRow("SELECT COUNT(*)"+shownNotes, d.merchant, order).Scan(&n); err != nil {
		err = fmt.Errorf("counting the notes of the order: %w", err)
	}
	return n, err
}

func (d *Desk) latestNotes(order string, limit int) ([]Note, error) {
	notes, err := store.All(d.tx, func(r store.Row) (Note, error) {
		n, tags := Note{OrderNo: order}, ""
		err := r.Scan(&n.ID, store.At(&n.At), &n.Author, &n.Text, &tags)
		if err == nil {
			err = json.Unmarshal([]byte(tags), &n.Tags)
		}
		return n, err
	}, "SELECT note_id, at, author, text, tags"+shownNotes+" ORDER BY at DESC, note_id DESC LIMIT $3", d.merchant, order, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the notes of the order: %w", err)
	}
	return notes, nil
}
