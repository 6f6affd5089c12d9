package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/store"
)

// Who looks for the next message holds the lock of its endpoint, for which those wait who have sent one: it reads a few rows, however many wait.
func TestTheNextMessageIsFoundAmongManyByFewRows(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		e := r.add(r.receiver.URL)
		r.asked()
		if _, ok := r.claimed(t.Context(), "snd_1"); !ok {
			t.Fatal("nothing to claim")
		}
		r.tx(func(tx *store.Tx) error { _, err := tx.Exec("ANALYZE"); return err })
		r.crowd(e)
		all := r.questions()
		r.cheap(all, "with the statistics of an empty queue", linear)
		r.tx(func(tx *store.Tx) error { _, err := tx.Exec("ANALYZE"); return err })
		r.cheap(all, "with statistics of the queue", few)
	})
}

// An asked is a question of the program to its database.
type asked struct {
	text string
	args []any
}

// questions are what is asked to claim a message.
func (r *rig) questions() (all []asked) {
	r.t.Helper()
	ctx := store.Watch(r.t.Context(), func(q string, args []any) {
		if strings.HasPrefix(strings.TrimSpace(q), "SELECT") {
			all = append(all, asked{q, args})
		}
	})
	if found, err := r.due(ctx); !found || err != nil {
		r.t.Fatal("nothing is due:", err)
	}
	if _, ok := r.claimed(ctx, "snd_2"); !ok {
		r.t.Fatal("nothing to claim")
	}
	return all
}

// cheap holds questions to so many rows.
func (r *rig) cheap(all []asked, when string, most float64) {
	r.t.Helper()
	for _, a := range all {
		r.tx(func(tx *store.Tx) error {
			var err error
			if tx.Engine() == "postgres" {
				err = a.reads(tx, most)
			} else {
				err = a.enters(tx)
			}
			if err != nil {
				r.t.Errorf("%s: %v", when, err)
			}
			return nil
		})
	}
}

const (
	crowd  = 1000      // messages that wait
	few    = 200       // rows that may be read to find one of them
	linear = 5 * crowd // and until the database has counted: each message a few times, and not once for each other
)

// crowd has messages wait behind the one that is under way.
func (r *rig) crowd(e Endpoint) {
	r.t.Helper()
	r.tx(func(tx *store.Tx) error {
		_, err := tx.Exec(`INSERT INTO outbox (endpoint_id, id, merchant_id, type, subject_id, approval_id, job_id, state, attempts, next_at, lease_owner,
				last_status, last_error, created_at)
			WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)
			SELECT endpoint_id, 'msg_' || n, merchant_id, type, 'apr_' || n, approval_id, job_id, 'waiting', 0, next_at, '', 0, '', created_at
			FROM outbox, numbers WHERE endpoint_id = $2`, crowd, e.ID)
		return err
	})
}

// reads is an error when PostgreSQL reads more rows than that, once it has seen the question often enough to plan it for any arguments.
func (a asked) reads(tx *store.Tx, most float64) error {
	if _, err := tx.Exec("PREPARE asked AS " + a.text); err != nil {
		return fmt.Errorf("%s: %w", a.text, err)
	}
	var literals []string
	for _, arg := range a.args {
		literals = append(literals, fmt.Sprintf("'%v'", arg))
	}
	execute := "EXECUTE asked (" + strings.Join(literals, ", ") + ")"
	for range 6 { // "plan_cache_mode" in PostgreSQL's documentation: five times for the arguments, then perhaps for any
		if _, err := tx.Exec(execute); err != nil {
			return fmt.Errorf("%s: %w", execute, err)
		}
	}
	var text string
	if err := tx.QueryRow("EXPLAIN (ANALYZE, FORMAT JSON) " + execute).Scan(&text); err != nil {
		return fmt.Errorf("%s: %w", execute, err)
	}
	var plans []struct{ Plan plan }
	err := json.Unmarshal([]byte(text), &plans)
	if err != nil || len(plans) != 1 {
		return fmt.Errorf("this is not one plan: %s: %w", text, err)
	}
	if n := plans[0].Plan.read(); n > most {
		err = fmt.Errorf("%.0f rows are read where %d wait:\n%s\n%s", n, crowd, a.text, text)
	}
	_, freed := tx.Exec("DEALLOCATE asked")
	return errors.Join(err, freed)
}

// enters is an error when SQLite, which does not say how much it read, enters an index by the endpoint alone and does not read it in order.
func (a asked) enters(tx *store.Tx) error {
	lines, err := store.All(tx, func(r store.Row) (line string, err error) {
		var id, parent, unused int
		return line, r.Scan(&id, &parent, &unused, &line)
	}, "EXPLAIN QUERY PLAN "+a.text, a.args...)
	for _, line := range lines {
		// d is the least of an index in that order, of which one row is read.
		if strings.Contains(line, "INDEX outbox_") && strings.HasSuffix(line, "(endpoint_id=?)") && !strings.HasPrefix(line, "SEARCH d ") {
			err = errors.Join(err, fmt.Errorf("all that waits for an endpoint is read: %s\n%s", line, a.text))
		}
	}
	return err
}

// A plan is a step of how PostgreSQL went about a statement.
type plan struct {
	Rows     float64 `json:"Actual Rows"`
	Loops    float64 `json:"Actual Loops"`
	Filtered float64 `json:"Rows Removed by Filter"`
	Joined   float64 `json:"Rows Removed by Join Filter"`
	Plans    []plan
}

// read is how many rows the step and those below it had in their hands.
func (p plan) read() float64 {
	n := (p.Rows + p.Filtered + p.Joined) * p.Loops
	for _, below := range p.Plans {
		n += below.read()
	}
	return n
}
