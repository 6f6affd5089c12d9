package dtc

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

type sendReplyIn struct {
	Text            string `json:"text" jsonschema:"minLength=1,maxLength=4000,description=Goes out as it is"`
	ExpectedVersion int64  `json:"expected_version" jsonschema:"minimum=1,description=version as dtc_get_tickets gave it"`
}

type sendReplyOut struct {
	TicketID string `json:"ticket_id"`
	Status   string `json:"status"`
	Version  int64  `json:"version"`
}

var actionSendReply = tools.DefineAction(tools.ActionSpec{
	Provider: "helpdesk", Name: "send_reply", Title: "Send a reply",
	Description: "Answers a customer's ticket by e-mail, as the shop, with exactly this text. The ticket then waits for the customer, and its drafts are settled.",
	Risk:        tools.Risk{Undo: 3, Blast: 1, Touch: 1, Reach: 1}, Class: tools.ClassContact,
	Targets: []tools.Target{{Type: "ticket", Example: "tkt_01M3VW4Z00ABCDEFGHJKMNPQRS"}},
	Undo:    "None: a message that has gone out cannot be called back", Idempotent: true,
}, tools.Func[sendReplyIn, sendReplyOut]{
	Objects: aboutTarget[sendReplyIn], Kinds: []string{"queue"}, Preview: previewReply, Write: sendReply, Facts: factsOfTicket[sendReplyIn],
})

func previewReply(c *tools.Call, in sendReplyIn) (tools.Preview, error) {
	if err := checkVisible("text", in.Text); err != nil {
		return tools.Preview{}, err
	}
	d, t, err := ticketToAnswer(c, in.ExpectedVersion)
	if err != nil {
		return tools.Preview{}, err
	}
	mail := t.Reply(in.Text)
	p := tools.Preview{
		Summary: fmt.Sprintf("Answer ticket %s of customer %s by e-mail", t.ID, t.CustomerNo), Customers: 1,
		Content:      "Subject: " + mail.Subject + "\n\n" + mail.Body,
		Changes:      []tools.Change{{Object: "ticket " + t.ID, Field: "messages", From: fmt.Sprint(t.Messages), To: fmt.Sprint(t.Messages + 1)}},
		Irreversible: "A message that has gone out cannot be called back.",
		Version:      strconv.FormatInt(t.Version, 10),
	}
	if t.Status != shop.TicketWaiting {
		p.Changes = append(p.Changes, tools.Change{Object: "ticket " + t.ID, Field: "status", From: t.Status, To: shop.TicketWaiting})
	}
	if t.Drafts > 0 {
		p.Changes = append(p.Changes, tools.Change{Object: "ticket " + t.ID, Field: "drafts", From: fmt.Sprint(t.Drafts), To: "0"})
	}
	address, err := d.AddressOf(t.CustomerNo)
	if err == nil && address == "" || errors.Is(err, store.ErrNotFound) {
		err = tools.Refuse(tools.Conflict, "Leave it to people.", "No e-mail address of this customer is known.")
	}
	if err == nil {
		err = checkAnswerable(d, t)
	}
	return p, err
}

// checkAnswerable refuses a reply to a customer who was written to a short while ago and has not written since.
func checkAnswerable(d *shop.Desk, t shop.Ticket) error {
	until, err := d.RestsUntilFor(t)
	if err != nil || until.IsZero() {
		return err
	}
	return resting(d, until, "Ask again from then on, or when the customer has written; meanwhile keep the text with dtc_draft_reply.")
}

// ticketToAnswer reads the ticket and holds it to the version that the caller saw. A closed one is done with.
func ticketToAnswer(c *tools.Call, version int64) (*shop.Desk, shop.Ticket, error) {
	d, err := desk(c)
	if err != nil {
		return nil, shop.Ticket{}, err
	}
	t, err := d.Ticket(c.Wish.ID())
	switch {
	case err != nil:
		return nil, t, err
	case t.Version != version:
		return nil, t, staleTicket(t)
	case t.Status == shop.TicketClosed:
		return nil, t, tools.Refuse(tools.Conflict, "Leave it: it is done with.", "The ticket is closed.")
	}
	return d, t, nil
}

func staleTicket(t shop.Ticket) error {
	return tools.Stale("The ticket has changed since it was looked at.", map[string]any{"expected_version": t.Version, "status": t.Status})
}

func sendReply(c *tools.Call, in sendReplyIn) (sendReplyOut, error) {
	d, t, err := ticketToAnswer(c, in.ExpectedVersion)
	if err != nil {
		return sendReplyOut{}, err
	}
	err = d.SendReply(t.ID, t.Version, in.Text, c.Principal.Name)
	switch {
	case errors.Is(err, shop.ErrChanged):
		err = errMoved()
	case errors.Is(err, shop.ErrResting):
		err = errors.Join(checkAnswerable(d, t), err)
	}
	return sendReplyOut{TicketID: t.ID, Status: shop.TicketWaiting, Version: t.Version + 1}, err
}
