package dtc

import (
	"errors"
	"strconv"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type draftReplyIn struct {
	TicketID string `json:"ticket_id" jsonschema:"maxLength=40"`
	Text     string `json:"text" jsonschema:"minLength=1,maxLength=4000,description=Plain text"`
	Advice   string `json:"advice_to_staff,omitempty" jsonschema:"maxLength=1000"`
	Tried
}

// A draftReplyOut tells the ticket's version, which sending a reply needs. A draft leaves it as it is.
type draftReplyOut struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
}

var draftReply = tools.Define(tools.Spec{
	Name: "dtc_draft_reply", Path: "tickets.reply.draft", Title: "Draft a reply",
	Description: "Leaves a draft of a reply at a ticket that is not closed, for staff to send; it reaches no customer. At most 20 a " +
		"ticket. Read dtc_get_tickets first. To have one sent use dtc_request_action helpdesk:send_reply.",
	Scope: "support:write", Risk: tools.Risk{Undo: 1}, Resource: "ticket:/ticket_id",
	Undo: "Takes the draft back, unless a reply was sent since",
	Example: `{"ticket_id":"tkt_01M7WD45A0E00BXSJ59CE7RMZM","text":"Hello,\n\nwe will leave it with number 14.","advice_to_staff":"Tell the ` +
		`carrier before noon."}`,
	Routes: []tools.Route{{Method: "POST", Path: "/tickets/{ticket_id}/drafts"}},
}, tools.Func[draftReplyIn, draftReplyOut]{
	Preview: previewDraft, Write: draft, Kinds: []string{"queue"},
	Objects: func(c *tools.Call, in draftReplyIn) ([]tools.Object, error) { return aboutTicket(c, in.TicketID) },
	Undo:    tools.Reversible(keepDraft, takeDraftBack),
})

// check refuses a ticket that takes no draft, and what staff could not see in a text that they may send as it stands.
func (in draftReplyIn) check(t shop.Ticket) error {
	for _, text := range []struct{ field, value string }{{"text", in.Text}, {"advice_to_staff", in.Advice}} {
		if err := checkVisible(text.field, text.value); err != nil {
			return err
		}
	}
	switch {
	case t.Status == shop.TicketClosed:
		return tools.Refuse(tools.Conflict, "Staff can open it again.", "The ticket is closed: a draft would be read by nobody.")
	case t.Drafts >= shop.MaxDrafts:
		return tools.Refuse(tools.LimitExceeded, "Leave it to staff: they read what is there first.", "%d drafts wait at this ticket, which is the most.", t.Drafts)
	}
	return nil
}

func previewDraft(c *tools.Call, in draftReplyIn) (tools.Preview, error) {
	d, err := desk(c)
	if err != nil {
		return tools.Preview{}, err
	}
	t, err := d.Ticket(in.TicketID)
	if err != nil {
		return tools.Preview{}, err
	}
	if err := in.check(t); err != nil {
		return tools.Preview{}, err
	}
	return tools.Preview{
		Summary: "Leave a draft for staff at ticket " + t.ID + " of customer " + t.CustomerNo + ", queue " + t.Queue,
		Changes: []tools.Change{{
			Object: "ticket " + t.ID, Field: "drafts_waiting", From: strconv.FormatInt(t.Drafts, 10), To: strconv.FormatInt(t.Drafts+1, 10),
		}},
		Content: in.content(), Version: strconv.FormatInt(t.Version, 10),
	}, nil
}

func (in draftReplyIn) content() string {
	if in.Advice == "" {
		return in.Text
	}
	return in.Text + "\n\nTo staff: " + in.Advice
}

// draft tells the ticket's state afresh when another call came between the preview and the count.
func draft(c *tools.Call, in draftReplyIn) (draftReplyOut, error) {
	d, err := desk(c)
	if err != nil {
		return draftReplyOut{}, err
	}
	f, err := d.AddDraft(in.TicketID, shop.Draft{Text: in.Text, Advice: in.Advice, By: c.Principal.Name})
	if errors.Is(err, shop.ErrChanged) {
		return draftReplyOut{}, tools.Refuse(tools.Conflict, "Read it again with dtc_get_tickets.", "The ticket was closed or got its last draft meanwhile.")
	}
	if err != nil {
		return draftReplyOut{}, err
	}
	t, err := d.Ticket(in.TicketID)
	return draftReplyOut{ID: f.ID, Version: t.Version}, err
}

// keepDraft keeps nothing: before the draft there was none.
func keepDraft(*tools.Call, draftReplyIn) (struct{}, error) { return struct{}{}, nil }

func takeDraftBack(c *tools.Call, in draftReplyIn, out draftReplyOut, _ struct{}) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	return d.DeleteDraft(in.TicketID, out.ID)
}
