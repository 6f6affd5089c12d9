package auth

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/store"
)

// A Person may decide about parked calls. Persons are listed without their token.
type Person struct {
	ID        string    `json:"id"`
	Merchant  string    `json:"merchant_id"`
	Name      string    `json:"name"`
	Hint      string    `json:"hint"`
	CreatedAt time.Time `json:"created_at"`
	RevokedAt time.Time `json:"revoked_at,omitzero"`

	version int64
	sum     string // of the token
}

// ErrNameTaken says that an active person of the merchant has the name already.
var ErrNameTaken = errors.New("a person of that name exists")

// ErrEmailTaken says that an active person of the merchant has the e-mail address already.
var ErrEmailTaken = errors.New("another person has this e-mail address")

// AddPerson stores a person with roles and gives the token, which is shown this once.
func AddPerson(tx *store.Tx, merchant, name string, roles ...string) (Person, string, error) {
	if err := checkName(name); err != nil {
		return Person{}, "", err
	}
	token := secret.New(secret.Person)
	p := Person{ID: store.NewID("per", tx.Now), Merchant: merchant, Name: name, Hint: secret.Hint(token), CreatedAt: tx.Now}
	n, err := tx.Exec(`INSERT INTO people (id, merchant_id, name, secret_sha256, hint, created_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		p.ID, p.Merchant, p.Name, secret.Hash(token), p.Hint, store.Micros(p.CreatedAt))
	if err != nil {
		return Person{}, "", fmt.Errorf("storing the person: %w", err)
	}
	if n == 0 {
		return Person{}, "", ErrNameTaken
	}
	if err := GiveRoles(tx, merchant, p.ID, roles); err != nil {
		return Person{}, "", err
	}
	return p, token, boundToken(tx, p.ID)
}

// NewToken gives a person, by id, a token in place of the one before, which ends. It is shown this once.
func NewToken(tx *store.Tx, merchant, id string) (string, error) {
	token := secret.New(secret.Person)
	n, err := tx.Exec(`UPDATE people SET secret_sha256 = $1, hint = $2, version = version + 1 WHERE merchant_id = $3 AND id = $4 AND revoked_at IS NULL`,
		secret.Hash(token), secret.Hint(token), merchant, id)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("storing the token: %w", err)
	}
	return token, boundToken(tx, id)
}

// boundToken notes that a person's token carries the rights that the person has now, and never more: whoever was shown it may not hold
// what the person is given later.
func boundToken(tx *store.Tx, id string) error {
	scopes, err := rightsOf(tx, id)
	if err == nil {
		_, err = tx.Exec(`UPDATE people SET token_scopes = $1 WHERE id = $2`, list(scopes), id)
	}
	if err != nil {
		return fmt.Errorf("binding the token: %w", err)
	}
	return nil
}

// RevokePerson ends a person's token. It answers store.ErrNotFound when no active person has the name or id.
func RevokePerson(tx *store.Tx, merchant, nameOrID string) error {
	n, err := tx.Exec(`UPDATE people SET revoked_at = $1, version = version + 1
		WHERE merchant_id = $2 AND (id = $3 OR name = $3) AND revoked_at IS NULL`, store.Micros(tx.Now), merchant, nameOrID)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

// FindPerson gives the principal of an active person by name or id, for a command line on the server's own machine.
func FindPerson(tx *store.Tx, merchant, nameOrID string) (Principal, error) {
	p, err := store.One(tx, scanPerson, `SELECT `+personColumns+` FROM people
		WHERE merchant_id = $1 AND (id = $2 OR name = $2) AND revoked_at IS NULL`, merchant, nameOrID)
	if err != nil {
		return Principal{}, err
	}
	return p.principal(tx)
}

// Colleagues gives a merchant's active people but for one, by name, at most limit.
func Colleagues(tx *store.Tx, merchant, but string, limit int) ([]Person, error) {
	return store.All(tx, scanPerson, `SELECT `+personColumns+` FROM people
		WHERE merchant_id = $1 AND id <> $2 AND revoked_at IS NULL ORDER BY name, id LIMIT $3`, merchant, but, limit)
}

// SetEmail notes the address under which an identity provider knows a person; "" for none. It answers ErrEmailTaken when an active person
// of the merchant has it. Accounts that were linked before are unlinked: they came in by another address.
func SetEmail(tx *store.Tx, merchant, id, email string) error {
	if email != "" {
		var err error
		if email, err = ParseEmail(email); err != nil {
			return err
		}
		_, err = store.One(tx, scanPerson, `SELECT `+personColumns+` FROM people
			WHERE merchant_id = $1 AND email = $2 AND revoked_at IS NULL AND id <> $3`, merchant, email, id)
		if err == nil {
			return ErrEmailTaken
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	n, err := tx.Exec(`UPDATE people SET email = $1 WHERE merchant_id = $2 AND id = $3 AND revoked_at IS NULL`, email, merchant, id)
	if err != nil {
		return fmt.Errorf("storing an address: %w", err)
	}
	if n == 0 {
		return store.ErrNotFound
	}
	_, err = tx.Exec(`DELETE FROM oidc_identities WHERE merchant_id = $1 AND person_id = $2`, merchant, id)
	return err
}

func authenticatePerson(tx *store.Tx, sum string) (Principal, error) {
	var carries string
	p, err := store.One(tx, func(r store.Row) (Person, error) { return scanPersonAnd(r, &carries) },
		`SELECT `+personColumns+`, COALESCE(token_scopes, '') FROM people WHERE secret_sha256 = $1`, sum)
	if errors.Is(err, store.ErrNotFound) || err == nil && subtle.ConstantTimeCompare([]byte(p.sum), []byte(sum)) != 1 {
		return Principal{}, &Refused{Why: "unknown"}
	}
	if err != nil {
		return Principal{}, fmt.Errorf("reading the person: %w", err)
	}
	var most []Scope
	if carries != "" {
		if err := jsonList(&most).Scan(carries); err != nil {
			return Principal{}, fmt.Errorf("reading the person: %w", err)
		}
		most = append([]Scope{}, most...) // none is not all
	}
	now, err := p.principal(tx)
	now.opener = sum
	return now.atMost(most), err
}

// atMost takes from p what the credential that let it in does not carry; nil carries everything.
func (p Principal) atMost(scopes []Scope) Principal {
	if scopes != nil {
		p.most = scopes
		p.Scopes = slices.DeleteFunc(slices.Clone(p.Scopes), func(s Scope) bool { return !slices.Contains(scopes, s) })
	}
	return p
}

// principal gives the person as who makes a call: with the rights of the roles it has now.
func (p Person) principal(tx *store.Tx) (Principal, error) {
	l := p.link()
	var err error
	if l.Scopes, err = rightsOf(tx, p.ID); err != nil {
		return Principal{}, err
	}
	return l.climb(tx)
}

// link is the person without rights: those are read with the roles.
func (p Person) link() storedLink {
	return storedLink{
		Link:     Link{Kind: KindPerson, ID: p.ID, Name: p.Name, Ceiling: MaxLevel, Version: p.version},
		merchant: p.Merchant, revoked: p.RevokedAt, secrets: keySecrets{sum: p.sum},
	}
}

func personLink(tx *store.Tx, id string) (storedLink, error) {
	p, err := store.One(tx, scanPerson, `SELECT `+personColumns+` FROM people WHERE id = $1`, id)
	return p.link(), err
}

const personColumns = `id, merchant_id, name, hint, created_at, revoked_at, version, secret_sha256`

func scanPerson(r store.Row) (Person, error) { return scanPersonAnd(r) }

func scanPersonAnd(r store.Row, more ...any) (Person, error) {
	var p Person
	err := r.Scan(append([]any{&p.ID, &p.Merchant, &p.Name, &p.Hint, store.At(&p.CreatedAt), store.At(&p.RevokedAt), &p.version, &p.sum}, more...)...)
	return p, err
}
