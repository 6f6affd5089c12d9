package approvals

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// erased stands where somebody's words stood.
const erased = "[erased]"

// forgetAtOnce is how many resources one statement names.
const forgetAtOnce = 500

// about is the condition for the rows of a merchant that are about some of these resources, with its parameters.
func about(merchant string, resources []string) (where string, args []any) {
	marks, args := make([]string, len(resources)), []any{merchant}
	for i, r := range resources {
		marks[i], args = fmt.Sprintf("$%d", i+2), append(args, r)
	}
	return ` WHERE merchant_id = $1 AND resource IN (` + strings.Join(marks, ", ") + `)`, args
}

// BetweenNames stands between the names of what a batch is about, where there are several.
const BetweenNames = " "

// WithBatches gives the resources, and beside them what batches are called that are about one of them among others.
func WithBatches(tx *store.Tx, merchant string, resources []string) ([]string, error) {
	batches, err := store.All(tx, func(r store.Row) (name string, err error) { return name, r.Scan(&name) },
		`SELECT DISTINCT resource FROM jobs WHERE merchant_id = $1 AND resource LIKE '% %'`, merchant)
	if err != nil {
		return nil, fmt.Errorf("looking for batches: %w", err)
	}
	all := slices.Clone(resources)
	for _, name := range batches {
		if slices.ContainsFunc(strings.Split(name, BetweenNames), func(one string) bool { return slices.Contains(resources, one) }) {
			all = append(all, name)
		}
	}
	return all, nil
}

// OpenAbout counts the jobs about any of these resources that have not ended, but for those of one tool.
func OpenAbout(tx *store.Tx, merchant string, resources []string, but string) (int, error) {
	open := 0
	resources, err := WithBatches(tx, merchant, resources)
	if err != nil {
		return 0, err
	}
	for some := range slices.Chunk(resources, forgetAtOnce) {
		where, args := about(merchant, some)
		jobs, err := store.All(tx, func(r store.Row) (tool string, err error) { return tool, r.Scan(&tool) },
			`SELECT tool FROM jobs`+where+` AND status IN `+notEnded, args...)
		if err != nil {
			return 0, fmt.Errorf("looking for open jobs: %w", err)
		}
		open += len(slices.DeleteFunc(jobs, func(tool string) bool { return tool == but }))
	}
	return open, nil
}

// Forget removes what the ended jobs about any of these resources hold of words and values: their arguments, what the
// agent and the people wrote, and what was shown beyond its one sentence. Effects about them can be taken back no more. That
// there was a call, who decided and how it ended stays. It gives the jobs.
//
// Results stay: no tool puts contact data into one, and the link in that of an export opens nothing any more.
func Forget(tx *store.Tx, merchant string, resources []string) (jobs []string, err error) {
	for some := range slices.Chunk(resources, forgetAtOnce) {
		ended, err := forgetSome(tx, merchant, some)
		if err != nil {
			return nil, fmt.Errorf("forgetting jobs: %w", err)
		}
		jobs = append(jobs, ended...)
	}
	return jobs, nil
}

func forgetSome(tx *store.Tx, merchant string, resources []string) ([]string, error) {
	where, args := about(merchant, resources)
	if err := errors.Join(forgetEffects(tx, where, args), forgetGrants(tx, where, args)); err != nil {
		return nil, err
	}
	type ended struct{ job, approval string }
	jobs, err := store.All(tx, func(r store.Row) (e ended, err error) { return e, r.Scan(&e.job, &e.approval) },
		`SELECT id, approval_id FROM jobs`+where+` AND status NOT IN `+notEnded+` ORDER BY id`, args...)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, j := range jobs {
		ids = append(ids, j.job)
		if _, err := tx.Exec(`UPDATE jobs SET args = '{}', why = '', checkpoint = '' WHERE id = $1`, j.job); err != nil {
			return nil, err
		}
		if err := forgetRequest(tx, j.approval); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// forgetEffects empties what was done about the resources, and what was done about that: an undo shows the same changes the other
// way round, and is about the effect that it took back.
func forgetEffects(tx *store.Tx, where string, args []any) error {
	for _, which := range []string{` WHERE merchant_id = $1 AND resource IN (SELECT 'effect:' || id FROM effects` + where + `)`, where} {
		_, err := tx.Exec(`UPDATE effects SET args = '', result = '', image = '', changes = '[]', why = 'What it changed was erased',
			state = CASE WHEN state = 'open' THEN 'final' ELSE state END`+which, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

func forgetRequest(tx *store.Tx, id string) error {
	if id == "" {
		return nil
	}
	var shown tools.Preview
	var raw string
	if err := tx.QueryRow(`SELECT preview FROM approvals WHERE id = $1`, id).Scan(&raw); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(raw), &shown); err != nil {
		return err
	}
	left, err := json.Marshal(tools.Preview{Summary: shown.Summary, Customers: shown.Customers, Money: shown.Money})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`UPDATE approvals SET preview = $1, agent_reason = $2, facts = '[]', claims = '[]', changed = '[]' WHERE id = $3`, string(left), erased, id); err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE approval_votes SET reason = $1 WHERE approval_id = $2 AND reason <> ''`, erased, id)
	return err
}

// Redact takes a secret out of the results of the jobs about a resource.
func Redact(tx *store.Tx, merchant, resource, secret string) error {
	type result struct{ id, text string }
	where, args := about(merchant, []string{resource})
	results, err := store.All(tx, func(r store.Row) (j result, err error) { return j, r.Scan(&j.id, &j.text) },
		`SELECT id, result FROM jobs`+where+` AND status = 'succeeded'`, args...)
	if err != nil {
		return fmt.Errorf("looking for a link: %w", err)
	}
	for _, j := range results {
		if without := strings.ReplaceAll(j.text, secret, "fetched"); without != j.text {
			if _, err := tx.Exec(`UPDATE jobs SET result = $1 WHERE id = $2 AND result = $3`, without, j.id, j.text); err != nil {
				return fmt.Errorf("withdrawing a link: %w", err)
			}
		}
	}
	return nil
}
