package approvals

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
)

// A Grant is what people have agreed to beforehand: calls that its template fits, until it is used up, over, or revoked. It takes the place of the
// question and of nothing else: every other check judges each call.
//
// What holds, whatever happens at the same time:
//
//  1. Its uses are never more than Count, nor the amounts of them together more than Total. The database decides it, in the one statement that
//     takes (Take); a CHECK of the table is the second line.
//  2. A template that is not as it was sealed fits nothing.
//  3. Once a revocation is acknowledged no use commits any more.
//
// Whether those who agreed to it may still do so is asked at each use, by package gate.
type Grant struct {
	ID          string     `json:"grant_id"`
	Merchant    string     `json:"-"`
	Approval    string     `json:"approval_id"` // in which people agreed
	State       GrantState `json:"state"`
	Template    Template   `json:"template"`
	Hash        string     `json:"sha256"` // that seals the template
	Fingerprint string     `json:"fingerprint"`
	Uses        int64      `json:"uses"`
	Used        Amounts    `json:"used"`
	MadeBy      string     `json:"made_by"` // as in a chain
	CreatedAt   time.Time  `json:"created_at"`
	RevokedAt   time.Time  `json:"revoked_at,omitzero"`
	RevokedBy   string     `json:"revoked_by,omitempty"`

	Text     []byte `json:"-"` // of the template, as it is sealed
	Resource string `json:"-"` // that the call it was made from is about
}

// A GrantState is where a grant stands.
type GrantState string

// The states of a grant. All but GrantLive are final.
const (
	GrantLive    GrantState = "live"
	GrantUsedUp  GrantState = "used_up" // as often as it may be; what is left of its amounts may still be too little
	GrantOver    GrantState = "over"    // its time is
	GrantRevoked GrantState = "revoked"
	GrantAltered GrantState = "altered" // it does not fit its seal
)

const (
	// MaxGrantTime is how long a grant lasts at most.
	MaxGrantTime = 30 * 24 * time.Hour
	// MaxGrantUses is for how many calls one is at most.
	MaxGrantUses = 1000
	// MaxGrants is how many of one agent may be live.
	MaxGrants = 20
	// maxTemplate bounds a template, in bytes.
	maxTemplate = 32 << 10

	keepGrants = 90 * 24 * time.Hour // after their time
)

// ErrRevoked says that somebody has revoked the grant before.
var ErrRevoked = errors.New("the grant is revoked already")

// NewGrant makes a grant of a template, not yet stored.
func NewGrant(t Template) (Grant, error) {
	text, err := t.Written()
	if err == nil && len(text) > maxTemplate {
		err = fmt.Errorf("the template takes %d bytes, and %d are allowed", len(text), maxTemplate)
	}
	if err != nil {
		return Grant{}, err
	}
	g := Grant{Merchant: t.Merchant, Text: text, Hash: Seal(text), Template: t, State: GrantLive}
	g.Fingerprint = Fingerprint(g.Hash)
	return g, nil
}

// AddGrant stores a grant that people have agreed to, and gives it its id.
func AddGrant(tx *store.Tx, g Grant) (Grant, error) {
	g.ID, g.CreatedAt = store.NewID("gr", tx.Now), tx.Now
	t := g.Template
	_, err := tx.Exec(`INSERT INTO grants (id, merchant_id, approval_id, agent_id, tool, resource, template, sha256, until_at, max_uses, max_money_minor,
			max_customers, made_by, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		g.ID, g.Merchant, g.Approval, t.Agent, t.Tool, g.Resource, string(g.Text), g.Hash, store.Micros(t.Until), t.Count, t.Total.Minor(),
		t.Total.Customers, g.MadeBy, store.Micros(g.CreatedAt))
	if err != nil {
		return g, fmt.Errorf("storing the grant: %w", err)
	}
	return g, recordGrant(tx, g, "grant.made", g.MadeBy, "")
}

// words says in a line what a grant allows.
func (g Grant) words() string {
	t := g.Template
	return fmt.Sprintf("%d calls of %s by %s until %s, %s together", t.Count, t.Tool, t.Agent, t.Until.UTC().Format(time.RFC3339), t.Total)
}

// LiveGrants gives the grants that calls of an agent to a tool may use, in the one order in which they are taken. Those that do not fit their seal
// are among them, as such.
func LiveGrants(tx *store.Tx, merchant, agent, tool string) ([]Grant, error) {
	return store.All(tx, scanGrant(tx.Now), `SELECT `+grantColumns+` FROM grants WHERE merchant_id = $1 AND agent_id = $2 AND tool = $3
		AND until_at > $4 AND revoked_at IS NULL AND uses < max_uses ORDER BY id LIMIT $5`, merchant, agent, tool, store.Micros(tx.Now), MaxGrants)
}

// Granted gives what is live of all that an agent was granted.
func Granted(tx *store.Tx, merchant, agent string) ([]Grant, error) {
	return store.All(tx, scanGrant(tx.Now), `SELECT `+grantColumns+` FROM grants WHERE merchant_id = $1 AND agent_id = $2
		AND until_at > $3 AND revoked_at IS NULL AND uses < max_uses ORDER BY id LIMIT $4`, merchant, agent, store.Micros(tx.Now), MaxGrants)
}

// Grants gives a merchant's grants, newest first: those that are live, or all.
func Grants(tx *store.Tx, merchant string, all bool, limit int) ([]Grant, error) {
	since := tx.Now
	if all {
		since = time.Unix(1, 0)
	}
	found, err := store.All(tx, scanGrant(tx.Now), `SELECT `+grantColumns+` FROM grants WHERE merchant_id = $1 AND until_at > $2
		AND ($3 = 1 OR revoked_at IS NULL AND uses < max_uses) ORDER BY id DESC LIMIT $4`, merchant, store.Micros(since), flag(all), limit)
	if err != nil {
		return nil, fmt.Errorf("listing grants: %w", err)
	}
	return found, nil
}

// FindGrant gives a merchant's grant.
func FindGrant(tx *store.Tx, merchant, id string) (Grant, error) {
	if _, ok := store.IDTime(id); !ok { // no text that PostgreSQL would refuse
		return Grant{}, store.ErrNotFound
	}
	return store.One(tx, scanGrant(tx.Now), `SELECT `+grantColumns+` FROM grants WHERE merchant_id = $1 AND id = $2`, merchant, id)
}

// Take uses a grant up by one call of these amounts, in the transaction of the call, and reports whether there was so much left of it. Whoever takes
// at the same time waits for that transaction, and is counted after it.
func (g Grant) Take(tx *store.Tx, call Amounts) (bool, error) {
	t := g.Template
	if g.State != GrantLive || !call.Within(t.Each) || !call.Within(t.Total) {
		return false, nil
	}
	n, err := tx.Exec(`UPDATE grants SET uses = uses + 1, money_minor = money_minor + $1, customers = customers + $2
		WHERE id = $3 AND sha256 = $4 AND revoked_at IS NULL AND until_at > $5 AND uses < $6 AND money_minor <= $7 AND customers <= $8`,
		call.Minor(), call.Customers, g.ID, g.Hash, store.Micros(tx.Now), t.Count, t.Total.Minor()-call.Minor(), t.Total.Customers-call.Customers)
	if err != nil {
		return false, fmt.Errorf("using a grant: %w", err)
	}
	return n == 1, nil
}

// Leaves reports whether there was so much left of a grant when it was read.
func (g Grant) Leaves(call Amounts) bool {
	t := g.Template
	return g.State == GrantLive && call.Within(t.Each) && call.Within(t.Total) && g.Used.Minor() <= t.Total.Minor()-call.Minor() &&
		g.Used.Customers <= t.Total.Customers-call.Customers
}

// Revoke ends a grant for good. It waits for the calls that use it just now.
func (g Grant) Revoke(tx *store.Tx, by, why string) error {
	n, err := tx.Exec(`UPDATE grants SET revoked_at = $1, revoked_by = $2 WHERE id = $3 AND merchant_id = $4 AND revoked_at IS NULL`,
		store.Micros(tx.Now), by, g.ID, g.Merchant)
	if err := one(n, err, ErrRevoked); err != nil {
		return err
	}
	return recordGrant(tx, g, "grant.revoked", by, why)
}

func recordGrant(tx *store.Tx, g Grant, event, by, why string) error {
	total := g.Template.Total
	e := audit.Entry{
		Merchant: g.Merchant, Event: event, Actor: by, Chain: []string{by}, Tool: g.Template.Tool, Resource: "grant:" + g.ID, ApprovalID: g.Approval,
		Binding: g.Hash, Reason: g.words(), MoneyMinor: total.Minor(), Currency: total.currency(), Customers: total.Customers,
	}
	if why != "" {
		e.Personal = map[string]string{"reason": why}
	}
	_, err := audit.Append(tx, e)
	if err != nil {
		return fmt.Errorf("recording %s: %w", event, err)
	}
	return nil
}

func (a Amounts) currency() string {
	if a.Money == nil {
		return ""
	}
	return a.Money.Currency
}

// ForgetGrants drops grants that are long over.
func ForgetGrants(tx *store.Tx) error {
	_, err := tx.Exec(`DELETE FROM grants WHERE until_at < $1`, store.Micros(tx.Now.Add(-keepGrants)))
	return err
}

// forgetGrants empties the grants that were made from calls about the resources, with the questions that they were. Nothing fits them any more.
func forgetGrants(tx *store.Tx, where string, args []any) error {
	type one struct{ job, approval string }
	asked, err := store.All(tx, func(r store.Row) (o one, err error) { return o, r.Scan(&o.job, &o.approval) },
		`SELECT a.job_id, a.id FROM approvals a WHERE a.id IN (SELECT approval_id FROM grants`+where+`) ORDER BY a.id`, args...)
	if err != nil {
		return err
	}
	for _, o := range asked {
		if _, err := tx.Exec(`UPDATE jobs SET args = '{}', why = '' WHERE id = $1`, o.job); err != nil {
			return err
		}
		if err := forgetRequest(tx, o.approval); err != nil {
			return err
		}
	}
	_, err = tx.Exec(`UPDATE grants SET template = ''`+where, args...)
	return err
}

const grantColumns = `id, merchant_id, approval_id, agent_id, tool, resource, template, sha256, uses, money_minor, customers, made_by, created_at, until_at,
	max_uses, revoked_at, revoked_by`

// scanGrant reads a grant as it stands at a time. One that does not fit its seal is read as such, with an empty template but for what it is about.
func scanGrant(now time.Time) func(store.Row) (Grant, error) {
	return func(r store.Row) (Grant, error) {
		var g Grant
		var agent, tool, text string
		var money, most int64
		var until time.Time
		err := r.Scan(&g.ID, &g.Merchant, &g.Approval, &agent, &tool, &g.Resource, &text, &g.Hash, &g.Uses, &money, &g.Used.Customers, &g.MadeBy,
			store.At(&g.CreatedAt), store.At(&until), &most, store.At(&g.RevokedAt), &g.RevokedBy)
		if err != nil {
			return Grant{}, err
		}
		g.Text, g.Fingerprint = []byte(text), Fingerprint(g.Hash)
		if g.Template, err = Unseal(g.Text, g.Hash); err != nil || !g.Template.is(g.Merchant, agent, tool, until, most) {
			g.Template, g.State = Template{Merchant: g.Merchant, Agent: agent, Tool: tool}, GrantAltered
			return g, nil
		}
		if m := g.Template.Total.Money; m != nil {
			g.Used.Money = &shop.Money{AmountMinor: money, Currency: m.Currency}
		}
		g.State = g.stands(now)
		return g, nil
	}
}

// is reports whether the columns by which a grant is found are what its template says.
func (t Template) is(merchant, agent, tool string, until time.Time, most int64) bool {
	return t.Merchant == merchant && t.Agent == agent && t.Tool == tool && t.Until.Equal(until) && t.Count == most
}

func (g Grant) stands(now time.Time) GrantState {
	switch {
	case !g.RevokedAt.IsZero():
		return GrantRevoked
	case !now.Before(g.Template.Until):
		return GrantOver
	case g.Uses >= g.Template.Count:
		return GrantUsedUp
	}
	return GrantLive
}
