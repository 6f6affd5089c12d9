package auth

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dtcgate/dtcgate/store"
)

// A Merchant is the tenant that keys, people and all their rows belong to.
type Merchant struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// ErrNoMerchant says that the database is still empty.
var ErrNoMerchant = errors.New("there is no merchant yet: run `dtcgate demo load` or `dtcgate demo import PATH` first")

// EnsureMerchant gives the merchant of that name and makes it when it is not there.
func EnsureMerchant(tx *store.Tx, name string) (Merchant, error) {
	if err := checkName(name); err != nil {
		return Merchant{}, err
	}
	_, err := tx.Exec(`INSERT INTO merchants (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		store.NewID("mer", tx.Now), name, store.Micros(tx.Now))
	if err != nil {
		return Merchant{}, fmt.Errorf("storing the merchant: %w", err)
	}
	m, err := store.One(tx, scanMerchant, `SELECT id, name FROM merchants WHERE name = $1`, name)
	if err != nil {
		return Merchant{}, fmt.Errorf("reading the merchant: %w", err)
	}
	return m, ensureRoles(tx, m.ID)
}

// OnlyMerchant gives the one merchant there is, for a command that names none.
func OnlyMerchant(tx *store.Tx) (Merchant, error) {
	all, err := ListMerchants(tx)
	switch {
	case err != nil:
		return Merchant{}, err
	case len(all) == 0:
		return Merchant{}, ErrNoMerchant
	case len(all) > 1:
		return Merchant{}, fmt.Errorf("there are %d merchants; say which with --merchant: %s", len(all), names(all))
	}
	return all[0], nil
}

// ListMerchants gives all that there are, oldest first.
func ListMerchants(tx *store.Tx) ([]Merchant, error) {
	all, err := store.All(tx, scanMerchant, `SELECT id, name FROM merchants ORDER BY created_at`)
	if err != nil {
		return nil, fmt.Errorf("reading merchants: %w", err)
	}
	return all, nil
}

// FindMerchant gives a merchant by name or id.
func FindMerchant(tx *store.Tx, nameOrID string) (Merchant, error) {
	return store.One(tx, scanMerchant, `SELECT id, name FROM merchants WHERE id = $1 OR name = $1`, nameOrID)
}

func scanMerchant(r store.Row) (Merchant, error) {
	var m Merchant
	return m, r.Scan(&m.ID, &m.Name)
}

func names(all []Merchant) string {
	var b strings.Builder
	for i, m := range all {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(m.Name)
	}
	return b.String()
}

// BeginChange is the first statement of every change to who may do what at a merchant. It waits for what is being done on the
// rights that are to change (Hold) and keeps others from beginning, or making another change, until the transaction ends. A
// transaction that has called Hold must not call it: two of them would wait for each other.
func BeginChange(tx *store.Tx, merchant string) error {
	if err := tx.Own(rightsAt(merchant)); err != nil {
		return err
	}
	n, err := tx.Exec(`UPDATE merchants SET revision = revision + 1 WHERE id = $1`, merchant)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

// PolicyVersion gives the version of the policy that is in force at a merchant; 0 when there is none.
func PolicyVersion(tx *store.Tx, merchant string) (int64, error) {
	version, err := store.One(tx, func(r store.Row) (v int64, err error) {
		return v, r.Scan(&v)
	}, `SELECT policy_version FROM merchants WHERE id = $1`, merchant)
	if err != nil {
		return 0, fmt.Errorf("reading the version of the policy: %w", err)
	}
	return version, nil
}

// policyAt reads what is in force at a merchant, what runs beside it, and what stops p.
func (p *Principal) policyAt(tx *store.Tx, merchant string) (err error) {
	now, err := inForceAt(tx, merchant)
	if err != nil {
		return err
	}
	p.PolicyVersion, p.PolicyShadow = now.policy, now.shadow
	if tx.Snapshot() { // else what was read before may be older
		p.revision = now.revision
	}
	p.Frozen, err = frozenBy(tx, merchant, p.Links)
	return err
}

// inForce is what is in force at a merchant, and under which revision of its rights.
type inForce struct {
	policy   int64
	shadow   string
	revision int64
}

func inForceAt(tx *store.Tx, merchant string) (now inForce, err error) {
	err = tx.QueryRow(`SELECT policy_version, policy_shadow, revision FROM merchants WHERE id = $1`, merchant).Scan(&now.policy, &now.shadow, &now.revision)
	if err != nil {
		err = fmt.Errorf("reading the version of the policy: %w", err)
	}
	return now, err
}

// SetPolicyShadow names the draft that runs beside the version in force, by its hash; "" is none. It is a change of rights: BeginChange comes before it.
func SetPolicyShadow(tx *store.Tx, merchant, from, to string) error {
	n, err := tx.Exec(`UPDATE merchants SET policy_shadow = $1 WHERE id = $2 AND policy_shadow = $3`, to, merchant, from)
	if err == nil && n == 0 {
		err = ErrChanged
	}
	return err
}

// PolicyShadow gives the hash of the draft that runs beside the version in force; "" when there is none.
func PolicyShadow(tx *store.Tx, merchant string) (hash string, err error) {
	if err = tx.QueryRow(`SELECT policy_shadow FROM merchants WHERE id = $1`, merchant).Scan(&hash); err != nil {
		err = fmt.Errorf("reading the shadow of the policy: %w", err)
	}
	return hash, err
}

// SetPolicyVersion puts another version in force. It is a change of rights: BeginChange comes before it.
func SetPolicyVersion(tx *store.Tx, merchant string, from, to int64) error {
	n, err := tx.Exec(`UPDATE merchants SET policy_version = $1 WHERE id = $2 AND policy_version = $3`, to, merchant, from)
	if err == nil && n == 0 {
		err = ErrChanged
	}
	return err
}

// rightsAt names what is locked while rights are used (shared) and changed (owned). It is one name for all of a merchant:
// a call takes one lock however long its chain is, and whatever its rights come from (a role, a parent, who approved it) is held with it.
func rightsAt(merchant string) string { return "rights at " + merchant }

// PolicyVersions gives the version in force at every merchant.
func PolicyVersions(tx *store.Tx) (map[string]int64, error) {
	type version struct {
		merchant string
		version  int64
	}
	all, err := store.All(tx, func(r store.Row) (f version, err error) {
		return f, r.Scan(&f.merchant, &f.version)
	}, `SELECT id, policy_version FROM merchants`)
	if err != nil {
		return nil, fmt.Errorf("reading the versions of policies: %w", err)
	}
	versions := map[string]int64{}
	for _, f := range all {
		versions[f.merchant] = f.version
	}
	return versions, nil
}
