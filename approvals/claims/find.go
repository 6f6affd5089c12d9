package claims

import (
	"slices"
	"strings"
	"unicode"
)

// A mention is one number, id, name or date of a text.
type mention struct {
	kind       Kind
	of         string // currency of money, customers for a number of them, kind of object of an id or a name
	value      int64  // of money, numbers and percentages
	slack      int64
	dotted     bool
	text       string // of ids, names (folded) and dates (YYYY-MM-DD, --MM-DD)
	other      string // the other reading of a date such as 3/4/2026
	done       bool   // the text says that the call does it
	sure       bool   // an id that is called one
	start, end int
}

// find gives the mentions of a text, in order.
func find(text string) (all []mention) {
	t := tokenize(text)
	for i := 0; i < len(t) && len(all) <= maxClaims; {
		m, n := mentionAt(t, i, all)
		if n == 0 {
			i++
			continue
		}
		first := i
		if m.start == 0 && m.end == 0 {
			m.start, m.end = t[i].start, t[i+n-1].end
		}
		m.done = m.done || done(t, first)
		all, i = append(all, m), i+n
	}
	return all
}

// mentionAt reads one mention, and gives how many tokens it takes; 0 where there is none.
func mentionAt(t []token, i int, before []mention) (mention, int) {
	for _, try := range []func([]token, int) (mention, int){date, money, percent, customers, id, quoted, person} {
		if m, n := try(t, i); n > 0 {
			return m, n
		}
	}
	if m, n := listed(t, i, before); n > 0 {
		return m, n
	}
	switch t[i].form {
	case number:
		return mention{kind: Number, value: t[i].value, slack: t[i].slack, text: t[i].text}, 1
	case code:
		return mention{kind: ID, of: prefixes[prefixOf(t[i].low)], text: t[i].low}, 1
	}
	return mention{}, 0
}

// tok is a token in a place, and an empty one beyond either end.
func tok(t []token, i int) token {
	if i < 0 || i >= len(t) {
		return token{}
	}
	return t[i]
}

var currencies = map[string]string{
	"£": "GBP", "₤": "GBP", "gbp": "GBP", "pound": "GBP", "pounds": "GBP", "quid": "GBP", "sterling": "GBP", "kgbp": "GBP", "€": "EUR", "eur": "EUR", "euro": "EUR",
	"euros": "EUR", "keur": "EUR", "$": "USD", "usd": "USD", "dollar": "USD", "dollars": "USD", "bucks": "USD", "kusd": "USD", "¥": "JPY", "jpy": "JPY",
	"yen": "JPY", "chf": "CHF", "francs": "CHF", "sek": "SEK", "nok": "NOK", "dkk": "DKK", "pln": "PLN", "zloty": "PLN", "cad": "CAD", "aud": "AUD",
	"₽": "RUB", "rub": "RUB", "rubles": "RUB", "₹": "INR", "inr": "INR", "rupees": "INR",
}

// minor are words for hundredths of a currency.
var minor = map[string]string{"p": "GBP", "pence": "GBP", "penny": "GBP", "cents": "", "cent": ""}

// money reads £12.30, 12.30 GBP, EUR 1.234,50, twelve pounds, 50p.
func money(t []token, i int) (mention, int) {
	if cur := currencies[t[i].low]; cur != "" && tok(t, i+1).form == number {
		n := 2
		if currencies[tok(t, i+2).low] == cur { // £12 GBP
			n = 3
		}
		return amount(t[i+1], cur), n
	}
	if t[i].form != number {
		return mention{}, 0
	}
	after := tok(t, i+1)
	if cur := currencies[after.low]; cur != "" {
		m := amount(t[i], cur)
		if rest, n := pence(t, i+2); n > 0 { // twelve pounds fifty
			m.value += rest
			return m, 2 + n
		}
		return m, 2
	}
	if cur, ok := minor[after.low]; ok {
		m := amount(t[i], cur)
		m.value /= 100
		return m, 2
	}
	return mention{}, 0
}

// pence reads what follows whole pounds in words: fifty, and 50 pence.
func pence(t []token, i int) (int64, int) {
	n := 0
	if tok(t, i).low == "and" {
		n = 1
	}
	next, unit := tok(t, i+n), tok(t, i+n+1)
	_, counted := minor[unit.low]
	if next.form != number || next.value >= 100*one || next.value%one != 0 || !counted && next.text != "" {
		return 0, 0
	}
	if counted {
		n++
	} else if n == 1 {
		return 0, 0
	}
	return next.value / 100, n + 1
}

func amount(t token, currency string) mention {
	m := mention{kind: Money, of: currency, value: t.value, slack: t.slack, dotted: t.dotted}
	if m.dotted && currency == "EUR" { // 1.234 EUR is a thousand where euros are
		m.value *= 1000
	}
	return m
}

// percent reads 10%, 10 percent, ten per cent.
func percent(t []token, i int) (mention, int) {
	if t[i].form != number {
		return mention{}, 0
	}
	m := mention{kind: Percent, value: t[i].value}
	switch next := tok(t, i+1).low; {
	case next == "%" || next == "percent" || next == "pct":
		return m, 2
	case next == "per" && tok(t, i+2).low == "cent":
		return m, 3
	}
	return mention{}, 0
}

// people are whom a number counts, where it counts customers.
var people = []string{
	"customer", "customers", "recipient", "recipients", "subscriber", "subscribers", "client", "clients", "buyer", "buyers", "shopper", "shoppers",
	"people", "person", "contact", "contacts", "user", "users", "addressee", "addressees", "reader", "readers", "member", "members",
}

// customers reads 2,184 customers, 12 loyal customers.
func customers(t []token, i int) (mention, int) {
	if t[i].form != number {
		return mention{}, 0
	}
	for n := 1; n <= 3; n++ {
		next := tok(t, i+n)
		if next.form != word {
			break
		}
		if slices.Contains(people, next.low) {
			return mention{kind: Number, of: "customers", value: t[i].value, slack: t[i].slack}, n + 1
		}
		if stops[next.low] {
			break
		}
	}
	return mention{}, 0
}

// stops are words after which a number counts no customers any more.
var stops = map[string]bool{
	"of": true, "by": true, "for": true, "from": true, "to": true, "and": true, "or": true, "days": true, "day": true, "weeks": true, "months": true,
	"years": true, "hours": true, "orders": true, "the": true, "a": true, "pieces": true, "times": true, "on": true, "in": true, "with": true, "as": true,
}

// objects are the words for what ids name, and the kind that each is of.
var objects = map[string]string{
	"order": "order", "orders": "order", "customer": "customer", "customers": "customer", "client": "customer", "buyer": "customer", "ticket": "ticket",
	"tickets": "ticket", "campaign": "campaign", "campaigns": "campaign", "segment": "segment", "sku": "variant", "skus": "variant", "variant": "variant",
	"article": "variant", "product": "product", "page": "page", "account": "ad_account", "discount": "discount", "code": "discount", "invoice": "invoice",
	"shipment": "shipment", "parcel": "shipment", "refund": "refund", "job": "job", "case": "case", "month": "month", "effect": "effect",
}

// prefixes are those of ids, as in ord_17, and the kind that each is of.
var prefixes = map[string]string{
	"ord": "order", "order": "order", "cus": "customer", "cust": "customer", "customer": "customer", "tkt": "ticket", "ticket": "ticket", "cmp": "campaign",
	"seg": "segment", "ada": "ad_account", "adc": "ad_campaign", "dsc": "discount", "und": "effect", "job": "job", "sku": "variant", "inv": "invoice",
}

func prefixOf(id string) string {
	prefix, _, _ := strings.Cut(id, "_")
	return prefix
}

// kindAt is the kind of object that a word names.
func kindAt(t []token, i int) string {
	low := strings.TrimSuffix(tok(t, i).low, "'s")
	if before := tok(t, i-1).low; before == "ad" && (low == "campaign" || low == "account") {
		return "ad_" + low
	}
	return objects[low]
}

// fillers may stand between the word for an object and its id.
var fillers = []string{"#", "no", "nr", "number", "id", "ref", ":", ".", "№", "(", "is", "with", "the", "n"}

// id reads #1042, order 1042, order no. 1042, ticket tkt_7Q2.
func id(t []token, i int) (mention, int) {
	kind := kindAt(t, i)
	n, sure := 1, t[i].low == "#"
	if kind == "" && (!sure || others[tok(t, i-1).low] || tok(t, i+1).start != t[i].end || !strings.ContainsAny(tok(t, i+1).text, "0123456789")) {
		return mention{}, 0
	}
	for n < 4 && slices.Contains(fillers, tok(t, i+n).low) {
		sure = sure || strings.Contains("# no nr number id №", tok(t, i+n).low)
		n++
	}
	m, ok := idOf(tok(t, i+n), kind, sure)
	if !ok || !sure && counts(t, i+n) {
		return mention{}, 0
	}
	m.start, m.end = t[i+n].start, t[i+n].end
	if before := tok(t, i+n-1); before.low == "#" {
		m.start = before.start
	}
	m.done = done(t, i)
	return m, n + 1
}

// others are words for what goes by #1 and is no object of the shop.
var others = wordSet(`pr issue bug pull jira apt apartment flat room unit photo picture attempt try step point item line part reason rank top option
	question version page note comment`)

// idOf takes a token for an id of a kind. A figure alone must have two digits, or be called a number.
func idOf(t token, kind string, sure bool) (mention, bool) {
	figures := t.form == number && t.text != "" && !strings.ContainsAny(t.text, ".,")
	if !figures && t.form != code || figures && !sure && len(t.text) < 2 {
		return mention{}, false
	}
	if known := prefixes[prefixOf(t.low)]; known != "" && t.form == code {
		kind = known
	}
	return mention{kind: ID, of: kind, text: strings.ToLower(t.text), sure: sure}, true
}

// counts reports whether a figure counts what comes after it, and names nothing: the customer 12 days later.
func counts(t []token, i int) bool {
	next := tok(t, i+1)
	_, unit := minor[next.low]
	return tok(t, i).form == number && (next.low == "%" || currencies[next.low] != "" || unit || next.form == word && measures[next.low])
}

var measures = map[string]bool{
	"day": true, "days": true, "week": true, "weeks": true, "month": true, "months": true, "year": true, "years": true, "hour": true, "hours": true,
	"minute": true, "minutes": true, "times": true, "time": true, "piece": true, "pieces": true, "item": true, "items": true, "percent": true, "cups": true,
	"g": true, "kg": true, "cm": true, "mm": true, "x": true, "pm": true, "am": true,
}

// listed reads the second and later ids of a list: orders 1042 and 1043.
func listed(t []token, i int, before []mention) (mention, int) {
	if len(before) == 0 || i < 2 {
		return mention{}, 0
	}
	last := before[len(before)-1]
	joins := slices.Contains([]string{"and", ",", "&", "-", "/", "or", "to"}, t[i-1].low) && t[i-2].end == last.end
	m, ok := idOf(t[i], last.of, false)
	if last.kind != ID || last.of == "" || !joins || !ok || counts(t, i) {
		return mention{}, 0
	}
	m.done = last.done
	return m, 1
}

// quoted reads a name in quotation marks beside the word for an object: the campaign “Soap drop”.
func quoted(t []token, i int) (mention, int) {
	if t[i].low != `"` {
		return mention{}, 0
	}
	n := 1
	for n < 14 && tok(t, i+n).low != `"` && tok(t, i+n).text+tok(t, i+n).low != "" {
		n++
	}
	if tok(t, i+n).low != `"` || n == 1 {
		return mention{}, 0
	}
	m := mention{kind: Name, of: kindAt(t, i+n+1), text: folded(t[i+1 : i+n]), start: t[i+1].start, end: t[i+n-1].end}
	for back := 1; back <= 3 && m.of == ""; back++ {
		m.of = kindAt(t, i-back)
	}
	return m, n + 1
}

func folded(t []token) string {
	words := make([]string, len(t))
	for i := range t {
		words[i] = t[i].low
	}
	return strings.Join(words, " ")
}

// addressed are the words that a person's name follows.
var addressed = []string{"customer", "client", "buyer", "name", "mr", "mrs", "ms", "miss", "dr", "named", "called", "recipient"}

// titled are capitalised words that are no name of a person.
var titled = []string{
	"service", "support", "care", "id", "no", "number", "note", "order", "ticket", "customer", "the", "a", "relations", "success", "refund", "email", "mail",
	"sku", "is", "has", "was", "says", "said", "wants", "asked", "requested", "uk", "vip", "from", "of", "and",
}

// afterName follows a name that a verb alone introduces: refund Boris for …; the end of the text does, too.
var afterName = []string{"", "for", "because", "as", "since", "who", "in", "on", "with", "and", "of", "from", "his", "her", "their", "the", "a"}

// person reads the name of a person: customer Anna, Mr Smith.
func person(t []token, i int) (mention, int) {
	low := strings.TrimSuffix(t[i].low, "'s")
	doing := does[low] && t[i].form == word
	if !slices.Contains(addressed, low) && !doing {
		return mention{}, 0
	}
	n := 1
	for n < 3 && (slices.Contains([]string{":", "is", "name", "to"}, tok(t, i+n).low) || tok(t, i+n).low == "." && len(low) <= 3) { // Mr. Smith
		n++
	}
	if first := tok(t, i-1); !doing && len(low) > 4 && isName(t[i]) && first.form == word || low == "name" && n == 1 { // Use Customer Registration
		return mention{}, 0
	}
	first := n
	for n < first+3 && isName(tok(t, i+n)) {
		n++
	}
	if n == first || doing && tok(t, i+n).form != mark && !slices.Contains(afterName, tok(t, i+n).low) {
		return mention{}, 0
	}
	return mention{
		kind: Name, of: "person", text: folded(t[i+first : i+n]), start: t[i+first].start, end: t[i+n-1].end,
		done: !doing || done(t, i+first), sure: !doing,
	}, n
}

// isName reports whether a word is capitalised, and not all in capitals.
func isName(t token) bool {
	if t.form != word || slices.Contains(titled, t.low) || kindAt([]token{t}, 0) != "" || months[t.low] != 0 || currencies[t.low] != "" {
		return false
	}
	r := []rune(t.text)
	return len(r) > 1 && unicode.IsUpper(r[0]) && unicode.IsLower(r[1])
}

// does are verbs by which a reason says what the call does, and nouns that stand for it.
var does = wordSet(`refund refunds refunding give gives giving return returning pay pays paying repay reimburse reimbursing credit crediting compensate
	compensating send sends sending email emailing mail write writing notify notifying reach reaches reaching contact contacting message text
	cancel cancelling canceling close closing launch launching publish publishing spend spends spending charge budget cap limit cost costs costing
	discount reward goodwill erase erasing export exporting delete deleting recall recalling fulfil fulfilling ship shipping answer answering buy
	buying set setting raise raising lower lowering only just`)

// not are words after which a reason tells of something else than what the call does.
var not = wordSet(`asked asks wanted wants requested requests demanded claimed claims expected paid spent charged earlier already previously before
	instead not rather than like duplicate replaces replacement replacing compare compared last past was were had been ago old former initially
	originally first another other similar same as worth total value valued sold earned brought made over under of`)

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(words) {
		set[w] = true
	}
	return set
}

// reachBack is how many words before a mention tell what it is.
const reachBack = 5

// done reports whether the words before a place say that the call does what stands there: refund £12; a refund of £12.
func done(t []token, i int) bool {
	for n := 1; n <= reachBack; n++ {
		before := tok(t, i-n)
		switch {
		case before.form == mark && strings.ContainsAny(before.text, ".!?;\n") || i-n < 0:
			return false
		case before.low == "of" && does[tok(t, i-n-1).low]:
			return !not[tok(t, i-n-2).low]
		case does[before.low]:
			return !not[tok(t, i-n-1).low] && !not[tok(t, i-n-2).low]
		case not[before.low]:
			return false
		}
	}
	return false
}
