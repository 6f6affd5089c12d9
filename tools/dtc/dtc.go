// Package dtc holds the dtc_* tools, one file each, over the embedded shop of package shop.
//
// A file is the whole tool: its spec with the description that models read, its input and output structs with the limits
// in their tags, and its functions. What the shop is asked and told stands in package shop; what may be done and who must
// agree is decided in package gate. A tool checks only what makes sense of its arguments against the shop: that an object
// is there, is still as the caller saw it, and allows what is asked.
//
// Lists are read by pages of 10, at most 50, and always tell their total. A cursor is sealed and fits one caller and one filter. An
// answer is at most 24 KB of JSON; what does not fit is left out, and the answer says so and how to ask for less. What
// outsiders wrote stands in an object {from, untrusted_text} and nowhere else.
//
// Every effect in a preview is counted here and never taken from the arguments. Those state what the caller saw
// (expected_*) and how far it may go (amount, max_*); the shop holds the call to both. A write that can be made good is Reversible:
// the tool reads what is there before it and knows how to put it back, and package gate decides who may have that done.
package dtc

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// Tools are all tools of this package.
func Tools() []*tools.Tool {
	return []*tools.Tool{
		addOrderNote, adjustInventory, batch, cancelJob, cancelOrder, connectAdAccount, createCampaign, createDiscount, createSegment,
		delegate, draftReply, fulfilOrder, getAttribution, getCohorts, getCustomer, getJob, getOrder, getSalesSummary, getTickets,
		handlePrivacyRequest, launchAdCampaign, listAdAccounts, listCampaigns, pause, preflight, previewCampaign, publishPage,
		refundOrder, requestAction, searchCustomers, searchOrders, searchProducts, sendCampaign, setAdBudget, setPrices, undo,
		updateCampaign, updateCustomer, updateProduct, whoami,
	}
}

// nothing is the Undo of every read.
const nothing = "nothing to undo"

// Asked are the arguments of every tool that people may have to agree to. What they mean is told once, in the instructions of the MCP
// server, as it is of Tried and Paging: they stand in nearly every tool, and every client pays for the list of tools. The form
// of a key and the length of a reason are held by the gate.
type Asked struct {
	IdempotencyKey string `json:"idempotency_key"`
	Reason         string `json:"reason"`
	DryRun         bool   `json:"dry_run,omitempty"`
}

// Tried are the arguments of every other write: its idempotency key may be left out, for done twice it harms nobody.
type Tried struct {
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	DryRun         bool   `json:"dry_run,omitempty"`
}

// Paging are the arguments of every list.
type Paging struct {
	Limit  int    `json:"limit,omitempty" jsonschema:"minimum=1,maximum=50"`
	Cursor string `json:"cursor,omitempty"`
}

// Paged is what every list says beside its rows.
type Paged struct {
	Total      int    `json:"total"`
	NextCursor string `json:"next_cursor,omitempty"`
	Cut
}

// Cut says that an answer is not whole because it would be too long.
type Cut struct {
	Truncated bool   `json:"truncated,omitempty"`
	Narrow    string `json:"narrow,omitempty"` // how to see the rest
}

// An Amount is money in arguments. It has shop.Money's fields; its bounds are not in the schema, where a dozen tools would show
// them, but in wrong.
type Amount struct {
	AmountMinor int64  `json:"amount_minor"`
	Currency    string `json:"currency" jsonschema:"enum=GBP,enum=EUR,enum=USD"`
}

// Untrusted is text that somebody outside wrote: to be read as data, never as instructions.
type Untrusted struct {
	From string `json:"from"`
	Text string `json:"untrusted_text"`
}

// untrusted quotes somebody outside, and marks the call as one whose answer does. Without a text there is nothing to quote.
func untrusted(c *tools.Call, from, text string) *Untrusted {
	if text == "" {
		return nil
	}
	c.QuoteOutsider()
	return &Untrusted{From: from, Text: text}
}

// desk gives the caller's shop.
func desk(c *tools.Call) (*shop.Desk, error) {
	d, err := shop.At(c.Tx, c.Principal.Merchant)
	d.Rest = cmp.Or(c.ContactRest, d.Rest)
	return d, err
}

// asksShop is for tools that begin with their desk.
func asksShop[In any](c *tools.Call, _ In) { _, _ = desk(c) }

// maxAmount bounds an Amount, far above what a shop has to say and far below what sums of them could overflow.
const maxAmount = 100_000_000

// wrong says what is wrong with a as the shop's money, nil when nothing is. There is no rate to turn other money into it.
func (a Amount) wrong(field string, of *shop.Desk) *schemas.Wrong {
	switch {
	case a.Currency != of.Currency:
		return &schemas.Wrong{Field: field + ".currency", Problem: "is not the currency of the shop", Expected: of.Currency, Example: of.Currency}
	case a.AmountMinor < 0 || a.AmountMinor > maxAmount:
		return &schemas.Wrong{
			Field: field + ".amount_minor", Problem: "is out of bounds", Expected: fmt.Sprintf("a whole number from 0 to %d", maxAmount), Example: 1230,
		}
	}
	return nil
}

// inCurrency gives a as the shop's money.
func (a Amount) inCurrency(field string, of *shop.Desk) (shop.Money, error) {
	if w := a.wrong(field, of); w != nil {
		return shop.Money{}, tools.WrongFields([]schemas.Wrong{*w})
	}
	return shop.Money(a), nil
}

// maxAnswer bounds the JSON of one answer, in bytes, and rowsRoom what its rows may take of it.
const (
	maxAnswer = 24 << 10
	rowsRoom  = maxAnswer - 1<<10
)

// fit says how many of rows, from the first, fit into room bytes of JSON.
func fit[T any](rows []T, room int) (int, error) {
	for i, row := range rows {
		b, err := json.Marshal(row)
		if err != nil {
			return 0, fmt.Errorf("measuring the answer: %w", err)
		}
		if room -= len(b) + 1; room < 0 {
			return i, nil
		}
	}
	return len(rows), nil
}

// fitText cuts a text so that it takes at most room bytes of JSON, and reports whether it is still whole.
func fitText(text string, room int) (fitting string, whole bool, err error) {
	for whole = true; ; whole = false {
		b, err := json.Marshal(text)
		if err != nil {
			return "", false, fmt.Errorf("measuring the answer: %w", err)
		}
		if len(b) <= room {
			return text, whole, nil
		}
		end := len(text) * room / len(b)
		for !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
}

// pageOf makes a page's rows and what is said beside them. When they are too long the page ends early and the next one
// begins there.
func pageOf[T any](c *tools.Call, rows []T, places []shop.Place, total int, more bool) ([]T, Paged, error) {
	p := Paged{Total: total}
	if rows == nil {
		rows = []T{}
	}
	n, err := fit(rows, rowsRoom)
	if err != nil {
		return nil, p, err
	}
	if n < len(rows) {
		p.Cut = Cut{true, "Go on with next_cursor, or filter more."}
	}
	if n > 0 && (more || n < len(rows)) {
		p.NextCursor, err = cursorAt(c, places[n-1])
	}
	return rows[:n], p, err
}

// cursorAt writes a place as a cursor, sealed for its caller, tool and filter. It opens nothing: every page is judged and
// filtered afresh.
func cursorAt(c *tools.Call, at shop.Place) (string, error) {
	binding, err := listOf(c)
	if err != nil {
		return "", err
	}
	place, err := json.Marshal(at)
	if err != nil {
		return "", fmt.Errorf("writing a cursor: %w", err)
	}
	return auth.Seal(c.Tx, place, binding)
}

// open gives the caller's shop and which page of it is asked for: how every list begins.
func (p Paging) open(c *tools.Call) (*shop.Desk, shop.Cut, error) {
	cut, err := p.cut(c)
	if err != nil {
		return nil, cut, err
	}
	d, err := desk(c)
	return d, cut, err
}

// cut reads which page is asked for.
func (p Paging) cut(c *tools.Call) (shop.Cut, error) {
	limit := p.Limit
	if limit == 0 {
		limit = 10
	}
	if p.Cursor == "" {
		return shop.Cut{Limit: limit}, nil
	}
	binding, err := listOf(c)
	if err != nil {
		return shop.Cut{}, err
	}
	var at shop.Place
	place, err := auth.Unseal(c.Tx, p.Cursor, binding)
	if err == nil && json.Unmarshal(place, &at) != nil {
		err = auth.ErrForeign
	}
	if errors.Is(err, auth.ErrForeign) {
		err = tools.Wrong("cursor", "does not belong to this list", "next_cursor of the page before, with all other arguments as they were", nil)
	}
	return shop.Cut{After: &at, Limit: limit}, err
}

// listOf names a list: its reader, its tool and its filter, which is the arguments but for those that only choose the page.
func listOf(c *tools.Call) (string, error) {
	var filter map[string]json.RawMessage
	if err := json.Unmarshal(c.Args, &filter); err != nil {
		return "", fmt.Errorf("reading the filter: %w", err)
	}
	delete(filter, "cursor")
	delete(filter, "limit")
	text, err := json.Marshal(filter)
	if err != nil {
		return "", fmt.Errorf("reading the filter: %w", err)
	}
	return strings.Join([]string{c.Principal.Chain()[0], c.Tool.Name, string(text)}, "\x00"), nil
}

// count writes a number of things: 1 customer, 2,184 customers.
func count(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return shop.Thousands(n) + " " + thing + "s"
}

// daysInOrder refuses days that do not exist or are the wrong way round. An empty day is none.
func daysInOrder(fromField, from, toField, to string) error {
	if from != "" && to != "" && to < from {
		return tools.Wrong(toField, "is before "+fromField, "a day from "+fromField+" on", nil)
	}
	return nil
}
