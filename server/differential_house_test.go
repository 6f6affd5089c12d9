package server

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// Two houses that begin alike are asked the same, one by the long way and one by the short: every tool with the arguments
// of its description, written and rehearsed, and every call that is refused, in a protocol with sessions and one without. What is random or of the
// time of day is taken out before comparing.
func TestBothWaysAnswerAlikeInTheWholeHouse(t *testing.T) {
	demo := demoShop(t)
	house := func(slow bool) *refusing {
		db := copyOf(t, demo)
		db.Now = storyTime()
		return newRefusingOn(t, newRigBy(t, db, tools.NewRegistry(append(dtc.Tools(), fakes.All()...)...), nil, slow))
	}
	slow, fast := house(true), house(false)
	compared := 0
	for i, c := range houseCalls() {
		for _, era := range []string{allEras[i%2], allEras[i%2+2]} {
			compared++
			if diff := cmp.Diff(slow.answersTo(c.who, era, c.tool, c.args), fast.answersTo(c.who, era, c.tool, c.args)); diff != "" {
				t.Errorf("%s, %s %s (-slow +fast):\n%.3000s", era, c.tool, c.args, diff)
			}
		}
	}
	t.Logf("%d calls", compared)
}

// houseCalls are the refused calls, and every tool twice: as it is described, which parks or does it, and rehearsed.
func houseCalls() (calls []wrongCall) {
	for _, t := range dtc.Tools() {
		calls = append(calls, wrongCall{who: "all", tool: t.Name, args: t.Example}, wrongCall{who: "careful", tool: t.Name, args: t.Example})
		if t.Writes() {
			calls = append(calls, wrongCall{who: "all", tool: t.Name, args: strings.Replace(t.Example, "{", `{"dry_run":true,`, 1)})
		}
	}
	return append(calls, wrongCalls...)
}

func (g *refusing) answersTo(who, era, tool, args string) any {
	g.Helper()
	body, headers := message(era, "tools/call", fmt.Sprintf(`{"name":%q,"arguments":%s}`, tool, g.names.Replace(args)))
	resp, text := g.do("POST", "/mcp", body, append(headers, "Authorization: Bearer "+g.secrets[who])...)
	h := resp.Header
	h.Del("Date")
	h.Del("Content-Length")
	return struct {
		Status int
		Header http.Header
		Body   string
	}{resp.StatusCode, h, anyHouse(text)}
}

// perHouse is what is never the same in two houses: ids, hashes, times, the cursors that hold them, and waits.
var perHouse = regexp.MustCompile(`[a-z]+_[0-9A-HJKMNP-TV-Z]{26}|[0-9a-f]{64}|[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}|st_[0-9A-Za-z]{2,49}|[A-Z][a-z]+ \d+,? \d{4} \d\d:\d\d|` +
	`\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|[+-]\d\d:\d\d)?|next_cursor\\*": ?\\*"[\w-]+|in \d+ s|retry_after_seconds\\*": ?\d+`)

func anyHouse(text string) string { return perHouse.ReplaceAllString(text, "…") }
