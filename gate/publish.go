package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
	"github.com/dtcgate/dtcgate/gate/rehearsal"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// A Draft is a document beside the version that is in force: what is wrong with it, and what it would change. One with problems changes nothing.
type Draft struct {
	Hash     string           `json:"sha256"`
	Base     int64            `json:"base_version"` // in force; 0: none
	Problems []strict.Problem `json:"problems"`
	Warnings []strict.Problem `json:"warnings"` // allowed, and odd
	Profiles []policy.Shift   `json:"profiles"` // those in use for which it changes something
	Diff     string           `json:"diff"`     // from the version in force, in the unified form

	source, note string
	ready        *policy.Policy
	live         policy.Version   // in force; without a source when it is gone
	rehearsal    rehearsal.Report // where people are asked
}

// What a note may be, in characters.
const maxNote = 500

// DraftPolicy looks at a document as one that may replace the version in force.
func (g *Gate) DraftPolicy(tx *store.Tx, merchant, source string) (Draft, error) {
	d := Draft{Hash: policy.Hash([]byte(source)), source: source, Problems: []strict.Problem{}, Warnings: []strict.Problem{}, Profiles: []policy.Shift{}}
	var err error
	if d.Base, err = auth.PolicyVersion(tx, merchant); err != nil {
		return d, err
	}
	if d.live, err = policy.Find(tx, merchant, d.Base); errors.Is(err, store.ErrNotFound) {
		d.live, err = policy.Version{Number: d.Base}, nil
	}
	if err != nil {
		return d, err
	}
	if err := g.review(tx, merchant, &d); err != nil || len(d.Problems) > 0 {
		return d, err
	}
	d.Diff = d.live.Against(source)
	before, err := g.policyAt(tx.Context(), tx, merchant, d.Base)
	if err != nil && !errors.Is(err, policy.ErrUnreadable) {
		return d, err
	}
	inUse, err := auth.ProfilesInUse(tx, merchant)
	d.Profiles = append(d.Profiles, policy.Shifts(before, d.ready, g.tools, inUse)...)
	return d, err
}

// review finds what is wrong with a draft, and makes one ready with which nothing is.
func (g *Gate) review(tx *store.Tx, merchant string, d *Draft) error {
	roles, err := rolesFor(tx, merchant)
	if err != nil {
		return err
	}
	var problems, warnings []strict.Problem
	if d.ready, problems = policy.New([]byte(d.source), g.tools); len(problems) == 0 {
		problems, warnings = d.ready.Review([]byte(d.source), policy.Catalogue{Registry: g.tools, Roles: roles})
	}
	d.Problems, d.Warnings = append(d.Problems, problems...), append(d.Warnings, warnings...)
	return nil
}

// rolesFor gives the roles of people that a document may name.
func rolesFor(tx *store.Tx, merchant string) ([]policy.Role, error) {
	all, err := auth.ListRoles(tx, merchant)
	if err != nil {
		return nil, err
	}
	holders, err := auth.Holders(tx, merchant)
	roles := make([]policy.Role, len(all))
	for i, r := range all {
		roles[i] = policy.Role{Name: r.Name, People: holders[r.Name], Decides: slices.Contains(r.Scopes, auth.ApprovalsResolve)}
	}
	return roles, err
}

// CheckPolicy looks at a document for who may publish one.
func (g *Gate) CheckPolicy(ctx context.Context, by By, source string) (Draft, error) {
	op := Op{Event: "policy.checked", Scope: auth.PolicyAdmin}
	return examine(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (Draft, string, error) {
		d, err := g.DraftPolicy(tx, p.Merchant, source)
		return d, "policy:*", err
	})
}

// MayPublish asks for the right to look at policies alone.
func (g *Gate) MayPublish(ctx context.Context, by By) error {
	_, err := examine(ctx, g, by, Op{Event: "policy.read", Scope: auth.PolicyAdmin}, func(*store.Tx, auth.Principal) (struct{}, string, error) {
		return struct{}{}, "policy:schema", nil
	})
	return err
}

// Policy gives a version of the policy; 0 is the one in force.
func (g *Gate) Policy(ctx context.Context, by By, number int64) (policy.Version, error) {
	op := Op{Event: "policy.read", Scope: auth.PolicyAdmin}
	return examine(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (policy.Version, string, error) {
		v, err := policy.Find(tx, p.Merchant, number)
		if errors.Is(err, store.ErrNotFound) {
			err = tools.Refuse(tools.NotFound, "List the versions and use the number of one.", "There is no such version of the policy.")
		}
		return v, v.Resource(), err
	})
}

// PolicyVersions gives a page of the versions without their sources, newest first.
func (g *Gate) PolicyVersions(ctx context.Context, by By, l Listing) (Listed[policy.Version], error) {
	op := Op{Event: "policy.read", Scope: auth.PolicyAdmin}
	return examine(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (Listed[policy.Version], string, error) {
		if l.State != "" {
			return Listed[policy.Version]{}, "", tools.Wrong("state", "is not known of versions", "nothing: the list says which is in force", nil)
		}
		page, err := list(tx, p, "policies", l, policy.Page)
		return page, "policy:*", err
	})
}

// A Published says what became of a document that was to be published: a version in force, or a question to people.
type Published struct {
	Status tools.Status `json:"status"` // done, pending_approval
	*policy.Version
	JobID    string           `json:"job_id,omitempty"`
	Approval *tools.Approval  `json:"approval,omitempty"`
	Preview  *tools.Preview   `json:"preview,omitempty"` // what people are shown
	Warnings []strict.Problem `json:"warnings,omitempty"`
	Profiles []policy.Shift   `json:"profiles,omitempty"` // in use, for which it changes something
}

// PublishPolicy puts a document in force as the next version, or asks the people that the version in force wants asked. base is the version
// that the author made the document from; nil: whichever is in force.
//
// The document is made ready before the rights are taken, so that calls wait for a row and not for Cedar. What was in force by then must
// still be so. Once this is acknowledged nothing commits under the version before.
func (g *Gate) PublishPolicy(ctx context.Context, by By, source, note string, base *int64) (Published, error) {
	op := Op{Event: policy.EventPublished, Scope: auth.PolicyAdmin, Recent: true}
	d, err := g.drafted(ctx, by, op, source, note, base)
	if err != nil {
		return Published{}, g.refusePerson(ctx, by.Principal, op.Event+".refused", Ballot{Channel: by.Transport, Source: by.Source}, err)
	}
	made, err := Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (made Published, e audit.Entry, err error) {
		made = Published{Warnings: d.Warnings, Profiles: d.Profiles}
		asks, err := d.mayPublish(p)
		switch {
		case err != nil:
			return made, e, err
		case asks != nil:
			e, err = g.propose(tx, by, p, d, *asks, &made)
			return made, e, err
		}
		v, err := d.enforce(tx, p.Merchant, p.Chain()[0])
		made.Status, made.Version = tools.Done, &v
		return made, v.Entry(), err
	})
	if err == nil && made.Status == tools.Done {
		g.took(by.Principal.Merchant, d, *made.Version)
	}
	return made, err
}

// drafted reads a document as one that is to be published. It is refused whole, with all that is wrong with it.
func (g *Gate) drafted(ctx context.Context, by By, op Op, source, note string, base *int64) (d Draft, err error) {
	err = g.safely("publishing", func() error {
		err := g.db.Read(ctx, func(tx *store.Tx) error {
			p, err := permitted(tx, by, op)
			if err == nil {
				err = fitToPublish(p, source, note, base)
			}
			if err == nil {
				d, err = g.DraftPolicy(tx, p.Merchant, source)
			}
			return err
		})
		d.note = note
		if err == nil {
			err = d.changes()
		}
		if err == nil {
			err = g.rehearsed(ctx, by.Principal.Merchant, &d)
		}
		return err
	})
	return d, err
}

// changes refuses a document that is no policy, or the one in force.
func (d Draft) changes() error {
	switch {
	case len(d.Problems) > 0:
		return unfit(d.Problems)
	case d.live.Source == d.source && d.live.Hash == d.Hash:
		return tools.Refuse(tools.Conflict, "Leave it: nothing would change.", "The document is the one that is in force, version %d.", d.Base)
	}
	return nil
}

// fitToPublish judges what can be judged without reading the document.
func fitToPublish(p auth.Principal, source, note string, base *int64) error {
	n := utf8.RuneCountInString(note)
	switch {
	case base != nil && *base != p.PolicyVersion:
		return staleBase(p.PolicyVersion)
	case strings.TrimSpace(note) == "" || n > maxNote || !utf8.ValidString(note):
		return tools.Wrong("note", "is missing or too long", fmt.Sprintf("1 to %d characters that say why", maxNote), "Refunds over 100 GBP take two people")
	case secret.In(note), secret.In(source):
		return tools.Refuse(tools.InvalidArguments, "Leave it out, and rotate or revoke it.", "The document or its note holds a key or token of this gate.")
	}
	return nil
}

func staleBase(now int64) *tools.Refusal {
	return tools.Stale("Another version of the policy is in force than the document was made from.", map[string]any{"version": now})
}

// unfit refuses a document with everything that is wrong with it.
func unfit(problems []strict.Problem) *tools.Refusal {
	fields := make([]schemas.Wrong, len(problems))
	for i, p := range problems {
		w := schemas.Wrong{Field: p.Path, Problem: fmt.Sprintf("(line %d, column %d) %s", p.Line, p.Column, p.Problem), Expected: p.Expected}
		if w.Field == "" {
			w.Field = "source"
		}
		if p.Suggestion != "" {
			w.Example = p.Suggestion
		}
		fields[i] = w
	}
	r := tools.WrongFields(fields)
	r.Message = fmt.Sprintf("The document has %d problems.", len(problems))
	r.Next = "Correct what is named under errors.fields and publish again. Nothing was stored: the version in force stays."
	return r
}

// mayPublish asks what publishing takes under the version in force, and gives whose consent, if anybody's. Where that version cannot be
// read nobody knows, and a new one is the operator's to publish.
func (d Draft) mayPublish(p auth.Principal) (*policy.Need, error) {
	if p.PolicyVersion != d.Base {
		return nil, staleBase(p.PolicyVersion)
	}
	if d.Base == 0 {
		return nil, nil
	}
	takes, err := d.live.Publishing()
	switch {
	case err != nil && p.Kind != auth.KindOperator:
		return nil, tools.Refuse(tools.Conflict, "Have the operator put one in force: `dtcgate policy publish FILE --note TEXT`.",
			"The version in force cannot be read, so that nobody knows whose consent a new one takes.")
	case err != nil, !takes.Asks():
		return nil, nil
	}
	return takes.Need, nil
}

// enforce puts a draft in force. The transaction owns the merchant's rights.
func (d Draft) enforce(tx *store.Tx, merchant, author string) (policy.Version, error) {
	v, err := policy.Publish(tx, policy.Version{Merchant: merchant, Source: d.source, Author: author, Note: d.note, Diff: d.Diff}, d.Base)
	if errors.Is(err, policy.ErrMoved) {
		return v, staleBase(d.Base + 1)
	}
	v.Source = ""
	return v, err
}

// took has a version at hand that this gate has made ready already.
func (g *Gate) took(merchant string, d Draft, v policy.Version) {
	d.ready.Version = v.Number
	g.policies.keep(merchant, d.ready)
}
