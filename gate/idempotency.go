package gate

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// keepKeys is how long a key is remembered at least: from the call, and again from the end of the job that it became. Whoever lost an
// answer has that long to ask again without acting twice, however long people took to decide.
const keepKeys = 48 * time.Hour

// takeKey puts a key that came beside the arguments among them, so that there is one form of the call on all transports.
func (c *call) takeKey() error {
	if _, has := c.Tool.Input.Property("idempotency_key"); !has || c.key == "" {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(c.Args, &members); err != nil {
		return fmt.Errorf("reading arguments: %w", err)
	}
	beside, err := json.Marshal(c.key)
	if err != nil {
		return fmt.Errorf("reading the idempotency key: %w", err)
	}
	var inside string
	if raw, both := members["idempotency_key"]; both && (json.Unmarshal(raw, &inside) != nil || inside != c.key) {
		return tools.Wrong("idempotency_key", "is not the one of the Idempotency-Key header", "the same value, or only one of the two", nil)
	}
	members["idempotency_key"] = beside
	raw, err := json.Marshal(members)
	if err != nil {
		return fmt.Errorf("writing arguments: %w", err)
	}
	c.Args, err = schemas.Canonical(raw)
	if err != nil {
		return badSyntax(err)
	}
	return nil
}

// maxKey bounds an idempotency key, in bytes.
const maxKey = 255

// checkKey holds every key to one form, whatever the schema of its tool says. One that is there and empty is no key: taken for
// none, it would leave a write that must have one without.
func checkKey(key *string) error {
	if key == nil {
		return nil
	}
	if n := len(*key); n > 0 && n <= maxKey && !strings.ContainsFunc(*key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil
	}
	return tools.Wrong("idempotency_key", "does not have the right form", "1 to 255 printable ASCII characters without spaces", "refund-581483-1")
}

// claimKey takes the call's idempotency key for it, or finds the call that had it before. Two calls at once are settled
// by the table's primary key: the second waits for the first one's transaction and is then a repeat of it. It reports
// true when the call is answered by what the first one was answered.
func (g *Gate) claimKey(c *call) (replayed bool, err error) {
	if c.key == "" || c.dryRun {
		return false, nil
	}
	n, err := c.Exec(`INSERT INTO idempotency (merchant_id, principal_id, key, tool, args_sha256, call_id, job_id, status, body, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, '', '', '', $7) ON CONFLICT DO NOTHING`,
		c.Principal.Merchant, c.Principal.ID, c.key, c.Tool.Name, c.asked, c.ID, store.Micros(c.Now))
	if err != nil {
		return false, fmt.Errorf("claiming the idempotency key: %w", err)
	}
	if n == 1 && c.repeats {
		return false, store.ErrUnavailable // the key was forgotten just now, and the facts were not filled in
	}
	if n == 1 {
		return false, nil
	}
	return true, g.replay(c)
}

// replay answers the call with the very bytes that the first call with its key was answered.
func (g *Gate) replay(c *call) error {
	var tool, hash, body string
	err := c.QueryRow(`SELECT tool, args_sha256, job_id, status, body FROM idempotency
		WHERE merchant_id = $1 AND principal_id = $2 AND key = $3`, c.Principal.Merchant, c.Principal.ID, c.key).
		Scan(&tool, &hash, &c.job, &c.out.Status, &body)
	if err != nil {
		return fmt.Errorf("reading what the key was answered: %w", err)
	}
	if tool != c.Tool.Name || hash != c.asked {
		return tools.Refuse(tools.IdempotencyConflict, "Repeat the first call exactly, or use a new key for a new call. Nothing was done.",
			"This idempotency key was used for another call.")
	}
	c.out.Body, c.out.Replayed = json.RawMessage(body), true
	c.out.Text = "This is the answer to the first call with this idempotency key; nothing was done again. " + body
	return g.record(c.Tx, c, "replayed")
}

// taken reports whether the call's key was used before.
func (c *call) taken(tx *store.Tx, key string) (bool, error) {
	n, err := store.One(tx, func(r store.Row) (int, error) {
		var n int
		return n, r.Scan(&n)
	}, `SELECT COUNT(*) FROM idempotency WHERE merchant_id = $1 AND principal_id = $2 AND key = $3`, c.Principal.Merchant, c.Principal.ID, key)
	return n > 0, err
}

// saveAnswer keeps the answer for repeats of the call.
func (g *Gate) saveAnswer(c *call) error {
	if c.key == "" || c.dryRun {
		return nil
	}
	err := c.Later(`UPDATE idempotency SET job_id = $1, status = $2, body = $3
		WHERE merchant_id = $4 AND principal_id = $5 AND key = $6 AND status = ''`,
		c.job, string(c.out.Status), string(c.out.Body), c.Principal.Merchant, c.Principal.ID, c.key)
	if err != nil {
		return fmt.Errorf("keeping the answer: %w", err)
	}
	return nil
}

// forgetKeys drops keys under which nothing waits any more, nor has ended lately.
func forgetKeys(tx *store.Tx) error {
	_, err := tx.Exec(`DELETE FROM idempotency WHERE created_at < $1 AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = idempotency.job_id
		AND (jobs.status IN ('pending_approval', 'queued', 'running', 'indeterminate') OR jobs.updated_at >= $1))`, store.Micros(tx.Now.Add(-keepKeys)))
	return err
}
