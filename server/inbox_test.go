package server

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// flood makes n open requests of the first one, each with a job of its own and soonest over first; others decide about all but every tenth.
func (g *rig) flood(n, every int) {
	g.Helper()
	g.must(g.db.Bulk(g.Context(), func(tx *store.Tx) error {
		columns := func(table string) string {
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
		jobs, requests := columns("jobs"), columns("approvals")
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

// Ten requests wait for the reader, at the far end of what waits for others. The page is asked for whole, as a browser gets it.
func TestWhatWaitsForTheReaderIsFoundAmong10000(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		g := newRig(t, db, fakes)
		key := g.mint("bot", true, "marketing:send")
		g.person("mia")
		g.do("POST", tools.BasePath+"/notes/n1/send", `{"reason":"because of it","idempotency_key":"k"}`, jsonBody, "X-Agent-Key: "+key)
		g.flood(10_000, 1000)
		cookie := g.enter("mia")
		began := time.Now()
		_, page := g.once("GET", "/approvals", "", asPage, cookie)
		t.Logf("answered in %s", time.Since(began))
		if !strings.Contains(page, "11 wait for you") || !strings.Contains(page, "More than") || strings.Count(page, `class="card-row"`) != 11+20 {
			t.Errorf("%d rows:\n%s", strings.Count(page, `class="card-row"`), page[:3000])
		}
		g.pageThrough(cookie, 1500)
	})
}

var (
	nextPage = regexp.MustCompile(`<p class="more"><a class="button" href="([^"]+)"`)
	cardRows = regexp.MustCompile(`class="card-row" data-id="([^"]+)"`)
)

// pageThrough goes from page to page of what waits for others, until it has read so many requests. None may stand on two of them.
func (g *rig) pageThrough(cookie string, enough int) {
	g.Helper()
	seen := map[string]bool{}
	for path := "/approvals?show=others"; len(seen) < enough; {
		_, page := g.once("GET", path, "", asPage, cookie)
		for _, id := range cardRows.FindAllStringSubmatch(page, -1) {
			if seen[id[1]] {
				g.Fatalf("%s stands on two pages", id[1])
			}
			seen[id[1]] = true
		}
		more := nextPage.FindStringSubmatch(page)
		if more == nil {
			g.Fatalf("the pages end after %d", len(seen))
		}
		path = html.UnescapeString(more[1])
	}
}
