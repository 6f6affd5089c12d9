package dtc

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// Kinds of privacy requests.
const (
	exportData = "export"
	eraseData  = "erase"
)

type privacyIn struct {
	CustomerNo string `json:"customer_no" jsonschema:"pattern=^[^@ ]{1\\,20}$"`
	Kind       string `json:"kind" jsonschema:"enum=export,enum=erase"`
	CaseRef    string `json:"case_ref" jsonschema:"pattern=^[A-Za-z0-9][A-Za-z0-9 ._/#-]{0\\,59}$,description=No personal data"`
	Asked
}

type privacyOut struct {
	CustomerNo string `json:"customer_no"`
	Kind       string `json:"kind"`
	Rows       int64  `json:"rows"` // that the export holds, or that the erasure changed or deleted
	ExportURL  string `json:"export_url,omitempty"`
}

var handlePrivacyRequest = tools.Define(tools.Spec{
	Name: "dtc_handle_privacy_request", Path: "customers.privacy", Title: "Handle a privacy request",
	Description: "Answers a legal request, as a job. export: a file of all that the shop holds; export_url opens it for 7 days without a key: " +
		"hand it to nobody else. erase removes personal values for good and keeps sums. To end consent use dtc_update_customer.",
	Scope: "customers:erase", Risk: tools.Risk{Undo: 3, Blast: 1, DataOut: 3}, Class: tools.ClassDestructive, Resource: "customer:/customer_no",
	Undo:    "Erase: none. Export: the file is deleted after 7 days",
	Example: `{"customer_no":"1002","kind":"export","case_ref":"PR-17","idempotency_key":"pr-17","reason":"the customer asked in a ticket"}`,
	Routes:  []tools.Route{{Method: "POST", Path: "/customers/{customer_no}/privacy"}},
}, tools.Func[privacyIn, privacyOut]{
	Preview: previewPrivacy, Step: stepPrivacy, Rate: ratePrivacy, Facts: privacyFacts,
	Ratings: []tools.Rating{{Risk: tools.Risk{Undo: 1, Blast: 1, DataOut: 3}, Class: tools.ClassDestructive}},
})

func ratePrivacy(in privacyIn, _ tools.Preview, r tools.Risk) tools.Risk {
	if in.Kind == exportData {
		r.Undo = 1 // the file goes by itself
	}
	return r
}

// customer reads whom the request is about, and refuses what cannot be answered.
func (in privacyIn) customer(c *tools.Call) (*shop.Desk, shop.Customer, error) {
	d, err := desk(c)
	if err != nil {
		return nil, shop.Customer{}, err
	}
	p, err := d.Customer(in.CustomerNo)
	if err == nil && !p.ErasedAt.IsZero() {
		err = errErased()
	}
	if err == nil {
		err = in.checkWords(p)
	}
	if err == nil && in.Kind == eraseData {
		err = in.checkOpen(c, d)
	}
	return d, p, err
}

// checkWords keeps the customer's contact data out of the arguments, which stay as proof that and why there was an
// erasure.
func (in privacyIn) checkWords(p shop.Customer) error {
	for field, text := range map[string]string{"reason": in.Reason, "case_ref": in.CaseRef, "idempotency_key": in.IdempotencyKey} {
		for _, value := range traceable(p) {
			if strings.Contains(strings.ToLower(text), strings.ToLower(value)) {
				return tools.Wrong(field, "quotes the customer's contact data", "a text without it, for it is kept on record", nil)
			}
		}
	}
	return nil
}

// traceable are the texts by which the customer could be recognized wherever they stand.
func traceable(p shop.Customer) []string {
	var all []string
	for _, text := range []string{p.Email, p.Phone, strings.ReplaceAll(p.Phone, " ", ""), p.Note} {
		if text != "" {
			all = append(all, text)
		}
	}
	return all
}

// checkOpen keeps an erasure from pulling the ground from under calls that wait: what they will do is bound to their
// arguments, which hold words about the customer.
func (in privacyIn) checkOpen(c *tools.Call, d *shop.Desk) error {
	about, err := d.Subjects(in.CustomerNo)
	if err != nil {
		return err
	}
	open, err := c.Traces.Open(c.Tx, c.Principal.Merchant, about, c.Tool.Name)
	if err == nil && open > 0 {
		err = tools.Refuse(tools.Conflict, "Have them decided or cancelled first, then ask again.",
			"%s about this customer, the orders or the tickets still wait.", count(int64(open), "other call"))
	}
	return err
}

func previewPrivacy(c *tools.Call, in privacyIn) (tools.Preview, error) {
	d, p, err := in.customer(c)
	if err != nil {
		return tools.Preview{}, err
	}
	if in.Kind == exportData {
		rows, err := d.Held(p.No)
		return tools.Preview{
			Summary:  fmt.Sprintf("Export what the shop holds about customer %s, %s (case %s)", p.No, count(rows, "row"), in.CaseRef),
			Warnings: []string{"Whoever has the link can read the file for 7 days, without a key."},
		}, err
	}
	traces, err := d.Traces(p.No)
	preview := tools.Preview{
		Irreversible: "What is erased is nowhere else. The number, the country and the sums stay; messages that have left the shop cannot be called back.",
	}
	var rows int64
	for _, t := range traces {
		rows += t.Rows
		if t.Rows > 0 {
			preview.Changes = append(preview.Changes, tools.Change{
				Object: t.Table, Field: "rows with personal values", From: shop.Thousands(t.Rows), To: "0",
			})
		}
	}
	preview.Summary = fmt.Sprintf("Erase the personal values of customer %s for good, %s (case %s)", p.No, count(rows, "row"), in.CaseRef)
	return preview, err
}

func stepPrivacy(c *tools.Call, in privacyIn, p *tools.Progress) (privacyOut, error) {
	d, customer, err := in.customer(c)
	if err != nil {
		return privacyOut{}, err
	}
	out := privacyOut{CustomerNo: customer.No, Kind: in.Kind}
	if in.Kind == eraseData {
		out.Rows, err = stepErase(c, d, customer, p)
		return out, err
	}
	_, token, rows, err := d.AddDossier(customer.No)
	out.Rows, out.ExportURL, p.Done = rows, tools.BasePath+"/exports/"+token, true
	return out, err
}

// lookThrough is how many values of the record one step looks through.
const lookThrough = 5000

// An eraseMark is how far an erasure has looked through the record.
type eraseMark struct {
	From   string `json:"from"`
	Quotes int64  `json:"quotes"`
}

// stepErase first looks through the record for calls about other things that quote the customer, some values a step, so
// that nobody waits long for the database. The last step looks at what has come since, and erases all else at once.
func stepErase(c *tools.Call, d *shop.Desk, customer shop.Customer, p *tools.Progress) (int64, error) {
	var mark eraseMark
	if len(p.Checkpoint) > 0 {
		if err := json.Unmarshal(p.Checkpoint, &mark); err != nil {
			return 0, fmt.Errorf("reading how far the erasure has come: %w", err)
		}
	}
	n, last, err := audit.EraseQuotes(c.Tx, c.Principal.Merchant, traceable(customer), mark.From, lookThrough)
	if err != nil {
		return 0, err
	}
	mark.Quotes += n
	if last == "" {
		p.Done = true
		rows, err := eraseAll(c, d, customer)
		return rows + mark.Quotes, err
	}
	mark.From = last
	p.Note = "looked through the record up to " + last
	p.Checkpoint, err = json.Marshal(mark)
	return mark.Quotes, err
}

// eraseAll is the erasure: the shop's rows, what is on record about the customer, what ended calls hold. The record says
// that it happened. Calls come first, as whoever undoes one has its row before those of the shop, and once more for those
// that were made until the shop's rows were ours.
func eraseAll(c *tools.Call, d *shop.Desk, customer shop.Customer) (int64, error) {
	about, err := d.Subjects(customer.No)
	if err != nil {
		return 0, err
	}
	if _, err := c.Traces.Forget(c.Tx, c.Principal.Merchant, about); err != nil {
		return 0, err
	}
	rows, err := d.Erase(customer)
	if errors.Is(err, shop.ErrChanged) {
		err = tools.Refuse(tools.Conflict, "Ask again.", "The customer was changed at the same moment.")
	}
	if err != nil {
		return 0, err
	}
	jobs, err := c.Traces.Forget(c.Tx, c.Principal.Merchant, about)
	if err != nil {
		return 0, err
	}
	rows += jobs
	_, err = audit.Append(c.Tx, audit.Entry{
		Merchant: c.Principal.Merchant, Event: "data.erased", CallID: c.ID, Actor: c.Principal.Chain()[0], Chain: c.Principal.Chain(),
		Tool: c.Tool.Name, Status: string(tools.Done), Resource: about[0], Customers: 1, Count: rows, PolicyVersion: c.PolicyVersion,
	})
	return rows, err
}
