package dtc

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// An updateCustomerIn can end consents and give none: consent is the customer's own to give.
type updateCustomerIn struct {
	CustomerNo      string   `json:"customer_no" jsonschema:"pattern=^[^@ ]{1\\,20}$"`
	ExpectedVersion int64    `json:"expected_version"`
	AddTags         []string `json:"add_tags,omitempty" jsonschema:"maxItems=10,pattern=^[a-z0-9][a-z0-9_-]{0\\,39}$"`
	RemoveTags      []string `json:"remove_tags,omitempty" jsonschema:"maxItems=10"`
	OptOut          []string `json:"opt_out,omitempty" jsonschema:"maxItems=2,enum=email,enum=sms"`
	Tried
}

type updateCustomerOut struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
}

var updateCustomer = tools.Define(tools.Spec{
	Name: "dtc_update_customer", Path: "customers.update", Title: "Update a customer",
	Description: "Adds and removes tags of a customer, and ends consent to e-mail or SMS when the customer asks; it never gives " +
		"consent. Read the version with dtc_get_customer. To erase data use dtc_handle_privacy_request.",
	Scope: "customers:write", Risk: tools.Risk{Undo: 2, Blast: 1}, Resource: "customer:/customer_no",
	Undo:    "Tags: dtc_undo. An opt-out stands until the customer signs up again",
	Example: `{"customer_no":"1002","expected_version":1,"add_tags":["vip"]}`,
	Routes:  []tools.Route{{Method: "PATCH", Path: "/customers/{customer_no}"}},
}, tools.Func[updateCustomerIn, updateCustomerOut]{
	Preview: previewUpdateCustomer, Write: changeCustomer,
	Undo: tools.Reversible(keepTags, restoreTags),
})

// maxTags is how many tags one customer may have.
const maxTags = 50

// A customerPlan is what an update would do to the customer as it is now.
type customerPlan struct {
	desk     *shop.Desk
	customer shop.Customer
	tags     []string // after it
	optOut   []string // consents that it ends
}

func (p customerPlan) retags() bool { return !slices.Equal(p.tags, p.customer.Tags) }

// plan holds the customer to what the caller saw and leaves out what is so already.
func (in updateCustomerIn) plan(c *tools.Call) (customerPlan, error) {
	var p customerPlan
	var err error
	if p.desk, err = desk(c); err != nil {
		return p, err
	}
	if p.customer, err = p.desk.Customer(in.CustomerNo); err != nil {
		return p, err
	}
	switch {
	case !p.customer.ErasedAt.IsZero():
		return p, errErased()
	case p.customer.Version != in.ExpectedVersion:
		return p, staleCustomer(p.customer)
	}
	if p.tags, err = in.retagged(p.customer.Tags); err != nil {
		return p, err
	}
	for channel, agreed := range map[string]bool{shop.Email: !p.customer.EmailConsentAt.IsZero(), shop.SMS: !p.customer.SMSConsentAt.IsZero()} {
		if agreed && slices.Contains(in.OptOut, channel) {
			p.optOut = append(p.optOut, channel)
		}
	}
	slices.Sort(p.optOut)
	if !p.retags() && len(p.optOut) == 0 {
		return p, tools.Refuse(tools.Conflict, "Nothing needs to be done.", "The customer has these tags and consents already.")
	}
	return p, nil
}

func errErased() error {
	return tools.Refuse(tools.Conflict, "Leave it: only sums are left.", "The personal values of this customer were erased.")
}

func staleCustomer(p shop.Customer) error {
	return tools.Stale("The customer has changed since it was looked at.", map[string]any{"expected_version": p.Version, "tags": p.Tags})
}

// retagged gives the tags after the update. Tags are told apart whatever the case of their letters.
func (in updateCustomerIn) retagged(tags []string) ([]string, error) {
	has := func(list []string, tag string) bool {
		return slices.ContainsFunc(list, func(t string) bool { return strings.EqualFold(t, tag) })
	}
	for i, tag := range in.AddTags {
		if has(in.RemoveTags, tag) {
			return nil, tools.Wrong(fmt.Sprintf("add_tags[%d]", i), "is to be removed as well", "each tag in one of the two", nil)
		}
	}
	after := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return has(in.RemoveTags, tag) })
	for _, tag := range in.AddTags {
		if !has(after, tag) {
			after = append(after, tag)
		}
	}
	if len(after) > maxTags && len(after) > len(tags) {
		return nil, tools.Refuse(tools.LimitExceeded, "Remove tags that are not needed.", "A customer has at most %d tags.", maxTags)
	}
	return after, nil
}

func previewUpdateCustomer(c *tools.Call, in updateCustomerIn) (tools.Preview, error) {
	plan, err := in.plan(c)
	if err != nil {
		return tools.Preview{}, err
	}
	object := "customer " + plan.customer.No
	p := tools.Preview{Version: strconv.FormatInt(plan.customer.Version, 10)}
	var doing []string
	if plan.retags() {
		doing = append(doing, "change the tags")
		p.Changes = append(p.Changes, tools.Change{Object: object, Field: "tags", From: listed(plan.customer.Tags), To: listed(plan.tags)})
	}
	for _, channel := range plan.optOut {
		doing = append(doing, "end the consent to "+channelWord(channel))
		p.Changes = append(p.Changes, tools.Change{Object: object, Field: channel + " consent", From: "yes", To: "no"})
		p.Irreversible = "Consent that is ended comes back only when the customer gives it again."
	}
	p.Summary = strings.Join(doing, ", ") + " of " + object
	p.Summary = strings.ToUpper(p.Summary[:1]) + p.Summary[1:]
	return p, nil
}

// listed is a list for people; an empty one is said.
func listed(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

func changeCustomer(c *tools.Call, in updateCustomerIn) (updateCustomerOut, error) {
	plan, err := in.plan(c)
	if err != nil {
		return updateCustomerOut{}, err
	}
	version, err := plan.desk.ChangeCustomer(plan.customer, plan.tags, plan.optOut)
	if errors.Is(err, shop.ErrChanged) {
		now, lost := plan.desk.Customer(in.CustomerNo)
		if lost != nil {
			return updateCustomerOut{}, lost
		}
		err = staleCustomer(now)
	}
	return updateCustomerOut{ID: in.CustomerNo, Version: version}, err
}

// A tagImage is what an undo puts back. Consents are no part of it: what a customer has refused, nobody takes back.
type tagImage struct {
	Tags []string `json:"tags"`
}

func keepTags(c *tools.Call, in updateCustomerIn) (tagImage, error) {
	plan, err := in.plan(c)
	if err == nil && !plan.retags() {
		err = tools.ErrNoUndo
	}
	return tagImage{plan.customer.Tags}, err
}

func restoreTags(c *tools.Call, in updateCustomerIn, out updateCustomerOut, image tagImage) error {
	d, err := desk(c)
	if err != nil {
		return err
	}
	p, err := d.Customer(in.CustomerNo)
	if err != nil {
		return err
	}
	p.Version = out.Version
	_, err = d.ChangeCustomer(p, image.Tags, nil)
	return err
}
