package auth

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A Place is where a page of a list ends: the next one begins behind it.
type Place struct {
	At time.Time `json:"at"`
	ID string    `json:"id"`
}

// A Page says which part of a list is asked for.
type Page struct {
	State string // active, revoked, or "" for all
	After Place  // the zero place is the beginning
	Limit int
}

// states are what a list can be narrowed to. An expired key or person is listed with the active ones: an index cannot know
// what time it is.
var states = map[string]string{"": "", "active": " AND revoked_at IS NULL", "revoked": " AND revoked_at IS NOT NULL"}

// in gives the end of a query for a page: rows of a table with merchant_id, created_at, id and revoked_at, oldest first. The
// order is that of an index, so that a page costs its rows and not the table's.
func (p Page) in(merchant string) (where string, args []any) {
	return ` WHERE merchant_id = $1 AND (created_at, id) > ($2, $3)` + states[p.State] + ` ORDER BY created_at, id LIMIT $4`,
		[]any{merchant, p.After.At.UnixMicro(), p.After.ID, p.Limit}
}

// ListKeys gives a page of a merchant's keys, oldest first.
func ListKeys(tx *store.Tx, merchant string, page Page) ([]Key, error) {
	where, args := page.in(merchant)
	return store.All(tx, scanKey, `SELECT `+keyColumns+` FROM agent_keys`+where, args...)
}

// Place is where a key stands in lists.
func (k Key) Place() Place { return Place{k.CreatedAt, k.ID} }

// Place is where a sub-token stands in lists, which its id says alone.
func (t SubToken) Place() Place { return Place{ID: t.ID} }

// Place is where a session stands in lists, which its id says alone.
func (s Session) Place() Place { return Place{ID: s.ID} }

// A Member is a person with what they may do, as people who administer see it.
type Member struct {
	Person
	Roles []string `json:"roles"`
}

// Place is where a person stands in lists.
func (m Member) Place() Place { return Place{m.CreatedAt, m.ID} }

// ListMembers gives a page of a merchant's people, oldest first.
func ListMembers(tx *store.Tx, merchant string, page Page) ([]Member, error) {
	where, args := page.in(merchant)
	people, err := store.All(tx, scanPerson, `SELECT `+personColumns+` FROM people`+where, args...)
	members := make([]Member, len(people))
	for i, p := range people {
		if members[i], err = p.member(tx); err != nil {
			return nil, err
		}
	}
	return members, err
}

// FindMember gives an active person by name or id.
func FindMember(tx *store.Tx, merchant, nameOrID string) (Member, error) {
	p, err := store.One(tx, scanPerson, `SELECT `+personColumns+` FROM people
		WHERE merchant_id = $1 AND (id = $2 OR name = $2) AND revoked_at IS NULL`, merchant, nameOrID)
	if err != nil {
		return Member{}, err
	}
	return p.member(tx)
}

func (p Person) member(tx *store.Tx) (Member, error) {
	roles, err := store.All(tx, scanText, `SELECT role FROM person_roles WHERE person_id = $1`, p.ID)
	if err != nil {
		return Member{}, fmt.Errorf("reading a person's roles: %w", err)
	}
	slices.Sort(roles)
	return Member{p, roles}, nil
}

func scanText(r store.Row) (s string, err error) { return s, r.Scan(&s) }

// maxHeirs bounds the count of what ends with a principal: agents make sub-tokens, and no number of them may keep people from
// revoking the key at the top.
const maxHeirs = 10_000

// CountHeirs counts the live sub-tokens that hang under a principal, however deep: what ends when it is revoked. It counts no further
// than maxHeirs, and reads none of them.
func CountHeirs(tx *store.Tx, merchant, id string) (n int, err error) {
	err = tx.QueryRow(`SELECT COUNT(*) FROM (SELECT 1 FROM sub_token_above a JOIN sub_tokens t ON t.id = a.sub_token_id
		WHERE a.above_id = $1 AND t.merchant_id = $2 AND t.revoked_at IS NULL AND t.expires_at > $3 LIMIT $4) heirs`,
		id, merchant, store.Micros(tx.Now), maxHeirs).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("counting sub-tokens: %w", err)
	}
	return n, nil
}

// KeysOf gives the keys that a person answers for and that are not revoked.
func KeysOf(tx *store.Tx, person string) ([]string, error) {
	return store.All(tx, scanText, `SELECT id FROM agent_keys WHERE owner_id = $1 AND revoked_at IS NULL ORDER BY id`, person)
}

// SomebodyAdministers reports whether an active person of the merchant holds keys:admin.
func SomebodyAdministers(tx *store.Tx, merchant string) (bool, error) {
	_, err := store.One(tx, scanText, `SELECT p.id FROM roles r JOIN person_roles g ON g.merchant_id = r.merchant_id AND g.role = r.name
			JOIN people p ON p.id = g.person_id
		WHERE r.merchant_id = $1 AND r.scopes LIKE $2 AND p.revoked_at IS NULL LIMIT 1`, merchant, `%"`+string(KeysAdmin)+`"%`)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// ProfilesInUse counts the merchant's live keys, and the agents of issuers, that name each profile of the policy.
func ProfilesInUse(tx *store.Tx, merchant string) (map[string]int, error) {
	inUse := map[string]int{}
	_, err := store.All(tx, func(r store.Row) (n int, err error) {
		var profile string
		err = r.Scan(&profile, &n)
		inUse[profile] += n
		return n, err
	}, `SELECT profile, COUNT(*) FROM agent_keys WHERE merchant_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2) GROUP BY profile
		UNION ALL SELECT profile, COUNT(*) FROM jwt_agents WHERE merchant_id = $1 AND revoked_at IS NULL GROUP BY profile`, merchant, store.Micros(tx.Now))
	if err != nil {
		return nil, fmt.Errorf("counting the profiles in use: %w", err)
	}
	return inUse, nil
}

// Holders counts the active people who have each role of a merchant.
func Holders(tx *store.Tx, merchant string) (map[string]int, error) {
	holders := map[string]int{}
	_, err := store.All(tx, func(r store.Row) (n int, err error) {
		var role string
		err = r.Scan(&role, &n)
		holders[role] = n
		return n, err
	}, `SELECT g.role, COUNT(*) FROM person_roles g JOIN people p ON p.id = g.person_id
		WHERE g.merchant_id = $1 AND p.revoked_at IS NULL GROUP BY g.role`, merchant)
	if err != nil {
		return nil, fmt.Errorf("counting who has which role: %w", err)
	}
	return holders, nil
}
