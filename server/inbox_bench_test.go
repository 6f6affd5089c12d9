package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// flood makes n open requests of the first one, each with a job of its own and soonest over first; others decide about all but every tenth.
func (g *rig) flood(n, every int) {
	g.Helper()
	g.must(g.db.Bulk(g.Context(), func(tx *store.Tx) error {
		columns := func(table, but string) string {
			rows, err := store.All(tx, func(r store.Row) (c string, err error) { return c, r.Scan(&c) }, columnsOf[tx.Engine()], table)
			g.must(err)
			list := ""
			for _, c := range rows {
				switch c {
				case "id", "approval_id", "job_id":
				default:
					list += ", " + c
				}
			}
			return list
		}
		jobs, requests := columns("jobs", ""), columns("approvals", "")
		for i := range n {
			at := tx.Now.Add(time.Duration(i) * time.Millisecond)
			job, request := store.NewID("job", at), store.NewID("apr", at)
			if _, err := tx.Exec(`INSERT INTO jobs (id, approval_id`+jobs+`) SELECT $1, $2`+jobs+` FROM jobs WHERE id = (SELECT MIN(job_id) FROM approvals)`, job, request); err != nil {
				return err
			}
			if _, err := tx.Exec(`INSERT INTO approvals (id, job_id`+requests+`) SELECT $1, $2`+requests+` FROM approvals WHERE id = (SELECT MIN(id) FROM approvals)`, request, job); err != nil {
				return err
			}
			rule := `{"name":"finance","people":2,"roles":["finance"],"from":["owner"]}`
			if i%every == every-1 {
				rule = `{"name":"anybody","people":2}`
			}
			if _, err := tx.Exec(`UPDATE approvals SET expires_at = $1, rule = $2, asked_by = $3 WHERE id = $4`, store.Micros(tx.Now.Add(time.Duration(i+60)*time.Second)), rule, fmt.Sprintf("agent-%d", i%40), request); err != nil {
				return err
			}
		}
		return nil
	}))
	if g.db.Engine() == "postgres" {
		g.must(g.db.InTx(g.Context(), func(tx *store.Tx) error { _, err := tx.Exec(`ANALYZE`); return err }))
	}
}

var columnsOf = map[string]string{
	"sqlite":   `SELECT name FROM pragma_table_info($1)`,
	"postgres": `SELECT column_name FROM information_schema.columns WHERE table_name = $1 AND table_schema = current_schema()`,
}

func TestMeasureInbox(t *testing.T) {
	for _, every := range []int{1, 10, 1000} {
		storetest.Each(t, func(t *testing.T, db *store.DB) {
			g := newRig(t, db, fakes)
			key := g.mint("bot", true, "marketing:send")
			g.person("mia")
			_, text := g.do("POST", "/api/v1/agent/v1/notes/n1/send", `{"reason":"because of it","idempotency_key":"k"}`, jsonBody, "X-Agent-Key: "+key)
			t.Log(text)
			g.flood(10_000, every)
			cookie := g.enter("mia")
			for _, path := range []string{"/approvals", "/approvals?class=contact&agent=agent-39", "/approvals?show=mine", "/approvals?show=others", "/jobs"} {
				best, worst := time.Hour, time.Duration(0)
				var size int
				for range 8 {
					began := time.Now()
					_, body := g.once("GET", path, "", asPage, cookie)
					took := time.Since(began)
					best, worst, size = min(best, took), max(worst, took), len(body)
				}
				t.Log(every, path, size, best, worst)
			}
		})
	}
}
