package shop_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
)

// ticketID finds a ticket by a condition.
func ticketID(t *testing.T, db *store.DB, condition string) (id string) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRow("SELECT MIN(ticket_id) FROM tickets WHERE " + condition).Scan(&id)
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func ticketAs(t *testing.T, db *store.DB, id string) (k shop.Ticket) {
	t.Helper()
	err := at(t, db, func(d *shop.Desk) (err error) {
		k, err = d.Ticket(id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestBothSourcesHaveTicketsAndPages(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		importTiny(t, db, "mer_other", shop.Options{Today: sunday})
		for _, m := range []string{merchant, "mer_other"} {
			for table, want := range map[string]int64{"tickets": 40, "pages": 8, "page_versions": 8, "ticket_drafts": 0} {
				if n := number(t, db, "SELECT COUNT(*) FROM "+table+" WHERE merchant_id = $1", m); n != want {
					t.Errorf("%s of %s: %d, want %d", table, m, n, want)
				}
			}
			if n := number(t, db, "SELECT COUNT(*) FROM tickets WHERE merchant_id = $1 AND (queue = 'review') <> (stars > 0)", m); n != 0 {
				t.Errorf("%s: %d tickets have stars without being reviews, or the other way round", m, n)
			}
			if n := number(t, db, `SELECT COUNT(*) FROM tickets t WHERE merchant_id = $1 AND messages <>
				(SELECT COUNT(*) FROM ticket_messages m WHERE m.merchant_id = t.merchant_id AND m.ticket_id = t.ticket_id)`, m); n != 0 {
				t.Errorf("%s: %d tickets miscount their messages", m, n)
			}
		}
		if n := number(t, db, "SELECT stars FROM tickets k JOIN ticket_messages m USING (merchant_id, ticket_id) WHERE merchant_id = $1 AND body LIKE '%Three stars%'", merchant); n != 3 {
			t.Errorf("the review that says three stars has %d", n)
		}
	})
}

func TestReplyReachesTheCustomerOnce(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		id := ticketID(t, db, "status = 'open' AND queue = 'delivery'")
		before := ticketAs(t, db, id)
		draft := func(d *shop.Desk) error {
			_, err := d.AddDraft(id, shop.Draft{Text: "It is on its way.", By: "bot"})
			return err
		}
		reply := func(version int64) error {
			return at(t, db, func(d *shop.Desk) error {
				return d.SendReply(id, version, "It arrives tomorrow, says Wilhelmina.", "Ann")
			})
		}
		if err := at(t, db, draft); err != nil {
			t.Fatal(err)
		}
		if err := reply(before.Version + 1); !errors.Is(err, shop.ErrChanged) {
			t.Errorf("a reply to another version: %v", err)
		}
		if err := reply(before.Version); err != nil {
			t.Fatal(err)
		}
		if err := reply(before.Version); !errors.Is(err, shop.ErrChanged) {
			t.Errorf("the same reply again: %v", err)
		}
		want := before
		want.Status, want.Version, want.Messages = shop.TicketWaiting, before.Version+1, before.Messages+1
		if diff := cmp.Diff(want, ticketAs(t, db, id)); diff != "" {
			t.Errorf("the ticket after a reply (-want +got):\n%s", diff)
		}
		err := at(t, db, func(d *shop.Desk) error {
			thread, err := d.Thread(id, 1)
			if err == nil && (thread[0].Author != "staff" || thread[0].By != "Ann" || thread[0].Body != "It arrives tomorrow, says Wilhelmina.") {
				err = fmt.Errorf("the last message is %+v", thread[0])
			}
			if drafts, err2 := d.Drafts(id); err2 != nil || len(drafts) != 0 {
				err = fmt.Errorf("drafts that wait after a reply: %v, %v", drafts, err2)
			}
			found, err3 := d.Tickets(shop.TicketFilter{Query: "wilhelm"}, shop.Cut{Limit: 5})
			if err3 != nil || found.Total != 1 || found.Rows[0].ID != id {
				err = fmt.Errorf("the reply's words find %+v, %v", found, err3)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		mailed := "SELECT COUNT(*) FROM deliveries v JOIN mailings m USING (merchant_id, mailing_id) WHERE body LIKE '%Wilhelmina%' AND customer_no = $1"
		if n := number(t, db, mailed, before.CustomerNo); n != 1 {
			t.Errorf("%d mails went to the customer, want 1", n)
		}
	})
}

func TestReplyWithoutAddressStaysInTheTicket(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		id := ticketID(t, db, "status = 'open'")
		customer := ticketAs(t, db, id).CustomerNo
		if err := exec(t, db, "UPDATE customers SET email = '', email_consent_at = NULL WHERE customer_no = $1", customer); err != nil {
			t.Fatal(err)
		}
		before := number(t, db, "SELECT COUNT(*) FROM deliveries")
		if err := at(t, db, func(d *shop.Desk) error { return d.SendReply(id, 1, "Hello.", "Ann") }); err != nil {
			t.Fatal(err)
		}
		if n := number(t, db, "SELECT COUNT(*) FROM deliveries") - before; n != 0 || ticketAs(t, db, id).Status != shop.TicketWaiting {
			t.Errorf("%d mails without an address; the ticket is %+v", n, ticketAs(t, db, id))
		}
	})
}

func TestClosedTicketOpensAsItWas(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		id := ticketID(t, db, "status = 'waiting'")
		closing := func(version int64) (was string, err error) {
			err = at(t, db, func(d *shop.Desk) (err error) {
				was, err = d.CloseTicket(id, version, "Ann")
				return err
			})
			return was, err
		}
		was, err := closing(1)
		if err != nil || was != shop.TicketWaiting {
			t.Fatalf("closing a ticket that waits: was %q, %v", was, err)
		}
		for _, version := range []int64{1, 2} {
			if _, err := closing(version); !errors.Is(err, shop.ErrChanged) {
				t.Errorf("closing it again with version %d: %v", version, err)
			}
			err := at(t, db, func(d *shop.Desk) error { return d.SendReply(id, version, "Hello.", "Ann") })
			if !errors.Is(err, shop.ErrChanged) {
				t.Errorf("a reply to a closed ticket: %v", err)
			}
		}
		err = at(t, db, func(d *shop.Desk) error {
			_, err := d.AddDraft(id, shop.Draft{Text: "Hello.", By: "bot"})
			return err
		})
		if !errors.Is(err, shop.ErrChanged) {
			t.Errorf("a draft to a closed ticket: %v", err)
		}
		reopen := func(as string, version int64) error {
			return at(t, db, func(d *shop.Desk) error { return d.ReopenTicket(id, as, version) })
		}
		if err := reopen(shop.TicketClosed, 2); err == nil {
			t.Error("a ticket was reopened as closed")
		}
		if err := reopen(was, 2); err != nil {
			t.Fatal(err)
		}
		if err := reopen(was, 2); !errors.Is(err, shop.ErrChanged) {
			t.Errorf("reopening it again: %v", err)
		}
		if got := ticketAs(t, db, id); got.Status != shop.TicketWaiting || got.Version != 3 {
			t.Errorf("reopened, the ticket is %+v", got)
		}
	})
}

func TestDraftsHaveALimit(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		id := ticketID(t, db, "status = 'open'")
		var last shop.Draft
		add := func() error {
			return at(t, db, func(d *shop.Desk) (err error) {
				last, err = d.AddDraft(id, shop.Draft{Text: "Hello.", Advice: "Check the stock.", By: "bot"})
				return err
			})
		}
		for range shop.MaxDrafts {
			if err := add(); err != nil {
				t.Fatal(err)
			}
		}
		kept := last
		if err := add(); !errors.Is(err, shop.ErrChanged) {
			t.Errorf("one draft more: %v", err)
		}
		remove := func() error {
			return at(t, db, func(d *shop.Desk) error { return d.DeleteDraft(id, kept.ID) })
		}
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		if err := remove(); !errors.Is(err, shop.ErrChanged) {
			t.Errorf("the same draft taken back twice: %v", err)
		}
		if got := ticketAs(t, db, id); got.Drafts != shop.MaxDrafts-1 || got.Version != 1 {
			t.Errorf("the ticket counts %+v", got)
		}
		if err := add(); err != nil {
			t.Errorf("a draft in the place of one taken back: %v", err)
		}
	})
}

func TestPublishedPagesKeepTheirHistory(t *testing.T) {
	eachDemo(t, func(t *testing.T, db *store.DB) {
		publish := func(version int64) error {
			return at(t, db, func(d *shop.Desk) error {
				_, err := d.PublishPage(shop.WebPage{Slug: "faq", Title: "FAQ", Body: "Ask.", Version: version, By: "Ann"})
				return err
			})
		}
		if err := publish(1); err != nil {
			t.Fatal(err)
		}
		if err := publish(1); !errors.Is(err, shop.ErrChanged) {
			t.Errorf("publishing over a version that is gone: %v", err)
		}
		if n := number(t, db, "SELECT COUNT(*) FROM page_versions WHERE page = 'faq' AND (version = 1 AND title <> 'FAQ' OR version = 2 AND title = 'FAQ' AND body = 'Ask.' AND published_by = 'Ann')"); n != 2 {
			t.Errorf("%d of 2 versions are kept", n)
		}
		if n := number(t, db, "SELECT version FROM pages WHERE page = 'faq'"); n != 2 {
			t.Errorf("the page has version %d", n)
		}
	})
}
