package dtc

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type addOrderNoteIn struct {
	OrderNo string   `json:"order_no" jsonschema:"maxLength=20"`
	Text    string   `json:"text" jsonschema:"minLength=1,maxLength=1000"`
	Tags    []string `json:"tags,omitempty" jsonschema:"maxItems=10,pattern=^[a-z0-9-]{1\\,30}$"`
	Tried
}

// An addOrderNoteOut tells the order's version, which a note leaves as it is.
type addOrderNoteOut struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
}

var addOrderNote = tools.Define(tools.Spec{
	Name: "dtc_add_order_note", Path: "orders.note", Title: "Add a note to an order",
	Description: "Writes a note on an order for staff and agents; the customer never sees it. To answer a customer use dtc_draft_reply.",
	Scope:       "orders:write", Risk: tools.Risk{Undo: 1}, Resource: "order:/order_no",
	Undo:    "Hides the note",
	Example: `{"order_no":"70002","text":"Rang the customer: deliver to the neighbour at number 12.","tags":["delivery"]}`,
	Routes:  []tools.Route{{Method: "POST", Path: "/orders/{order_no}/notes", Status: 201}},
}, tools.Func[addOrderNoteIn, addOrderNoteOut]{Preview: previewNote, Write: addNote, Undo: tools.Reversible(keepNothing[addOrderNoteIn], hideNote)})

func previewNote(c *tools.Call, in addOrderNoteIn) (tools.Preview, error) {
	n, o, err := in.note(c)
	if err != nil {
		return tools.Preview{}, err
	}
	p := tools.Preview{
		Summary: fmt.Sprintf("Add a note of %s to order %s", count(int64(utf8.RuneCountInString(n.Text)), "character"), o.No),
		Changes: []tools.Change{changeOf(o, "note", "", n.Text)},
	}
	if len(n.Tags) > 0 {
		p.Changes = append(p.Changes, changeOf(o, "note's tags", "", strings.Join(n.Tags, ", ")))
	}
	return p, nil
}

// note makes the note, each tag once, and finds its order.
func (in addOrderNoteIn) note(c *tools.Call) (shop.Note, shop.Order, error) {
	d, err := desk(c)
	if err != nil {
		return shop.Note{}, shop.Order{}, err
	}
	n := shop.Note{OrderNo: in.OrderNo, Author: c.Principal.Name, Text: strings.TrimSpace(in.Text)}
	if n.Text == "" {
		return n, shop.Order{}, tools.Wrong("text", "is blank", "a text of 1 to 1000 characters", nil)
	}
	slices.Sort(in.Tags)
	n.Tags = slices.Compact(in.Tags)
	o, err := d.OrderHead(in.OrderNo)
	return n, o, err
}

func addNote(c *tools.Call, in addOrderNoteIn) (addOrderNoteOut, error) {
	n, o, err := in.note(c)
	if err != nil {
		return addOrderNoteOut{}, err
	}
	d, err := desk(c)
	if err != nil {
		return addOrderNoteOut{}, err
	}
	n, err = d.AddNote(n)
	return addOrderNoteOut{ID: n.ID, Version: o.Version}, err
}

func hideNote(c *tools.Call, in addOrderNoteIn, out addOrderNoteOut, _ struct{}) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	return d.HideNote(in.OrderNo, out.ID)
}
