package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// examine reads something about who may do what, for who may administer it; read gives it with its name for the record. That
// it was read is on record before it is told. Every error is a *tools.Refusal.
func examine[T any](ctx context.Context, g *Gate, by By, op Op, read func(*store.Tx, auth.Principal) (T, string, error)) (T, error) {
	var found T
	var resource string
	id := store.NewID("call", g.db.Now())
	err := g.safely(id, func() error {
		err := g.db.Read(ctx, func(tx *store.Tx) error {
			p, err := permitted(tx, by, op)
			if err == nil {
				found, resource, err = read(tx, p)
			}
			return err
		})
		if err != nil {
			return err
		}
		return g.db.InTx(ctx, func(tx *store.Tx) error {
			_, err := audit.Append(tx, audit.Entry{
				Merchant: by.Principal.Merchant, Event: op.Event, CallID: id, Transport: by.Transport, Source: by.Source, Resource: resource,
				Actor: by.Principal.Chain()[0], Chain: by.Principal.Chain(), Status: string(tools.Done), PolicyVersion: by.Principal.PolicyVersion,
			})
			return err
		})
	})
	if err != nil {
		var none T
		return none, g.refusePerson(ctx, by.Principal, op.Event+".refused", Ballot{Channel: by.Transport, Source: by.Source}, err)
	}
	return found, nil
}

// A Listing asks for a page of a list.
type Listing struct {
	State  string // active, revoked, or "" for all
	Cursor string // of the page before; "" for the first
	Limit  int    // 0: as many as is usual
}

// How long a page of an administrator's list is, in rows.
const (
	usualRows = 50
	maxRows   = 200
)

// A Listed is a page of a list.
type Listed[T any] struct {
	Rows []T
	Next string // cursor of the next page; "" on the last
}

// list reads a page. Its cursor is sealed for its reader, its list and its filter, like those of tools.
func list[T interface{ Place() auth.Place }](tx *store.Tx, p auth.Principal, name string, l Listing,
	read func(tx *store.Tx, merchant string, page auth.Page) ([]T, error),
) (Listed[T], error) {
	page, err := l.page(tx, p, name)
	if err != nil {
		return Listed[T]{}, err
	}
	limit := page.Limit
	page.Limit++ // one more tells whether there are more
	rows, err := read(tx, p.Merchant, page)
	if err != nil || len(rows) <= limit {
		return Listed[T]{Rows: rows}, err
	}
	rows = rows[:limit]
	place, err := json.Marshal(rows[limit-1].Place())
	if err != nil {
		return Listed[T]{}, fmt.Errorf("writing a cursor: %w", err)
	}
	next, err := auth.Seal(tx, place, l.binding(p, name))
	return Listed[T]{rows, next}, err
}

func (l Listing) binding(p auth.Principal, name string) string {
	return strings.Join([]string{"list", p.Chain()[0], name, l.State}, " ")
}

func (l Listing) page(tx *store.Tx, p auth.Principal, name string) (auth.Page, error) {
	page := auth.Page{State: l.State, Limit: l.Limit}
	if page.Limit == 0 {
		page.Limit = usualRows
	}
	switch {
	case page.Limit < 1 || page.Limit > maxRows:
		return page, tools.Wrong("limit", "is out of range", fmt.Sprintf("1 to %d", maxRows), usualRows)
	case !slices.Contains([]string{"", "active", "revoked"}, l.State):
		return page, tools.Wrong("state", "is no state", "active or revoked, or nothing for all", "active")
	case l.Cursor == "":
		return page, nil
	}
	place, err := auth.Unseal(tx, l.Cursor, l.binding(p, name))
	if err == nil && json.Unmarshal(place, &page.After) != nil {
		err = auth.ErrForeign
	}
	if errors.Is(err, auth.ErrForeign) {
		err = tools.Wrong("cursor", "does not belong to this list", "next_cursor of the page before, with the same state", nil)
	}
	return page, err
}

// mayGive refuses people who would give agents or others more than they hold themselves: otherwise whoever administers keys would
// hold everything. The operator holds everything as it is.
func mayGive(p auth.Principal, scopes []auth.Scope) error {
	if p.Kind == auth.KindOperator {
		return nil
	}
	if missing := p.Lacks(scopes); len(missing) > 0 {
		r := lacks(missing, "This credential does not hold the scope %s itself, so that %s cannot give it.", "whoever has it")
		r.Next = "Leave it out, or have somebody do it who holds the scope."
		return r
	}
	return nil
}

// administrative is the refusal for what can be wrong with a change to who may do what; nil for any other error.
func administrative(err error) *tools.Refusal {
	var unfit *auth.Unfit
	var beyond *auth.Beyond
	switch {
	case errors.As(err, &unfit):
		return tools.Wrong(unfit.Field, unfit.Problem, unfit.Expected, nil)
	case errors.As(err, &beyond):
		r := lacks(beyond.Missing, "The "+beyond.Who+" does not hold the scope %s, so that %s could not use it.", "the key")
		r.Next = "Leave it out, or first give the " + beyond.Who + " a role that holds it."
		return r
	case errors.Is(err, auth.ErrNameTaken):
		return tools.Refuse(tools.Conflict, "Choose another name, or first end the person who has it.", "A person of that name exists.")
	case errors.Is(err, auth.ErrNoRole):
		return tools.Refuse(tools.NotFound, "List the roles and use a name as it stands there.", "There is no such role.")
	case errors.Is(err, auth.ErrRoleInUse):
		return tools.Refuse(tools.Conflict, "First give those who have it other roles.", "People have this role.")
	}
	return nil
}

// A part is one part of what something may do, before and after a change.
type part struct{ name, before, after string }

// became says what of something has changed, in one line: which parts, where there are several, and then each before and after.
func became(parts []part) string {
	var names, all []string
	for _, p := range parts {
		if p.before != p.after {
			names = append(names, p.name)
			all = append(all, fmt.Sprintf("%s: %s → %s", p.name, p.before, p.after))
		}
	}
	if len(names) > 1 {
		all = append([]string{"changed: " + strings.Join(names, ",")}, all...)
	}
	return strings.Join(all, "; ")
}

// began says what something new may do, in one line.
func began(parts []part) string {
	var all []string
	for _, p := range parts {
		if p.before != p.after {
			all = append(all, p.name+": "+p.after)
		}
	}
	return strings.Join(all, "; ")
}

// words writes a list for the record.
func words[T ~string](all []T) string {
	texts := make([]string, len(all))
	for i, one := range all {
		texts[i] = string(one)
	}
	return strings.Join(texts, ",")
}
