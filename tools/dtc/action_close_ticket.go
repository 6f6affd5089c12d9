package dtc

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type closeTicketIn struct {
	ExpectedVersion int64 `json:"expected_version" jsonschema:"minimum=1,description=version as dtc_get_tickets gave it"`
}

type closeTicketOut struct {
	TicketID string `json:"ticket_id"`
	Was      string `json:"was"`
	Status   string `json:"status"`
	Version  int64  `json:"version"`
}

var actionCloseTicket = tools.DefineAction(tools.ActionSpec{
	Provider: "helpdesk", Name: "close_ticket", Title: "Close a ticket",
	Description: "Closes a customer's ticket that needs no more work. Nobody is written to.",
	Risk:        tools.Risk{Undo: 1, Blast: 1},
	Targets:     []tools.Target{{Type: "ticket", Example: "tkt_01M3VW4Z00ABCDEFGHJKMNPQRS"}},
	Undo:        "dtc_undo opens it again", Idempotent: true,
}, tools.Func[closeTicketIn, closeTicketOut]{
	Objects: aboutTarget[closeTicketIn], Kinds: []string{"queue"}, Preview: previewClose, Write: closeTicket, Facts: factsOfTicket[closeTicketIn],
	Undo: tools.Reversible(keepNothing, reopenTicket),
})

func previewClose(c *tools.Call, in closeTicketIn) (tools.Preview, error) {
	_, t, err := ticketToAnswer(c, in.ExpectedVersion)
	if err != nil {
		return tools.Preview{}, err
	}
	p := tools.Preview{
		Summary: fmt.Sprintf("Close ticket %s of customer %s", t.ID, t.CustomerNo),
		Changes: []tools.Change{{Object: "ticket " + t.ID, Field: "status", From: t.Status, To: shop.TicketClosed}},
		Version: strconv.FormatInt(t.Version, 10),
	}
	if t.Status == shop.TicketOpen {
		p.Warnings = []string{"It is the shop's turn: the customer's last message may have no answer."}
	}
	return p, nil
}

func closeTicket(c *tools.Call, in closeTicketIn) (closeTicketOut, error) {
	d, t, err := ticketToAnswer(c, in.ExpectedVersion)
	if err != nil {
		return closeTicketOut{}, err
	}
	was, err := d.CloseTicket(t.ID, t.Version, c.Principal.Name)
	if errors.Is(err, shop.ErrChanged) {
		err = errMoved()
	}
	return closeTicketOut{TicketID: t.ID, Was: was, Status: shop.TicketClosed, Version: t.Version + 1}, err
}

func reopenTicket(c *tools.Call, _ closeTicketIn, out closeTicketOut, _ struct{}) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	return d.ReopenTicket(out.TicketID, out.Was, out.Version)
}
