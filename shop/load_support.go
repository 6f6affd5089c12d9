package shop

import "github.com/dtcgate/dtcgate/store"

func (w *writer) tickets(tickets []Ticket) {
	t := w.sheet("tickets", "ticket_id", "customer_no", "order_no", "queue", "status", "stars", "opened_at", "messages")
	m := w.sheet("ticket_messages", "ticket_id", "message_no", "author", "body", "at")
	for _, k := range tickets {
		t.add(k.ID, k.CustomerNo, orNull(k.OrderNo), k.Queue, k.Status, k.Stars, store.Micros(k.OpenedAt), k.Messages)
		var said []string
		for i, msg := range k.Thread {
			m.add(k.ID, int64(i+1), msg.Author, msg.Body, store.Micros(msg.At))
			said = append(said, msg.Body)
		}
		w.index(ticketWords, k.ID, k.foundBy(said)...)
	}
	t.flush()
	m.flush()
}

// pages writes the pages, and each as the first version of itself.
func (w *writer) pages(pages []WebPage) {
	t := w.sheet("pages", "page", "title", "body", "version", "published_at", "published_by")
	v := w.sheet("page_versions", "page", "title", "body", "version", "published_at", "published_by")
	for _, p := range pages {
		t.add(p.Slug, p.Title, p.Body, p.Version, store.Micros(p.At), p.By)
		v.add(p.Slug, p.Title, p.Body, p.Version, store.Micros(p.At), p.By)
	}
	t.flush()
	v.flush()
}
