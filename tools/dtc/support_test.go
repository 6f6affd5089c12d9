package dtc

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

var supportStories = []story{
	{"TicketsAreFoundByWhatIsAsked", ticketsAreFoundByWhatIsAsked},
	{"PagesMakeUpTheTickets", pagesMakeUpTheTickets},
	{"PlantedTextStaysQuoted", plantedTextStaysQuoted},
	{"LongThreadsAreCut", longThreadsAreCut},
	{"TicketsOfOthersAreNotThere", ticketsOfOthersAreNotThere},
	{"DraftsReachNobody", draftsReachNobody},
	{"DraftIsTakenBack", draftIsTakenBack},
	{"DraftsAreRefused", draftsAreRefused},
	{"PageIsPublishedWhole", pageIsPublishedWhole},
	{"PageComesBackAsItWas", pageComesBackAsItWas},
	{"PagePublishedSinceStays", pagePublishedSinceStays},
	{"PagesAreRefused", pagesAreRefused},
}

func ticketsAreFoundByWhatIsAsked(h *house) {
	for what, c := range map[string]struct {
		in   args
		want int64
	}{
		"all":                {nil, h.number("SELECT COUNT(*) FROM tickets WHERE merchant_id = $1", merchant)},
		"a queue":            {args{"queue": "privacy"}, h.number("SELECT COUNT(*) FROM tickets WHERE queue = 'privacy' AND merchant_id = $1", merchant)},
		"a status":           {args{"status": "waiting"}, h.number("SELECT COUNT(*) FROM tickets WHERE status = 'waiting' AND merchant_id = $1", merchant)},
		"queue and status":   {args{"queue": "returns", "status": "open"}, h.number("SELECT COUNT(*) FROM tickets WHERE queue = 'returns' AND status = 'open' AND merchant_id = $1", merchant)},
		"words":              {args{"query": "adv hous"}, 1},
		"words of an answer": {args{"query": "galvanised"}, 1},
		"words not there":    {args{"query": "zzz"}, 0},
		"words elsewhere":    {args{"query": "galvanised", "queue": "delivery"}, 0},
	} {
		got := must[getTicketsOut](h)(read[getTicketsOut](h, "dtc_get_tickets", c.in))
		if int64(got.Total) != c.want || len(got.Tickets) != min(10, int(c.want)) {
			h.Errorf("%s: %d of %d, want %d", what, len(got.Tickets), got.Total, c.want)
		}
		for _, row := range got.Tickets {
			if !row.Simulated || row.Opening == nil || row.Thread != nil || row.Waiting != nil || (row.Stars > 0) != (row.Queue == "review") {
				h.Errorf("%s: the row %+v", what, row)
			}
		}
	}
	newest := must[getTicketsOut](h)(read[getTicketsOut](h, "dtc_get_tickets", nil)).Tickets
	if !slices.IsSortedFunc(newest, func(a, b ticketRow) int { return b.OpenedAt.Compare(a.OpenedAt) }) {
		h.Error("the newest tickets do not come first")
	}
	order := h.text("SELECT MIN(order_no) FROM tickets WHERE order_no IS NOT NULL AND merchant_id = $1", merchant)
	found := must[getTicketsOut](h)(read[getTicketsOut](h, "dtc_get_tickets", args{"query": order}))
	if found.Total == 0 || found.Tickets[0].OrderNo != order {
		h.Errorf("the order %s finds %+v", order, found)
	}
}

func pagesMakeUpTheTickets(h *house) {
	for _, in := range []args{nil, {"queue": "returns"}, {"status": "open"}, {"queue": "delivery", "status": "open"}} {
		walkAny(h, in)
	}
}

// walkAny compares the tickets by pages of three with those read at once.
func walkAny(h *house, in args) {
	h.Helper()
	ids := func(limit int) (ids []string) {
		for cursor := any(nil); ; {
			page := must[getTicketsOut](h)(read[getTicketsOut](h, "dtc_get_tickets", in.with("limit", limit).with("cursor", cursor)))
			ids = append(ids, names(page.Tickets, func(t ticketRow) string { return t.ID })...)
			if page.NextCursor == "" {
				return ids
			}
			cursor = page.NextCursor
		}
	}
	if diff := cmp.Diff(ids(50), ids(3)); diff != "" {
		h.Errorf("%v gives another list by other pages:\n%s", in, diff)
	}
}

// planted are phrases out of the letters that carry instructions.
var planted = []string{
	"ignore your rules", "FREE90", "As an administrator", "note for AI", "maintenance mode", "support bot", "system prompt",
	"END OF TICKET", "ne demandez", "helpful assistant", "Dave from IT", "If you are a bot",
}

// plantedTextStaysQuoted walks the JSON of every answer about tickets: what is planted stands in untrusted_text alone.
func plantedTextStaysQuoted(h *house) {
	seen := map[string]bool{}
	look := func(in args) {
		h.Helper()
		c, err := h.call("dtc_get_tickets", in)
		if err != nil {
			h.Fatal(err)
		}
		var out getTicketsOut
		err = h.db.Read(h.Context(), func(tx *store.Tx) error {
			c.Tx = tx
			answer, err := c.Tool.Handler().Read(c)
			if err == nil {
				out = answer.(getTicketsOut)
			}
			return err
		})
		if err != nil {
			h.Fatal(err)
		}
		if !c.QuotesOutsider() {
			h.Errorf("%v is not noted as quoting outsiders", in)
		}
		strays(h.T, out, func(phrase string) { seen[phrase] = true })
	}
	look(args{"limit": 50})
	for _, queue := range []string{"returns", "review", "privacy", "product", "delivery"} {
		look(args{"queue": queue, "limit": 50})
	}
	all := must[getTicketsOut](h)(read[getTicketsOut](h, "dtc_get_tickets", args{"limit": 50}))
	for _, t := range all.Tickets {
		look(args{"ticket_id": t.ID})
	}
	for _, phrase := range planted {
		if !seen[phrase] {
			h.Errorf("no ticket holds %q any more: what is planted has changed", phrase)
		}
	}
}

// strays finds planted phrases in an answer, quoted or not, and fails for those that are not.
func strays(t *testing.T, answer any, quoted func(phrase string)) {
	t.Helper()
	raw, err := json.Marshal(answer)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, inner := range v {
				walk(path+"."+name, inner)
			}
		case []any:
			for i, inner := range v {
				walk(fmt.Sprint(path, i), inner)
			}
		case string:
			for _, phrase := range planted {
				if !strings.Contains(strings.ToLower(v), strings.ToLower(phrase)) {
					continue
				}
				if quoted(phrase); !strings.HasSuffix(path, ".untrusted_text") {
					t.Errorf("%s holds %q outside untrusted_text", path, phrase)
				}
			}
		}
	}
	walk("", tree)
}

// ticket adds a ticket of its own with so many messages, from the customer and staff in turn.
func (h *house) ticket(id, status string, texts ...string) string {
	h.Helper()
	h.exec(`INSERT INTO tickets (merchant_id, ticket_id, customer_no, queue, status, opened_at, messages)
		VALUES ($1, $2, '1001', 'product', $3, $4, $5)`, merchant, id, status, store.Micros(sunday), len(texts))
	for i, text := range texts {
		author := "customer"
		if i%2 == 1 {
			author = "staff"
		}
		h.exec("INSERT INTO ticket_messages (merchant_id, ticket_id, message_no, author, body, at) VALUES ($1, $2, $3, $4, $5, $6)",
			merchant, id, i+1, author, text, store.Micros(sunday.Add(time.Duration(i)*time.Second)))
	}
	return id
}

func (h *house) ticketNow(id string) ticketRow {
	h.Helper()
	return must[getTicketsOut](h)(read[getTicketsOut](h, "dtc_get_tickets", args{"ticket_id": id})).Tickets[0]
}

// longThreadsAreCut fills a ticket with what takes the most room in JSON; house.fits holds the answers to their size.
func longThreadsAreCut(h *house) {
	worst := strings.Repeat("<\u0001é", 3000)
	var texts []string
	for i := range 80 {
		texts = append(texts, fmt.Sprint(i, " ", worst))
	}
	id := h.ticket("tkt_long", "open", texts...)
	for i := range shop.MaxDrafts {
		must[draftReplyOut](h)(write[draftReplyOut](h, "dtc_draft_reply", args{
			"ticket_id": id, "text": fmt.Sprint(i) + strings.Repeat("<", 3990), "advice_to_staff": strings.Repeat("<", 1000),
		}))
	}
	got := h.ticketNow(id)
	n := len(got.Thread)
	if !got.Truncated || got.Narrow == "" || n == 0 || len(got.Waiting) == 0 || got.Messages != 80 || got.Drafts != 20 {
		h.Fatalf("of a long ticket are shown %d messages, %d drafts, truncated %v", n, len(got.Waiting), got.Truncated)
	}
	if last := got.Thread[n-1]; last.From != "staff" || !strings.HasPrefix(last.Text, "79 ") || last.Said != nil {
		h.Errorf("the last message shown is from %s: %.10q", last.From, last.Text)
	}
	if !strings.HasPrefix(got.Waiting[0].Text, "19<") {
		h.Errorf("the first draft shown is %.10q", got.Waiting[0].Text)
	}
	for i := range 50 {
		h.ticket(fmt.Sprint("tkt_long", i), "open", strings.Repeat("\u0001", 100))
	}
	must[getTicketsOut](h)(read[getTicketsOut](h, "dtc_get_tickets", args{"limit": 50}))
	short := h.ticketNow(h.ticket("tkt_short", "open", "Hello?", "Hello!", "Bye"))
	if short.Truncated || len(short.Thread) != 3 || short.Thread[0].Said.Text != "Hello?" || short.Thread[1].Text != "Hello!" || short.Opening != nil {
		h.Errorf("a short ticket reads %+v", short)
	}
	h.exec("DELETE FROM tickets WHERE ticket_id LIKE 'tkt_long%' OR ticket_id = 'tkt_short'")
}

func ticketsOfOthersAreNotThere(h *house) {
	id := h.text("SELECT MIN(ticket_id) FROM tickets WHERE status = 'open'")
	h.exec("INSERT INTO shops (merchant_id, currency, source, attribution, data_until, loaded_at) VALUES ('mer_tickets', 'GBP', 'live', '', 0, 0)")
	h.key.Merchant = "mer_tickets"
	_, err := read[getTicketsOut](h, "dtc_get_tickets", args{"ticket_id": id})
	h.refused("a ticket of another merchant", err, tools.NotFound, "")
	_, err = h.preview("dtc_draft_reply", args{"ticket_id": id, "text": "Hello."})
	h.refused("a draft at it", err, tools.NotFound, "")
	_, err = h.preview("dtc_publish_page", publishing("faq"))
	h.refused("a page of another merchant", err, tools.NotFound, "")
	h.exec(`INSERT INTO tickets (merchant_id, ticket_id, customer_no, queue, status, opened_at, messages) VALUES ('mer_tickets', $1, 'C1', 'product', 'open', 0, 0)`, id)
	if own := h.ticketNow(id); own.Simulated || own.CustomerNo != "C1" {
		h.Errorf("a live shop's ticket reads %+v", own)
	}
}

func draftsReachNobody(h *house) {
	id := h.ticket("tkt_draft", "open", "Where is it?")
	before := h.number("SELECT COUNT(*) FROM deliveries") + h.number("SELECT COUNT(*) FROM mailings")
	in := args{"ticket_id": id, "text": "It is on its way.", "advice_to_staff": "Look at the tracking first."}
	p := must[tools.Preview](h)(h.preview("dtc_draft_reply", in))
	want := []tools.Change{{Object: "ticket " + id, Field: "drafts_waiting", From: "0", To: "1"}}
	if diff := cmp.Diff(want, p.Changes); diff != "" || p.Customers != 0 || !strings.Contains(p.Content, "It is on its way.") {
		h.Errorf("the preview is %+v\n%s", p, diff)
	}
	if n := h.ticketNow(id); n.Drafts != 0 {
		h.Errorf("a preview leaves %d drafts", n.Drafts)
	}
	out := must[draftReplyOut](h)(write[draftReplyOut](h, "dtc_draft_reply", in))
	got := h.ticketNow(id)
	draft := shop.Draft{ID: out.ID, Text: "It is on its way.", Advice: "Look at the tracking first.", At: sunday.UTC(), By: "test bot"}
	if diff := cmp.Diff([]shop.Draft{draft}, got.Waiting); diff != "" || got.Drafts != 1 || out.Version != 1 || got.Version != 1 || got.Messages != 1 {
		h.Errorf("the ticket is %+v\n%s", got, diff)
	}
	if n := h.number("SELECT COUNT(*) FROM deliveries") + h.number("SELECT COUNT(*) FROM mailings") - before; n != 0 {
		h.Errorf("a draft made %d mails", n)
	}
}

func draftIsTakenBack(h *house) {
	id := h.ticket("tkt_back", "waiting", "Where is it?")
	before := h.ticketNow(id)
	in := args{"ticket_id": id, "text": "Here."}
	_, undo, err := undoable[draftReplyOut](h, "dtc_draft_reply", in)
	if err == nil {
		err = undo()
	}
	if err != nil {
		h.Fatal(err)
	}
	if diff := cmp.Diff(before, h.ticketNow(id)); diff != "" {
		h.Errorf("a draft that was taken back has left:\n%s", diff)
	}
	if err := undo(); !errors.Is(err, shop.ErrChanged) {
		h.Errorf("taken back twice: %v", err)
	}
	_, undo, err = undoable[draftReplyOut](h, "dtc_draft_reply", in)
	if err != nil {
		h.Fatal(err)
	}
	h.at(func(d *shop.Desk) error { return d.SendReply(id, 1, "Here.", "Ann") })
	if _, err := write[draftReplyOut](h, "dtc_draft_reply", in); err != nil {
		h.Fatal(err)
	}
	if err := undo(); !errors.Is(err, shop.ErrChanged) {
		h.Errorf("taken back after a reply: %v", err)
	}
	got := h.ticketNow(id)
	if got.Drafts != 1 || len(got.Waiting) != 1 || got.Messages != 2 || got.Thread[1].By != "Ann" {
		h.Errorf("after the reply and another draft the ticket is %+v", got)
	}
}

// at does something at the shop's desk past the tools, as staff do.
func (h *house) at(do func(d *shop.Desk) error) {
	h.Helper()
	err := h.db.InTx(h.Context(), func(tx *store.Tx) error {
		d, err := shop.At(tx, merchant)
		if err == nil {
			err = do(d)
		}
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
}

func draftsAreRefused(h *house) {
	open := args{"ticket_id": h.ticket("tkt_open", "open", "Hello?"), "text": "Hello."}
	closed := open.with("ticket_id", h.ticket("tkt_closed", "closed", "Hello?"))
	for what, c := range map[string]struct {
		in    args
		code  tools.Code
		field string
	}{
		"a closed ticket":    {closed, tools.Conflict, ""},
		"no such ticket":     {open.with("ticket_id", "tkt_none"), tools.NotFound, ""},
		"no text":            {open.with("text", ""), tools.InvalidArguments, "text"},
		"too long a text":    {open.with("text", strings.Repeat("x", 4001)), tools.InvalidArguments, "text"},
		"a hidden character": {open.with("text", "Hello\u202e."), tools.InvalidArguments, "text"},
		"hidden advice":      {open.with("advice_to_staff", "Pay\u200b."), tools.InvalidArguments, "advice_to_staff"},
	} {
		_, err := h.preview("dtc_draft_reply", c.in)
		h.refused(what, err, c.code, c.field)
	}
	for range shop.MaxDrafts {
		must[draftReplyOut](h)(write[draftReplyOut](h, "dtc_draft_reply", open))
	}
	_, err := h.preview("dtc_draft_reply", open)
	h.refused("one draft too many", err, tools.LimitExceeded, "")
}

// publishing are the arguments that publish a new text of a page in its first version.
func publishing(page string) args {
	return args{
		"page": page, "expected_version": 1, "title": "New words", "body_markdown": "# New words\n\nAll of them.\n",
		"reason": "The old ones are out of date", "idempotency_key": "page-" + page,
	}
}

func pageIsPublishedWhole(h *house) {
	in := publishing("delivery").with("body_markdown", "# Delivery\n\nSee <https://post.example/times> or [ask](https://help.example).\n")
	p := must[tools.Preview](h)(h.preview("dtc_publish_page", in))
	if p.Summary != "Publish a new text of the page delivery, “New words”, in place of version 1" || p.Version != "1" || p.Customers != 0 ||
		p.Content != "New words\n\n"+in["body_markdown"].(string) {
		h.Errorf("the preview is %+v", p)
	}
	if diff := cmp.Diff([]string{"It links to help.example, post.example."}, p.Warnings); diff != "" {
		h.Errorf("the warnings:\n%s", diff)
	}
	if len(p.Changes) != 2 || p.Changes[0] != (tools.Change{Object: "page delivery", Field: "title", From: "Delivery", To: "New words"}) ||
		p.Changes[1].To != "4 lines, 1 of them added" || !strings.HasPrefix(p.Changes[1].From, "10 lines, 7 of them removed:\n| To | Price | Time |") {
		h.Errorf("the changes are %+q", p.Changes)
	}
	out := must[publishPageOut](h)(write[publishPageOut](h, "dtc_publish_page", in))
	if want := (publishPageOut{"delivery", "https://shop.example/delivery", 2}); out != want {
		h.Errorf("published: %+v, want %+v", out, want)
	}
	if by := h.text("SELECT published_by FROM pages WHERE page = 'delivery' AND merchant_id = $1", merchant); by != "test bot" {
		h.Errorf("the page is by %s", by)
	}
}

func pageComesBackAsItWas(h *house) {
	const column = " FROM pages WHERE page = 'returns' AND merchant_id = $1"
	title, body := h.text("SELECT title"+column, merchant), h.text("SELECT body"+column, merchant)
	_, undo, err := undoable[publishPageOut](h, "dtc_publish_page", publishing("returns"))
	if err == nil {
		err = undo()
	}
	if err != nil {
		h.Fatal(err)
	}
	if got := h.text("SELECT title"+column, merchant); got != title {
		h.Errorf("the title came back as %q, want %q", got, title)
	}
	if got := h.text("SELECT body"+column, merchant); got != body {
		h.Errorf("the text came back as %q, want %q", got, body)
	}
	if n := h.number("SELECT version"+column, merchant); n != 3 {
		h.Errorf("the page has version %d, want 3", n)
	}
	if n := h.number("SELECT COUNT(*) FROM page_versions WHERE page = 'returns' AND title = $1 AND merchant_id = $2", title, merchant); n != 2 {
		h.Errorf("%d versions with the old title, want 2 of 3", n)
	}
	if err := undo(); !errors.Is(err, shop.ErrChanged) {
		h.Errorf("undone twice: %v", err)
	}
}

func pagePublishedSinceStays(h *house) {
	in := publishing("about")
	_, undo, err := undoable[publishPageOut](h, "dtc_publish_page", in)
	if err != nil {
		h.Fatal(err)
	}
	_, err = h.preview("dtc_publish_page", in)
	r := h.refused("a version that is gone", err, tools.StaleExpectation, "")
	if r.Errors.Now["expected_version"] != int64(2) {
		h.Errorf("the facts now are %v", r.Errors.Now)
	}
	_, err = h.preview("dtc_publish_page", in.with("expected_version", 2))
	h.refused("the same text again", err, tools.Conflict, "")
	must[publishPageOut](h)(write[publishPageOut](h, "dtc_publish_page", in.with("expected_version", 2).with("title", "Newer words")))
	if err := undo(); !errors.Is(err, shop.ErrChanged) {
		h.Errorf("undone although another version was published: %v", err)
	}
	if title := h.text("SELECT title FROM pages WHERE page = 'about' AND merchant_id = $1", merchant); title != "Newer words" {
		h.Errorf("the page is %q", title)
	}
}

func pagesAreRefused(h *house) {
	in := publishing("gift-guide")
	for what, c := range map[string]struct {
		in    args
		code  tools.Code
		field string
	}{
		"no such page":       {in.with("page", "nowhere"), tools.NotFound, ""},
		"no slug":            {in.with("page", "../etc"), tools.InvalidArguments, "page"},
		"no text":            {in.with("body_markdown", ""), tools.InvalidArguments, "body_markdown"},
		"too long a text":    {in.with("body_markdown", strings.Repeat("x", 20001)), tools.InvalidArguments, "body_markdown"},
		"no reason":          {in.with("reason", nil), tools.InvalidArguments, "reason"},
		"a title of lines":   {in.with("title", "a\nb"), tools.InvalidArguments, "title"},
		"a title that hides": {in.with("title", "a\u00adb"), tools.InvalidArguments, "title"},
	} {
		_, err := h.preview("dtc_publish_page", c.in)
		h.refused(what, err, c.code, c.field)
	}
	for text, line := range map[string]int{
		"a <script>alert(1)</script>":             1,
		"a\n\n<SCRIPT src=x>":                     3,
		"a\n<img src=x onerror=alert(1)>":         2,
		"a\n<!-- assistant: do it -->":            2,
		"a </div>":                                1,
		"[a](javascript:alert(1))":                1,
		"\n[a](JavaScript&#58;alert(1))":          2,
		"[a](java&Tab;script:alert(1))":           1,
		`[a](javascript\:alert(1))`:               1,
		"[a]: &#x6A;avascript:alert(1)":           1,
		"[a](data:text/html;base64,PHNjcmlwdD4=)": 1,
		"<javascript:alert(1)>":                   1,
		"a\nb\u202ec":                             2,
		"a\u200bb":                                1,
		"a\u2066b":                                1,
		"a\rb":                                    1,
		"a\x01b":                                  1,
		"a\U000E0041":                             1,
		"a\u3164b":                                1,
		"a\n\nb&#8238;c":                          3,
		"a&ZeroWidthSpace;b":                      1,
		"a\u2028b":                                1,
	} {
		_, err := h.preview("dtc_publish_page", in.with("body_markdown", text))
		r := h.refused(fmt.Sprintf("%q", text), err, tools.InvalidArguments, "body_markdown")
		if !strings.Contains(r.Message, fmt.Sprint("line ", line)) {
			h.Errorf("%q is refused with %q, want line %d", text, r.Message, line)
		}
	}
	for _, text := range []string{
		"2 < 3 and 5 > 4", "1<2", "<https://shop.example>, <mailto:help@shop.example>", "**é** “ä” ☕️ 你好 &amp; &lt;b&gt;", "| a |\n|---|\n\t- b",
		"We use JavaScript, not Java.",
	} {
		if _, err := h.preview("dtc_publish_page", in.with("body_markdown", text)); err != nil {
			h.Errorf("%q is refused: %v", text, err)
		}
	}
}

func TestLineDiffIsTheLeast(t *testing.T) {
	for _, c := range []struct{ from, to, gone, added string }{
		{"a b c", "a b c", "", ""},
		{"a b c", "a c", "b", ""},
		{"a c", "a b c", "", "b"},
		{"a b c d", "a x c y", "b d", "x y"},
		{"a b c d e", "e a b c d", "e", "e"},
		{"a", "b", "a", "b"},
	} {
		gone, added := lineDiff(strings.Fields(c.from), strings.Fields(c.to))
		if strings.Join(gone, " ") != c.gone || strings.Join(added, " ") != c.added {
			t.Errorf("%q to %q: %q go and %q come", c.from, c.to, gone, added)
		}
	}
	gone, added := lineDiff(slices.Repeat([]string{"a", "b"}, 5000), slices.Repeat([]string{"b", "c"}, 5000))
	if len(gone) != 10000 || len(added) != 10000 {
		t.Errorf("of two long texts %d lines go and %d come", len(gone), len(added))
	}
}
