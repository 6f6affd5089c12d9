package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// An AddedPerson is a person with their token, which exists in this answer only.
type AddedPerson struct {
	auth.Member
	Token string `json:"token"`
}

// AddPerson adds a person with roles. Whoever adds one gives no right that they do not hold.
func (g *Gate) AddPerson(ctx context.Context, by By, name string, roles ...string) (AddedPerson, error) {
	op := Op{Event: "person.added", Scope: auth.KeysAdmin, Recent: true}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (a AddedPerson, e audit.Entry, err error) {
		roles = sorted(roles)
		if err = mayAppoint(tx, p, roles); err == nil {
			a.Person, a.Token, err = auth.AddPerson(tx, p.Merchant, name, roles...)
		}
		a.Roles = roles
		e = audit.Entry{Resource: "person:" + a.ID, Reason: "roles: " + words(roles), Personal: map[string]string{"name": a.Name}}
		return a, e, err
	})
}

// GiveRoles makes these the roles of a person, by name or id, and no others.
func (g *Gate) GiveRoles(ctx context.Context, by By, nameOrID string, roles []string) (auth.Member, error) {
	op := Op{Event: "person.roles", Scope: auth.KeysAdmin}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (auth.Member, audit.Entry, error) {
		m, err := auth.FindMember(tx, p.Merchant, nameOrID)
		if err != nil {
			return m, audit.Entry{}, noPerson(err)
		}
		before := m.Roles
		m.Roles = sorted(roles)
		if more := without(m.Roles, before); len(more) > 0 {
			if err := errors.Join(mayAppoint(tx, p, more), confirmed(tx, p)); err != nil {
				return m, audit.Entry{}, err
			}
		}
		if err := auth.GiveRoles(tx, p.Merchant, m.ID, m.Roles); err != nil {
			return m, audit.Entry{}, err
		}
		e := audit.Entry{Resource: "person:" + m.ID, Reason: became([]part{{"roles", words(before), words(m.Roles)}})}
		return m, e, staysOpen(tx, p)
	})
}

// An Invitation is a link with which a person signs in, once. It exists in this answer only.
type Invitation struct {
	Person    string    `json:"person_id"`
	Link      string    `json:"link"` // the secret follows behind a #, which browsers do not send and servers do not log
	ExpiresAt time.Time `json:"expires_at"`
}

// linkPath is the page of links to sign in with.
const linkPath = "/sign-in/link#"

// Invite makes the link with which a person, by name or id, signs in once to the server at an address. Whoever has the link is that
// person, so it takes every right of theirs to make it.
func (g *Gate) Invite(ctx context.Context, by By, nameOrID, address string, good time.Duration) (Invitation, error) {
	op := Op{Event: "person.invited", Scope: auth.KeysAdmin, Recent: true}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (in Invitation, e audit.Entry, err error) {
		m, err := auth.FindMember(tx, p.Merchant, nameOrID)
		if err != nil {
			return in, e, noPerson(err)
		}
		if err := mayAppoint(tx, p, m.Roles); err != nil {
			return in, e, err
		}
		secret, expires, err := auth.MintLink(tx, p.Merchant, m.ID, good)
		return Invitation{m.ID, address + linkPath + secret, expires}, audit.Entry{Resource: "person:" + m.ID}, err
	})
}

// A NewToken is a person's token in place of the one before, which exists in this answer only.
type NewToken struct {
	Person string `json:"person_id"`
	Token  string `json:"token"`
}

// NewToken gives a person, by name or id, a token in place of the one before. A token carries the rights that its person had when it was made,
// and no more later; whoever makes one sees it, so it takes every right of the person.
func (g *Gate) NewToken(ctx context.Context, by By, nameOrID string) (NewToken, error) {
	op := Op{Event: "person.token", Scope: auth.KeysAdmin, Recent: true}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (n NewToken, e audit.Entry, err error) {
		m, err := auth.FindMember(tx, p.Merchant, nameOrID)
		if err != nil {
			return n, e, noPerson(err)
		}
		if err := mayAppoint(tx, p, m.Roles); err != nil {
			return n, e, err
		}
		n.Person = m.ID
		n.Token, err = auth.NewToken(tx, p.Merchant, m.ID)
		return n, audit.Entry{Resource: "person:" + m.ID}, err
	})
}

// A RevokedPerson says what ended with a person.
type RevokedPerson struct {
	ID        string `json:"id"`
	Keys      int    `json:"keys"`       // they answered for
	SubTokens int    `json:"sub_tokens"` // under those
	Waiting   int    `json:"waiting"`    // calls of these that were parked or queued, and will not run
}

// RevokePerson ends a person, by name or id, and all that is done in their name: their tokens and sessions, and the keys that they
// answer for with everything under those. The votes they have cast stand in the record, and carry nothing any more.
func (g *Gate) RevokePerson(ctx context.Context, by By, nameOrID string) (RevokedPerson, error) {
	op := Op{Event: "person.revoked", Scope: auth.KeysAdmin}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (r RevokedPerson, e audit.Entry, err error) {
		m, err := auth.FindMember(tx, p.Merchant, nameOrID)
		if err == nil {
			r.ID, err = m.ID, auth.RevokePerson(tx, p.Merchant, m.ID)
		}
		if err == nil {
			err = staysOpen(tx, p)
		}
		if err != nil {
			return r, e, noPerson(err)
		}
		keys, err := auth.KeysOf(tx, m.ID)
		if err != nil {
			return r, e, err
		}
		r.Keys = len(keys)
		r.SubTokens, r.Waiting, err = dying(tx, p.Merchant, keys...)
		e = audit.Entry{
			Resource: "person:" + m.ID, Personal: map[string]string{"name": m.Name},
			Reason: fmt.Sprintf("with it end %d keys, %d sub-tokens and %d waiting calls", r.Keys, r.SubTokens, r.Waiting),
		}
		return r, e, err
	})
}

// People gives a page of the merchant's people, oldest first.
func (g *Gate) People(ctx context.Context, by By, l Listing) (Listed[auth.Member], error) {
	return examine(ctx, g, by, Op{Event: "person.read", Scope: auth.KeysAdmin}, func(tx *store.Tx, p auth.Principal) (Listed[auth.Member], string, error) {
		page, err := list(tx, p, "people", l, auth.ListMembers)
		return page, "person:*", err
	})
}

// AllSubTokens gives a page of the merchant's sub-tokens, newest first, whoever gave them out.
func (g *Gate) AllSubTokens(ctx context.Context, by By, l Listing) (Listed[auth.SubToken], error) {
	op := Op{Event: eventListed, Scope: auth.KeysAdmin}
	return examine(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (Listed[auth.SubToken], string, error) {
		if l.State != "" {
			return Listed[auth.SubToken]{}, "", tools.Wrong("state", "is not known of sub-tokens", "nothing: the list says the state of each", nil)
		}
		page, err := list(tx, p, "sub-tokens", l, func(tx *store.Tx, merchant string, page auth.Page) ([]auth.SubToken, error) {
			return auth.ListSubTokens(tx, merchant, merchant, page.After.ID, page.Limit)
		})
		return page, "sub_token:*", err
	})
}

// Roles gives all roles of the merchant.
func (g *Gate) Roles(ctx context.Context, by By) ([]auth.Role, error) {
	return examine(ctx, g, by, Op{Event: "role.read", Scope: auth.KeysAdmin}, func(tx *store.Tx, p auth.Principal) ([]auth.Role, string, error) {
		roles, err := auth.ListRoles(tx, p.Merchant)
		return roles, "role:*", err
	})
}

// PutRole makes a role, or changes what it holds for everybody who has it.
func (g *Gate) PutRole(ctx context.Context, by By, name string, scopes []string) (auth.Role, error) {
	op := Op{Event: "role.put", Scope: auth.KeysAdmin}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (auth.Role, audit.Entry, error) {
		r := auth.Role{Merchant: p.Merchant, Name: name}
		before, err := auth.FindRole(tx, p.Merchant, name)
		if errors.Is(err, auth.ErrNoRole) {
			err = nil
		}
		if err == nil {
			r.Scopes, err = scopesOf(scopes, auth.AllScopes)
		}
		if more := without(r.Scopes, before.Scopes); err == nil && len(more) > 0 {
			err = errors.Join(mayGive(p, more), confirmed(tx, p))
		}
		if err == nil {
			err = auth.PutRole(tx, r)
		}
		if err == nil {
			err = staysOpen(tx, p)
		}
		return r, audit.Entry{Resource: "role:" + name, Reason: became([]part{{"scopes", words(before.Scopes), words(r.Scopes)}})}, err
	})
}

// DeleteRole forgets a role that no active person has.
func (g *Gate) DeleteRole(ctx context.Context, by By, name string) error {
	op := Op{Event: "role.deleted", Scope: auth.KeysAdmin}
	_, err := Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (struct{}, audit.Entry, error) {
		r, err := auth.FindRole(tx, p.Merchant, name)
		if err == nil {
			err = auth.DeleteRole(tx, p.Merchant, name)
		}
		return struct{}{}, audit.Entry{Resource: "role:" + name, Reason: "scopes: " + words(r.Scopes)}, err
	})
	return err
}

// mayAppoint refuses people who would give others a role that holds more than they hold themselves.
func mayAppoint(tx *store.Tx, p auth.Principal, roles []string) error {
	for i, name := range roles {
		r, err := auth.FindRole(tx, p.Merchant, name)
		if errors.Is(err, auth.ErrNoRole) {
			return tools.Wrong(fmt.Sprintf("roles[%d]", i), "is no role", "names of roles, such as manager; list the roles to see them all", "manager")
		}
		if err == nil {
			err = mayGive(p, r.Scopes)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// staysOpen refuses a change that would leave a merchant without anybody who can make such changes. The operator can make them
// at any time, and may leave it so.
func staysOpen(tx *store.Tx, p auth.Principal) error {
	if p.Kind == auth.KindOperator {
		return nil
	}
	open, err := auth.SomebodyAdministers(tx, p.Merchant)
	if err == nil && !open {
		err = tools.Refuse(tools.Conflict, "First give somebody else a role that holds it. The operator can do without, and bring it back: `dtcgate person roles NAME --role admin`.",
			"Nobody would be left who holds keys:admin.")
	}
	return err
}

// noPerson says which people there are to find.
func noPerson(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return tools.Refuse(tools.NotFound, "List the people and use the id of one that is active.", "There is no such active person.")
	}
	return err
}

// sorted gives names in order, each once.
func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

// without gives those of all that are not in some.
func without[T comparable](all, some []T) []T {
	return slices.DeleteFunc(slices.Clone(all), func(a T) bool { return slices.Contains(some, a) })
}

// SessionsOf gives a page of where a person is and was signed in, newest first.
func (g *Gate) SessionsOf(ctx context.Context, by By, person string, l Listing) (Listed[auth.Session], error) {
	op := Op{Event: "session.read", Scope: auth.KeysAdmin}
	return examine(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (Listed[auth.Session], string, error) {
		m, err := auth.FindMember(tx, p.Merchant, person)
		if err != nil {
			return Listed[auth.Session]{}, "", noPerson(err)
		}
		if l.State != "" {
			return Listed[auth.Session]{}, "", tools.Wrong("state", "is not known of sessions", "nothing: the list says when each ends or ended", nil)
		}
		page, err := list(tx, p, "sessions of "+m.ID, l, func(tx *store.Tx, merchant string, page auth.Page) ([]auth.Session, error) {
			return auth.ListSessions(tx, merchant, m.ID, page.After.ID, page.Limit)
		})
		return page, "person:" + m.ID, err
	})
}

// EndedSessions says how many sessions were ended.
type EndedSessions struct {
	Ended int64 `json:"ended"`
}

// RevokeSessionsOf ends a session of a person, or all when none is named. The person stays, and may sign in again.
func (g *Gate) RevokeSessionsOf(ctx context.Context, by By, person, session string) (EndedSessions, error) {
	op := Op{Event: "session.revoked", Scope: auth.KeysAdmin}
	return Administer(ctx, g, by, op, func(tx *store.Tx, p auth.Principal) (EndedSessions, audit.Entry, error) {
		ended := EndedSessions{1}
		m, err := auth.FindMember(tx, p.Merchant, person)
		resource := "person:" + m.ID
		switch {
		case err != nil:
			return ended, audit.Entry{}, noPerson(err)
		case session != "":
			resource, err = "session:"+session, auth.RevokeSession(tx, p.Merchant, m.ID, session)
		default:
			ended.Ended, err = auth.RevokeSessions(tx, p.Merchant, m.ID, "")
		}
		return ended, audit.Entry{Resource: resource, Count: ended.Ended}, err
	})
}
