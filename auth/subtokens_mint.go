package auth

import (
	"errors"
	"fmt"
	"time"

	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/store"
)

// maxSubTokens bounds the sub-tokens that hang directly under one principal and still open.
const maxSubTokens = 100

// ErrTooManySubTokens says that a principal has given out as many sub-tokens as it may.
var ErrTooManySubTokens = fmt.Errorf("it has %d sub-tokens that still open; more cannot be given", maxSubTokens)

// MintSubToken stores the sub-token that p gives and gives it with its secret, which is shown this once. p is read with Hold or
// HoldLive in the same transaction, so that it holds what it gives until that is there. What p may not give is *Unfit.
func MintSubToken(tx *store.Tx, p Principal, d Delegation) (SubToken, string, error) {
	t, err := p.Narrow(d, tx.Now)
	if err == nil {
		err = oneMore(tx, p)
	}
	if err != nil {
		return SubToken{}, "", err
	}
	plain := secret.New(secret.SubToken)
	t.ID, t.Hint, t.version = store.NewID("sub", tx.Now), secret.Hint(plain), 1
	_, err = tx.Exec(`INSERT INTO sub_tokens (id, merchant_id, parent_id, name, audience, secret_sha256, hint, scopes, actions, tools, resources, networks,
			ceiling, per_minute, burst, depth, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
		t.ID, t.Merchant, t.Parent, t.Name, t.Audience, secret.Hash(plain), t.Hint, list(t.Scopes), list(t.Actions), list(t.Tools), list(t.Resources), list(t.Networks),
		t.Ceiling.String(), t.Rate.PerMinute, t.Rate.Burst, t.Depth, store.Micros(t.CreatedAt), store.Micros(t.ExpiresAt))
	if err != nil {
		return SubToken{}, "", fmt.Errorf("storing the sub-token: %w", err)
	}
	return t, plain, t.standBelow(tx, p)
}

// oneMore asks whether p may give out one more. The row that counts p's use is taken first, so that of two who mint at once the second
// counts what the first has minted: the links of p are shared by both and keep nobody out.
func oneMore(tx *store.Tx, p Principal) error {
	if err := AddUsage(tx, p.Merchant, p.ID, Used{}); err != nil {
		return err
	}
	var n int
	err := tx.QueryRow(`SELECT COUNT(*) FROM sub_tokens WHERE parent_id = $1 AND expires_at > $2 AND revoked_at IS NULL`, p.ID, store.Micros(tx.Now)).Scan(&n)
	if err != nil {
		return fmt.Errorf("counting sub-tokens: %w", err)
	}
	if n >= maxSubTokens {
		return ErrTooManySubTokens
	}
	return nil
}

// standBelow notes everything that stands above a new sub-token of p.
func (t SubToken) standBelow(tx *store.Tx, p Principal) error {
	rows := [][]any{{t.Merchant, t.ID}}
	for _, l := range p.Links {
		if l.Kind != KindPerson {
			rows = append(rows, []any{l.ID, t.ID})
		}
	}
	if err := tx.Insert("sub_token_above", []string{"above_id", "sub_token_id"}, rows); err != nil {
		return fmt.Errorf("storing the sub-token: %w", err)
	}
	return nil
}

// ListSubTokens gives what stands below somebody, newest first, ended ones too, at most limit of it: above is a key_, jwt_ or sub_ id, or a
// merchant's for all there are. before is the id that the page before ended with, or "".
func ListSubTokens(tx *store.Tx, merchant, above, before string, limit int) ([]SubToken, error) {
	q, args := `SELECT `+subTokenColumns+` FROM sub_token_above a JOIN sub_tokens t ON t.id = a.sub_token_id
		WHERE a.above_id = $1 AND t.merchant_id = $2`, []any{above, merchant}
	if before != "" {
		q, args = q+` AND a.sub_token_id < $3`, append(args, before)
	}
	all, err := store.All(tx, scanSubToken, q+fmt.Sprintf(` ORDER BY a.sub_token_id DESC LIMIT $%d`, len(args)+1), append(args, limit)...)
	if err != nil {
		return nil, fmt.Errorf("listing sub-tokens: %w", err)
	}
	return all, complete(tx, all)
}

// complete says of each sub-token whether it still opens, and how often it was used.
func complete(tx *store.Tx, all []SubToken) error {
	ids := make([]string, len(all))
	for i, t := range all {
		ids[i], all[i].State = t.ID, "active"
		_, err := t.link().climb(tx)
		if refused := (*Refused)(nil); errors.As(err, &refused) {
			all[i].State = refused.Why
		} else if err != nil {
			return fmt.Errorf("reading the chain of a sub-token: %w", err)
		}
	}
	used, err := Usage(tx, ids...)
	for i, id := range ids {
		all[i].Used = used[id]
	}
	return err
}

// RevokeSubToken ends a sub-token for good, and all below it, for the chain of each is climbed on every call. An agent ends itself and
// what is below it, people and the operator every one of their merchant; any other is store.ErrNotFound, as one that never was. One
// that is revoked already stays as it is.
func RevokeSubToken(tx *store.Tx, p Principal, id string) (SubToken, error) {
	t, err := FindSubToken(tx, p, id)
	if err != nil || !t.RevokedAt.IsZero() {
		return t, err
	}
	_, err = tx.Exec(`UPDATE sub_tokens SET revoked_at = $1, version = version + 1 WHERE merchant_id = $2 AND id = $3 AND revoked_at IS NULL`,
		store.Micros(tx.Now), t.Merchant, t.ID)
	if err != nil {
		return SubToken{}, fmt.Errorf("revoking a sub-token: %w", err)
	}
	return FindSubToken(tx, p, id)
}

// FindSubToken gives a sub-token that p may end; see RevokeSubToken.
func FindSubToken(tx *store.Tx, p Principal, id string) (SubToken, error) {
	if _, ok := store.IDTime(id); !ok { // no text that PostgreSQL would refuse
		return SubToken{}, store.ErrNotFound
	}
	above := p.Merchant
	if p.Agent() && id != p.ID {
		above = p.ID
	}
	t, err := store.One(tx, scanSubToken, `SELECT `+subTokenColumns+` FROM sub_token_above a JOIN sub_tokens t ON t.id = a.sub_token_id
		WHERE a.above_id = $1 AND a.sub_token_id = $2 AND t.merchant_id = $3`, above, id, p.Merchant)
	if err != nil {
		return SubToken{}, err
	}
	all := []SubToken{t}
	err = complete(tx, all)
	return all[0], err
}

// keepSubTokens is how long a sub-token is listed after its end.
const keepSubTokens = 30 * 24 * time.Hour

// maxForget bounds what one transaction forgets.
const maxForget = 500

// ForgetSubTokens drops sub-tokens whose time was over long ago, with their counts, rates and taints. None goes before those below it: they end no later.
func ForgetSubTokens(tx *store.Tx) error {
	gone := `SELECT id FROM sub_tokens WHERE expires_at < $1 ORDER BY expires_at, id LIMIT $2`
	before := store.Micros(tx.Now.Add(-keepSubTokens))
	err := tx.Lock(gone, before, maxForget)
	if err == nil {
		err = tx.Lock(`SELECT principal_id FROM principal_usage WHERE principal_id IN (`+gone+`) ORDER BY principal_id`, before, maxForget)
	}
	for _, from := range []string{`principal_usage WHERE principal_id`, `rate_limits WHERE principal_id`, `taints WHERE principal_id`, `sub_token_above WHERE sub_token_id`, `sub_tokens WHERE id`} {
		if err == nil {
			_, err = tx.Exec(`DELETE FROM `+from+` IN (`+gone+`)`, before, maxForget)
		}
	}
	if err != nil {
		return fmt.Errorf("forgetting sub-tokens: %w", err)
	}
	return nil
}
