package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// A Role is a set of rights that people hold together: what they may do themselves, and what the agents they answer for
// may do at most.
type Role struct {
	Merchant string  `json:"merchant_id"`
	Name     string  `json:"name"`
	Scopes   []Scope `json:"scopes"`
}

// builtIn are the roles that every merchant begins with; patterns are those of ParseScopes. A merchant may change them.
var builtIn = map[string][]string{
	"admin":      {"*:read", "*:write", "orders:*", "customers:*", "marketing:*", "ads:*", "store:*", "actions:*", "keys:*", "policy:*", "webhooks:*", "approvals:resolve"},
	"manager":    {"analytics:*", "catalog:*", "pricing:*", "orders:*", "customers:*", "marketing:*", "ads:*", "store:*", "support:*", "actions:*", "approvals:read", "approvals:resolve"},
	"finance":    {"analytics:*", "catalog:read", "pricing:*", "orders:read", "orders:refund", "ads:read", "ads:spend", "actions:*", "approvals:read", "approvals:resolve", "audit:read"},
	"marketing":  {"analytics:*", "catalog:read", "customers:read", "marketing:*", "ads:*", "store:*", "approvals:read", "approvals:resolve"},
	"support":    {"catalog:read", "orders:*", "customers:read", "customers:pii", "customers:write", "support:*", "actions:*", "approvals:read", "approvals:resolve"},
	"security":   {"approvals:read", "approvals:resolve", "keys:*", "audit:read"},
	"compliance": {"customers:read", "customers:erase", "approvals:read", "approvals:resolve", "audit:read"},
}

// ensureRoles gives a merchant the roles it begins with, as far as they are not there.
func ensureRoles(tx *store.Tx, merchant string) error {
	for _, name := range slices.Sorted(maps.Keys(builtIn)) { // one order for all
		scopes, err := ParseScopes(builtIn[name], AllScopes)
		if err != nil {
			return fmt.Errorf("the role %s: %w", name, err)
		}
		if _, err := tx.Exec(`INSERT INTO roles (merchant_id, name, scopes) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, merchant, name, list(scopes)); err != nil {
			return fmt.Errorf("storing a role: %w", err)
		}
	}
	return nil
}

// Sentinels of roles.
var (
	ErrNoRole    = errors.New("there is no such role")
	ErrRoleInUse = errors.New("people have this role")
)

// maxRoles bounds the roles of a merchant. They are listed whole.
const maxRoles = 100

var goodRole = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)

// ListRoles gives all roles of a merchant by name.
func ListRoles(tx *store.Tx, merchant string) ([]Role, error) {
	roles, err := store.All(tx, scanRole, `SELECT merchant_id, name, scopes FROM roles WHERE merchant_id = $1 LIMIT $2`, merchant, maxRoles)
	slices.SortFunc(roles, func(a, b Role) int { return strings.Compare(a.Name, b.Name) })
	return roles, err
}

// FindRole gives a merchant's role. One that is not there is ErrNoRole.
func FindRole(tx *store.Tx, merchant, name string) (Role, error) {
	r, err := store.One(tx, scanRole, `SELECT merchant_id, name, scopes FROM roles WHERE merchant_id = $1 AND name = $2`, merchant, name)
	if errors.Is(err, store.ErrNotFound) {
		err = ErrNoRole
	}
	return r, err
}

func scanRole(r store.Row) (role Role, err error) {
	return role, r.Scan(&role.Merchant, &role.Name, jsonList(&role.Scopes))
}

// PutRole makes a role, or changes what it holds. Whoever has it has other rights from then on, and needs another link to sign in with: the
// one that waits was made by somebody who may hold less.
func PutRole(tx *store.Tx, r Role) error {
	if !goodRole.MatchString(r.Name) {
		return &Unfit{"role", "has no good name", "a letter, then letters, digits, - and _, at most 40 in all, in lower case, such as buyer"}
	}
	for _, s := range r.Scopes {
		if !slices.Contains(AllScopes, s) {
			return &Unfit{"scopes", "hold one that there is not", "some of " + joinScopes(AllScopes)}
		}
	}
	n, err := tx.Exec(`INSERT INTO roles (merchant_id, name, scopes) VALUES ($1, $2, $3)
		ON CONFLICT (merchant_id, name) DO UPDATE SET scopes = excluded.scopes`, r.Merchant, r.Name, list(r.Scopes))
	if err != nil || n != 1 {
		return fmt.Errorf("storing a role: %w", err)
	}
	if err := dropLinks(tx, r.Merchant, r.Name); err != nil {
		return err
	}
	var all int
	if err := tx.QueryRow(`SELECT COUNT(*) FROM roles WHERE merchant_id = $1`, r.Merchant).Scan(&all); err != nil {
		return fmt.Errorf("counting roles: %w", err)
	}
	if all > maxRoles {
		return &Unfit{"role", "is one too many", fmt.Sprintf("at most %d roles", maxRoles)}
	}
	return nil
}

// DeleteRole forgets a role that no active person has.
func DeleteRole(tx *store.Tx, merchant, name string) error {
	_, err := tx.Exec(`DELETE FROM person_roles WHERE merchant_id = $1 AND role = $2
		AND person_id IN (SELECT id FROM people WHERE revoked_at IS NOT NULL)`, merchant, name)
	if err != nil {
		return fmt.Errorf("deleting a role: %w", err)
	}
	n, err := tx.Exec(`DELETE FROM roles WHERE merchant_id = $1 AND name = $2
		AND NOT EXISTS (SELECT 1 FROM person_roles WHERE merchant_id = $1 AND role = $2)`, merchant, name)
	switch {
	case err != nil:
		return fmt.Errorf("deleting a role: %w", err)
	case n == 1:
		return nil
	}
	if _, err := FindRole(tx, merchant, name); err != nil {
		return err
	}
	return ErrRoleInUse
}

// GiveRoles makes these a person's roles, and no others. A link to sign in with that waits for the person ends, as with PutRole.
func GiveRoles(tx *store.Tx, merchant, person string, roles []string) error {
	n, err := tx.Exec(`UPDATE people SET version = version + 1 WHERE merchant_id = $1 AND id = $2 AND revoked_at IS NULL`, merchant, person)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("changing a person's roles: %w", err)
	}
	if _, err := tx.Exec(`DELETE FROM person_roles WHERE person_id = $1`, person); err != nil {
		return fmt.Errorf("changing a person's roles: %w", err)
	}
	if err := dropLink(tx, merchant, person); err != nil {
		return err
	}
	for _, role := range slices.Compact(slices.Sorted(slices.Values(roles))) {
		n, err := tx.Exec(`INSERT INTO person_roles (person_id, merchant_id, role) SELECT $1, merchant_id, name FROM roles
			WHERE merchant_id = $2 AND name = $3`, person, merchant, role)
		if err == nil && n == 0 {
			err = ErrNoRole
		}
		if err != nil {
			return fmt.Errorf("giving the role %q: %w", role, err)
		}
	}
	return nil
}

// rightsOf gives the scopes of all roles of a person.
func rightsOf(tx *store.Tx, person string) ([]Scope, error) {
	all, err := store.All(tx, func(r store.Row) (scopes []Scope, err error) {
		return scopes, r.Scan(jsonList(&scopes))
	}, `SELECT r.scopes FROM person_roles p JOIN roles r ON r.merchant_id = p.merchant_id AND r.name = p.role WHERE p.person_id = $1`, person)
	if err != nil {
		return nil, fmt.Errorf("reading a person's rights: %w", err)
	}
	scopes := slices.Concat(all...)
	slices.Sort(scopes)
	return slices.Compact(scopes), nil
}

// RolesOf gives the names of a person's roles.
func RolesOf(tx *store.Tx, person string) ([]string, error) {
	return store.All(tx, func(r store.Row) (name string, err error) { return name, r.Scan(&name) },
		`SELECT role FROM person_roles WHERE person_id = $1 ORDER BY role`, person)
}

// list writes a list as it is stored: JSON, and [] for none.
func list[T any](all []T) string {
	if len(all) == 0 {
		return "[]"
	}
	raw, err := json.Marshal(all)
	if err != nil {
		panic(err) // lists of texts always can be written
	}
	return string(raw)
}

// jsonList scans a stored list.
func jsonList[T any](into *[]T) *storedList[T] { return (*storedList[T])(into) }

type storedList[T any] []T

// Scan implements sql.Scanner.
func (l *storedList[T]) Scan(v any) error {
	text, ok := v.(string)
	if !ok {
		return fmt.Errorf("a list is stored as text, not as %T", v)
	}
	return json.Unmarshal([]byte(text), (*[]T)(l))
}
