package auth

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// A PersonLink lets the key of a service carry what a person decides there: the service knows the person by an id of its own. The
// service vouches for whoever presses its buttons, the person for it being them.
type PersonLink struct {
	ID        string    `json:"id"`
	Merchant  string    `json:"-"`
	Key       string    `json:"key_id"`
	KeyName   string    `json:"key_name"`
	External  string    `json:"external_id"`
	Person    string    `json:"person_id"`
	CreatedBy string    `json:"created_by"` // as in a chain
	CreatedAt time.Time `json:"created_at"`
}

const (
	// MaxPersonLinks bounds the live links of a person. They are listed whole.
	MaxPersonLinks = 20
	maxExternal    = 200 // bytes
)

// ErrLinked says that a service's id of somebody is linked already, to whomever.
var ErrLinked = errors.New("this id of the service is linked to a person already")

// LinkPerson links a service's key, and its id of a person, to the person. A key that carries nothing and an id that is none are *Unfit; an id
// that is taken is ErrLinked. The caller has made sure that changes of the merchant are made one after the other.
func LinkPerson(tx *store.Tx, merchant, person, key, external, by string) (PersonLink, error) {
	unseen := func(r rune) bool { return r <= ' ' || r == 0x7f }
	if external == "" || len(external) > maxExternal || strings.ContainsFunc(external, unseen) {
		return PersonLink{}, &Unfit{"external_id", "is no id", fmt.Sprintf("the person's id as the service knows it, at most %d bytes without spaces, such as U012AB3CD", maxExternal)}
	}
	k, err := FindKey(tx, merchant, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return PersonLink{}, err
	}
	if err != nil || k.State(tx.Now) != "active" || !k.Carries() {
		return PersonLink{}, &Unfit{"key_id", "is not the key of a service that carries decisions", "the id of an active key that holds " + string(ApprovalsResolve)}
	}
	links, err := PersonLinks(tx, merchant, person)
	if err == nil && len(links) >= MaxPersonLinks {
		err = &Unfit{"external_id", "is one too many", fmt.Sprintf("at most %d linked services; unlink one first", MaxPersonLinks)}
	}
	if err != nil {
		return PersonLink{}, err
	}
	l := PersonLink{
		ID: store.NewID("plk", tx.Now), Merchant: merchant, Key: k.ID, KeyName: k.Name, External: external, Person: person, CreatedBy: by, CreatedAt: tx.Now,
	}
	n, err := tx.Exec(`INSERT INTO person_links (id, merchant_id, key_id, external_id, person_id, created_by, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`, l.ID, l.Merchant, l.Key, l.External, l.Person, l.CreatedBy, store.Micros(l.CreatedAt))
	if err != nil {
		return PersonLink{}, fmt.Errorf("linking a person: %w", err)
	}
	if n == 0 {
		return PersonLink{}, ErrLinked
	}
	return l, nil
}

const personLinkColumns = `l.id, l.merchant_id, l.key_id, k.name, l.external_id, l.person_id, l.created_by, l.created_at
	FROM person_links l JOIN agent_keys k ON k.id = l.key_id`

func scanPersonLink(r store.Row) (l PersonLink, err error) {
	return l, r.Scan(&l.ID, &l.Merchant, &l.Key, &l.KeyName, &l.External, &l.Person, &l.CreatedBy, store.At(&l.CreatedAt))
}

// PersonLinks gives the live links of a person, the oldest first.
func PersonLinks(tx *store.Tx, merchant, person string) ([]PersonLink, error) {
	return store.All(tx, scanPersonLink, `SELECT `+personLinkColumns+`
		WHERE l.merchant_id = $1 AND l.person_id = $2 AND l.revoked_at IS NULL ORDER BY l.id`, merchant, person)
}

// LinkedPerson gives the live link by which a key of a merchant knows somebody. There is none: store.ErrNotFound.
func LinkedPerson(tx *store.Tx, merchant, key, external string) (PersonLink, error) {
	return store.One(tx, scanPersonLink, `SELECT `+personLinkColumns+`
		WHERE l.merchant_id = $1 AND l.key_id = $2 AND l.external_id = $3 AND l.revoked_at IS NULL`, merchant, key, external)
}

// UnlinkPerson ends a link of a person. One that is not there, or ended before, is store.ErrNotFound.
func UnlinkPerson(tx *store.Tx, merchant, person, id, by string) error {
	n, err := tx.Exec(`UPDATE person_links SET revoked_at = $1, revoked_by = $2 WHERE merchant_id = $3 AND person_id = $4 AND id = $5 AND revoked_at IS NULL`,
		store.Micros(tx.Now), by, merchant, person, id)
	if err == nil && n == 0 {
		return store.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("unlinking a person: %w", err)
	}
	return nil
}

// Carriers gives the active keys of a merchant that carry people's decisions, newest first.
func Carriers(tx *store.Tx, merchant string, limit int) ([]Key, error) {
	return store.All(tx, scanKey, `SELECT `+keyColumns+` FROM agent_keys WHERE merchant_id = $1 AND revoked_at IS NULL
		AND (expires_at IS NULL OR expires_at > $2) AND scopes LIKE '%"approvals:resolve"%' ORDER BY created_at DESC, id DESC LIMIT $3`,
		merchant, store.Micros(tx.Now), limit)
}
