package dtc

import (
	"errors"
	"fmt"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

type createSegmentIn struct {
	Name  string `json:"name" jsonschema:"minLength=1,maxLength=80"`
	Where Where  `json:"where" jsonschema:"description=At least one condition"`
	Tried
}

type createSegmentOut struct {
	SegmentID    string `json:"segment_id"`
	Customers    int64  `json:"customers"`
	EmailConsent int64  `json:"with_email_consent"`
	SMSConsent   int64  `json:"with_sms_consent"`
}

var createSegment = tools.Define(tools.Spec{
	Name: "dtc_create_segment", Path: "segments.create", Title: "Create a segment",
	Description: "Keeps a rule under a name for dtc_create_campaign; who belongs is found anew at each use. Tells how many belong and " +
		"how many may be written to. Try it first with dtc_search_customers.",
	Scope: "customers:write", Risk: tools.Risk{Undo: 1, DataOut: 1}, Resource: "segment:+",
	Undo:    "dtc_undo archives it, unless a campaign is about to use it",
	Example: `{"name":"Loyal in Germany","where":{"country":"Germany","min_orders":3}}`,
	Routes:  []tools.Route{{Method: "POST", Path: "/segments", Status: 201}},
}, tools.Func[createSegmentIn, createSegmentOut]{
	Preview: previewSegment, Write: addSegment,
	Undo: tools.Reversible(keepNothing[createSegmentIn], archiveSegment),
})

// check gives the rule, if it is one and its name is free.
func (in createSegmentIn) check(c *tools.Call) (d *shop.Desk, rule shop.Rule, err error) {
	if !oneLine(in.Name) {
		return nil, rule, tools.Wrong("name", "holds a character that is not printed", "one line of plain text", "Loyal customers")
	}
	if d, err = desk(c); err != nil {
		return nil, rule, err
	}
	if rule, err = in.Where.rule(d); err != nil {
		return nil, rule, err
	}
	if rule.Everybody() {
		return nil, rule, errAll()
	}
	taken, err := d.SegmentTaken(in.Name)
	if err == nil && taken {
		err = errSegmentTaken()
	}
	return d, rule, err
}

func errAll() error {
	return tools.Wrong("where", "holds no condition", "at least one condition: no segment is everybody", map[string]int{"min_orders": 2})
}

func errSegmentTaken() error {
	return tools.Refuse(tools.Conflict, "Choose another name.", "A segment of this name exists, or did once.")
}

func previewSegment(c *tools.Call, in createSegmentIn) (tools.Preview, error) {
	d, rule, err := in.check(c)
	if err != nil {
		return tools.Preview{}, err
	}
	a, err := d.Audience(rule)
	p := tools.Preview{Summary: fmt.Sprintf("Make the segment “%s”, to which %s belong now: %s may be written to by e-mail, %s by SMS",
		in.Name, count(a.Customers, "customer"), shop.Thousands(a.EmailConsent), shop.Thousands(a.SMSConsent))}
	if a.Customers == 0 {
		p.Warnings = append(p.Warnings, "Nobody belongs to it now.")
	}
	return p, err
}

func addSegment(c *tools.Call, in createSegmentIn) (createSegmentOut, error) {
	d, rule, err := in.check(c)
	if err != nil {
		return createSegmentOut{}, err
	}
	a, err := d.Audience(rule)
	if err != nil {
		return createSegmentOut{}, err
	}
	made, err := d.AddSegment(shop.Segment{Name: in.Name, Rule: rule, CreatedBy: c.Principal.Name})
	if errors.Is(err, shop.ErrChanged) {
		err = errSegmentTaken()
	}
	return createSegmentOut{SegmentID: made.ID, Customers: a.Customers, EmailConsent: a.EmailConsent, SMSConsent: a.SMSConsent}, err
}

func archiveSegment(c *tools.Call, _ createSegmentIn, out createSegmentOut, _ struct{}) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	err = d.ArchiveSegment(out.SegmentID)
	if errors.Is(err, shop.ErrInUse) {
		err = tools.Refuse(tools.Conflict, "Wait for the campaign, or have it stopped.", "A campaign that is scheduled or being sent goes to this segment.")
	}
	return err
}
