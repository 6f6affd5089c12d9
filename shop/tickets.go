package shop

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/dtcgate/dtcgate/store"
)

// Statuses of a ticket.
const (
	TicketOpen    = "open"    // the shop's turn
	TicketWaiting = "waiting" // the customer's turn
	TicketClosed  = "closed"
)

// MaxDrafts is how many drafts may wait at one ticket.
const MaxDrafts = 20

// ticketWords is the kind of tickets in the index of words.
const ticketWords = "ticket"

const ticketColumns = `ticket_id, customer_no, COALESCE(order_no, '') AS order_no, queue, status, stars, opened_at, messages, drafts, version`

// scanTicket reads ticketColumns, and more columns after them.
func scanTicket(r store.Row, more ...any) (Ticket, error) {
	var t Ticket
	err := r.Scan(append([]any{
		&t.ID, &t.CustomerNo, &t.OrderNo, &t.Queue, &t.Status, &t.Stars, store.At(&t.OpenedAt), &t.Messages, &t.Drafts, &t.Version,
	}, more...)...)
	return t, err
}

// Ticket gives a ticket without what was said in it.
func (d *Desk) Ticket(id string) (Ticket, error) {
	t, err := store.One(d.tx, func(r store.Row) (Ticket, error) { return scanTicket(r) },
		"SELECT "+ticketColumns+" FROM tickets WHERE merchant_id = $1 AND ticket_id = $2", d.merchant, id)
	if err != nil {
		return t, fmt.Errorf("finding the ticket: %w", err)
	}
	return t, nil
}

// A TicketFilter narrows by everything in it at once. Query holds words of the messages, order or customer numbers.
type TicketFilter struct {
	Query  string
	Queue  string
	Status string
}

// Tickets gives a page of the tickets, newest first, without what was said in them.
func (d *Desk) Tickets(f TicketFilter, cut Cut) (Page[Ticket], error) {
	q := sqlText("SELECT "+ticketColumns+", opened_at AS rank FROM tickets WHERE merchant_id = ?", d.merchant)
	if f.Queue != "" {
		q.add(" AND queue = ?", f.Queue)
	}
	if f.Status != "" {
		q.add(" AND status = ?", f.Status)
	}
	q.foundBy(ticketWords, "ticket_id", f.Query, d.merchant)
	page, err := readPage(d.tx, listing{rows: q, by: []string{"rank", "ticket_id"}, desc: true}, cut,
		func(r store.Row) (Ticket, Place, error) {
			var p Place
			t, err := scanTicket(r, &p.Rank)
			p.ID = t.ID
			return t, p, err
		})
	if err != nil {
		return page, fmt.Errorf("listing tickets: %w", err)
	}
	return page, nil
}

// openingLength is how many characters of a ticket's first message a list shows.
const openingLength = 80

// Openings gives how each ticket begins, by its id.
func (d *Desk) Openings(tickets []Ticket) (map[string]Message, error) {
	openings := map[string]Message{}
	if len(tickets) == 0 {
		return openings, nil
	}
	ids := make([]string, len(tickets))
	for i, t := range tickets {
		ids[i] = t.ID
	}
	q := sqlText(fmt.Sprintf("SELECT ticket_id, author, SUBSTR(body, 1, %d) FROM ticket_messages", openingLength+1)).
		add(" WHERE merchant_id = ? AND message_no = 1 AND ticket_id IN ("+marks(len(ids))+")", append([]any{d.merchant}, values(ids)...)...)
	_, err := store.All(d.tx, func(r store.Row) (id string, err error) {
		var m Message
		err = r.Scan(&id, &m.Author, &m.Body)
		m.Body = shortened(m.Body)
		openings[id] = m
		return id, err
	}, q.sql(), q.args...)
	if err != nil {
		return nil, fmt.Errorf("reading how tickets begin: %w", err)
	}
	return openings, nil
}

// shortened shows by an ellipsis that a text went on.
func shortened(text string) string {
	if utf8.RuneCountInString(text) <= openingLength {
		return text
	}
	return string([]rune(text)[:openingLength-1]) + "…"
}

// Thread gives the last messages of a ticket, newest first.
func (d *Desk) Thread(ticket string, most int) ([]Message, error) {
	thread, err := store.All(d.tx, func(r store.Row) (m Message, err error) {
		return m, r.Scan(&m.Author, &m.By, &m.Body, store.At(&m.At))
	}, `SELECT author, written_by, body, at FROM ticket_messages WHERE merchant_id = $1 AND ticket_id = $2 ORDER BY message_no DESC LIMIT $3`,
		d.merchant, ticket, most)
	if err != nil {
		return nil, fmt.Errorf("reading the messages: %w", err)
	}
	return thread, nil
}

// Drafts gives the drafts that wait at a ticket, newest first.
func (d *Desk) Drafts(ticket string) ([]Draft, error) {
	drafts, err := store.All(d.tx, func(r store.Row) (f Draft, err error) {
		return f, r.Scan(&f.ID, &f.Text, &f.Advice, store.At(&f.At), &f.By)
	}, `SELECT draft_id, body, advice, created_at, created_by FROM ticket_drafts
		WHERE merchant_id = $1 AND ticket_id = $2 AND deleted_at IS NULL AND replied_at IS NULL ORDER BY created_at DESC, draft_id DESC`,
		d.merchant, ticket)
	if err != nil {
		return nil, fmt.Errorf("reading the drafts: %w", err)
	}
	return drafts, nil
}

// AddDraft stores a draft for staff and gives it with its id. A closed ticket, and one with MaxDrafts, takes none:
// ErrChanged. The count is the compare-and-set, and holds the ticket's row until the end.
func (d *Desk) AddDraft(ticket string, f Draft) (Draft, error) {
	f.ID, f.At = store.NewID("drf", d.tx.Now), d.tx.Now
	err := changed(d.tx.Exec("UPDATE tickets SET drafts = drafts + 1 WHERE merchant_id = $1 AND ticket_id = $2 AND status <> 'closed' AND drafts < $3",
		d.merchant, ticket, MaxDrafts))
	if err != nil {
		return f, fmt.Errorf("counting the draft: %w", err)
	}
	_, err = d.tx.Exec(`INSERT INTO ticket_drafts (merchant_id, ticket_id, draft_id, body, advice, created_at, created_by)
		VALUES ($1, $2, $3, $4, $5, $6, $7)`, d.merchant, ticket, f.ID, f.Text, f.Advice, store.Micros(f.At), f.By)
	if err != nil {
		return f, fmt.Errorf("storing the draft: %w", err)
	}
	return f, nil
}

// DeleteDraft takes a draft back. One that waits no more, because the ticket got a reply or the draft was taken back
// before, stays as it is: ErrChanged.
func (d *Desk) DeleteDraft(ticket, draft string) error {
	err := changed(d.tx.Exec("UPDATE tickets SET drafts = drafts - 1 WHERE merchant_id = $1 AND ticket_id = $2 AND drafts > 0", d.merchant, ticket))
	if err == nil {
		err = changed(d.tx.Exec(`UPDATE ticket_drafts SET deleted_at = $1
			WHERE merchant_id = $2 AND ticket_id = $3 AND draft_id = $4 AND deleted_at IS NULL AND replied_at IS NULL`,
			store.Micros(d.tx.Now), d.merchant, ticket, draft))
	}
	if err != nil {
		return fmt.Errorf("taking the draft back: %w", err)
	}
	return nil
}

// Reply is the mail in which a customer gets an answer to a ticket.
func (t Ticket) Reply(text string) Notice {
	subject := "Your message to us"
	if t.OrderNo != "" {
		subject += " about order " + t.OrderNo
	}
	return Notice{Kind: KindTicketReply, Subject: subject, Body: text}
}

// SendReply adds what staff say to a ticket and mails it to the customer, where an address is known. Then it is the
// customer's turn, and no draft waits any more. A ticket that is closed or has another version by now gets nothing:
// ErrChanged. Neither does that of a customer who rests and has not written since: ErrResting.
func (d *Desk) SendReply(ticket string, version int64, text, by string) error {
	t, err := d.Ticket(ticket)
	if err != nil {
		return err
	}
	if t.Version != version {
		return fmt.Errorf("replying: %w", ErrChanged)
	}
	for _, step := range []func(t Ticket, text, by string) error{d.beginReply, d.answer, d.settleDrafts, d.mailReply} {
		if err := step(t, text, by); err != nil {
			return fmt.Errorf("replying: %w", err)
		}
	}
	return nil
}

// answer is the compare-and-set that all else of a reply hangs on. Whoever adds a message raises the version, so that the
// number of the new one is still free.
func (d *Desk) answer(t Ticket, text, by string) error {
	err := changed(d.tx.Exec(`UPDATE tickets SET status = $1, messages = $2, drafts = 0, version = version + 1
		WHERE merchant_id = $3 AND ticket_id = $4 AND version = $5 AND status <> 'closed' AND messages = $6`,
		TicketWaiting, t.Messages+1, d.merchant, t.ID, t.Version, t.Messages))
	if err != nil {
		return err
	}
	_, err = d.tx.Exec(`INSERT INTO ticket_messages (merchant_id, ticket_id, message_no, author, written_by, body, at)
		VALUES ($1, $2, $3, 'staff', $4, $5, $6)`, d.merchant, t.ID, t.Messages+1, by, text, store.Micros(d.tx.Now))
	if err != nil {
		return err
	}
	said, err := store.All(d.tx, func(r store.Row) (body string, err error) { return body, r.Scan(&body) },
		"SELECT body FROM ticket_messages WHERE merchant_id = $1 AND ticket_id = $2", d.merchant, t.ID)
	if err != nil {
		return err
	}
	return d.index(ticketWords, t.ID, t.foundBy(said)...)
}

// foundBy are the texts whose words a search finds a ticket by, when said is what was said in it.
func (t Ticket) foundBy(said []string) []string { return append(said, t.OrderNo, t.CustomerNo) }

// settleDrafts ends the wait of all drafts: they were written for a question that now has its reply.
func (d *Desk) settleDrafts(t Ticket, _, _ string) error {
	_, err := d.tx.Exec(`UPDATE ticket_drafts SET replied_at = $1
		WHERE merchant_id = $2 AND ticket_id = $3 AND deleted_at IS NULL AND replied_at IS NULL`, store.Micros(d.tx.Now), d.merchant, t.ID)
	return err
}

// beginReply notes that the customer is written to, if an address is known. It takes the customer's row, which the order of locks has before the ticket's.
func (d *Desk) beginReply(t Ticket, _, _ string) error {
	address, err := d.AddressOf(t.CustomerNo)
	if errors.Is(err, store.ErrNotFound) || err == nil && address == "" {
		return nil
	}
	since, err := d.answerable(t)
	if err != nil {
		return err
	}
	return d.contact(t.CustomerNo, since)
}

// mailReply needs no consent to marketing: the customer asked.
func (d *Desk) mailReply(t Ticket, text, _ string) error {
	address, err := d.AddressOf(t.CustomerNo)
	if errors.Is(err, store.ErrNotFound) || err == nil && address == "" {
		return nil
	}
	if err != nil {
		return err
	}
	return d.Notify(t.CustomerNo, address, t.Reply(text))
}

// CloseTicket closes a ticket that has this version, and gives the status that it had. One that is closed already is not
// closed again: ErrChanged.
func (d *Desk) CloseTicket(ticket string, version int64, by string) (was string, err error) {
	t, err := d.Ticket(ticket)
	if err != nil {
		return "", err
	}
	if t.Status == TicketClosed {
		return "", fmt.Errorf("closing the ticket: %w", ErrChanged)
	}
	err = changed(d.tx.Exec(`UPDATE tickets SET status = $1, closed_by = $2, version = version + 1
		WHERE merchant_id = $3 AND ticket_id = $4 AND version = $5 AND status = $6`, TicketClosed, by, d.merchant, ticket, version, t.Status))
	if err != nil {
		return "", fmt.Errorf("closing the ticket: %w", err)
	}
	return t.Status, nil
}

// ReopenTicket gives a closed ticket that has this version the status that it had before.
func (d *Desk) ReopenTicket(ticket, was string, version int64) error {
	if !slices.Contains([]string{TicketOpen, TicketWaiting}, was) {
		return fmt.Errorf("reopening the ticket: %q is no status to go back to", was)
	}
	err := changed(d.tx.Exec(`UPDATE tickets SET status = $1, closed_by = '', version = version + 1
		WHERE merchant_id = $2 AND ticket_id = $3 AND version = $4 AND status = 'closed'`, was, d.merchant, ticket, version))
	if err != nil {
		return fmt.Errorf("reopening the ticket: %w", err)
	}
	return nil
}
