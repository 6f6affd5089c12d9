package claims

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A known is a record, by what is looked for in it.
type known struct {
	effect []mention // of what the call does: its money, its customers, its percentages, its ids
	rest   []mention // of all else on record
	object string    // kind of what the call is about
	named  map[slot]bool
}

// A slot is what mentions are compared within: money, customers, ids of one kind, names of one kind.
type slot struct {
	kind Kind
	of   string
}

func (m mention) slot() slot {
	if m.kind == Money {
		return slot{Money, ""}
	}
	return slot{m.kind, m.of}
}

// index reads a record.
func index(r Record) *known {
	k := &known{named: map[slot]bool{}}
	if kind, id, ok := strings.Cut(r.Resource, ":"); ok && id != "" && id != "+" && id != "*" {
		k.object = kind
		k.effect = append(k.effect, mention{kind: ID, of: kind, text: strings.ToLower(id)})
	}
	k.args(r.Args)
	if m := r.Preview.Money; m != nil {
		k.effect = append(k.effect, moneyOf(*m))
	}
	if n := r.Preview.Customers; n > 0 {
		k.effect = append(k.effect, mention{kind: Number, of: "customers", value: times(n, one)})
	}
	if at := r.Preview.RunAt; !at.IsZero() {
		k.effect = append(k.effect, mention{kind: Date, text: shop.Day(at)})
	}
	k.texts(r)
	return k
}

func moneyOf(m shop.Money) mention {
	return mention{kind: Money, of: m.Currency, value: times(m.AmountMinor, one/100)}
}

// inQuotes are names that somebody chose: “£12” is no amount.
var inQuotes = regexp.MustCompile(`“[^”]*”`)

// texts reads what the server says in words.
func (k *known) texts(r Record) {
	room := maxRecord
	read := func(text string) {
		text, _ = prefix(text, room)
		room -= len([]rune(text))
		for rest := text; rest != ""; { // find stops after so many
			part, _ := prefix(rest, 500)
			k.rest = append(k.rest, find(inQuotes.ReplaceAllString(part, " "))...)
			k.rest = append(k.rest, within(find(part), func(m mention) bool { return m.kind == Name })...)
			rest = rest[len(part):]
		}
	}
	read(r.Preview.Summary)
	for _, f := range r.Facts {
		if !f.Quoted {
			read(f.Label + " " + f.Value)
		}
	}
	for _, c := range r.Preview.Changes {
		read(c.Object + " " + c.Field + " " + c.From)
		read(c.Object + " " + c.Field + " " + c.To)
		k.difference(c)
	}
	for _, w := range r.Preview.Warnings {
		read(w)
	}
}

// difference adds by how much an amount changes: a reason says "£5 more" of what goes from £10 to £15.
func (k *known) difference(c tools.Change) {
	from, to := find(cutText(c.From)), find(cutText(c.To))
	if len(from) != 1 || len(to) != 1 || from[0].slot() != to[0].slot() || from[0].kind != Money && from[0].kind != Number {
		return
	}
	d := to[0]
	d.value = max(to[0].value-from[0].value, from[0].value-to[0].value)
	k.rest = append(k.rest, d)
}

func cutText(text string) string {
	text, _ = prefix(text, 40)
	return text
}

// args reads the arguments: amounts, ids, percentages, numbers and texts by the names of their fields. The reason and the key say nothing.
func (k *known) args(raw json.RawMessage) {
	var all any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if len(raw) == 0 || d.Decode(&all) != nil {
		return
	}
	left := maxDecoded
	k.arg("", all, &left)
}

func (k *known) arg(name string, value any, left *int) {
	if *left--; *left < 0 || name == "reason" || name == "idempotency_key" {
		return
	}
	switch v := value.(type) {
	case map[string]any:
		if k.amount(v) {
			return
		}
		for field, inner := range v {
			k.arg(field, inner, left)
		}
	case []any:
		for _, inner := range v {
			k.arg(name, inner, left)
		}
	case json.Number:
		k.figure(name, v.String())
	case string:
		k.text(name, v)
	}
}

// amount takes {"amount_minor":1230,"currency":"GBP"} for money.
func (k *known) amount(v map[string]any) bool {
	minor, ok := v["amount_minor"].(json.Number)
	currency, named := v["currency"].(string)
	n, err := minor.Int64()
	if !ok || !named || err != nil {
		return false
	}
	k.effect = append(k.effect, moneyOf(shop.Money{AmountMinor: n, Currency: currency}))
	return true
}

func (k *known) figure(name, figures string) {
	value, _, ok := parse(strings.TrimPrefix(figures, "-"))
	if !ok {
		return
	}
	m := mention{kind: Number, value: value, text: figures}
	switch {
	case strings.Contains(name, "percent"):
		m.kind = Percent
	case strings.Contains(name, "recipients"), strings.Contains(name, "customers"):
		m.of = "customers"
	case strings.Contains(name, "version"):
		return
	}
	k.effect = append(k.effect, m)
}

// text takes a text for an id where its field says so, for a target type:id, or for a name or a date.
func (k *known) text(name, value string) {
	if len(value) > 200 {
		return
	}
	low := strings.ToLower(value)
	kind := fieldKind(name)
	switch typed, id, ok := strings.Cut(low, ":"); {
	case name == "target" && ok:
		k.object = typed
		k.effect = append(k.effect, mention{kind: ID, of: typed, text: id})
	case kind != "":
		k.effect = append(k.effect, mention{kind: ID, of: kind, text: low})
	case name == "name" || name == "title" || name == "headline":
		k.effect = append(k.effect, mention{kind: Name, text: folded(tokenize(value))})
	default: // a date or a code; prose proves nothing
		if all := find(value); len(all) == 1 && all[0].end-all[0].start == len(value) && (all[0].kind == Date || all[0].kind == ID) {
			k.effect = append(k.effect, all[0])
		}
	}
}

// fieldKind is the kind of object that a field names: order_no, campaign_id, sku.
func fieldKind(name string) string {
	for _, end := range []string{"_no", "_id", "_ref", "_number", "_nos", "_ids"} {
		name = strings.TrimSuffix(name, end)
	}
	if objects[name] != "" {
		return objects[name]
	}
	if name == "ad_campaign" || name == "ad_account" {
		return name
	}
	return ""
}

// hear notes what of the effect the reason names.
func (k *known) hear(said []mention) {
	var sum int64
	for _, m := range said {
		if m.kind == Money {
			sum = min(most, sum+m.value)
		}
		for _, e := range k.effect {
			if m.is(e) {
				k.named[e.slot()] = true
			}
		}
	}
	for _, e := range k.effect { // £5 of postage and £7 for the cup
		if e.kind == Money && e.value == sum && sum > 0 {
			k.named[e.slot()] = true
		}
	}
}

// is reports whether a mention means what is on record.
func (m mention) is(e mention) bool {
	if m.kind != e.kind {
		return m.kind == Number && m.of == "" && e.kind == ID && m.text != "" && m.text == e.text
	}
	switch m.kind {
	case Money:
		return (m.of == e.of || m.of == "") && near(m, e)
	case Number:
		return (m.of == "" || e.of == m.of) && near(m, e)
	case Percent:
		return m.value == e.value
	case ID:
		return (m.of == e.of || m.of == "" || e.of == "") && m.text == e.text
	case Name:
		return m.text == e.text || m.of == "person" && e.of == "person" && partOf(m.text, e.text)
	}
	return sameDay(m.text, e) || m.other != "" && sameDay(m.other, e)
}

// maxOff is by how much of itself an amount that was shortened may be off: a twentieth.
const maxOff = 20

// near reports whether an amount is the one on record, or its shortened form.
func near(m, e mention) bool {
	off := max(m.value-e.value, e.value-m.value)
	return off == 0 || off <= m.slack && off <= e.value/maxOff
}

// partOf reports whether every word of a name is one of the other.
func partOf(short, long string) bool {
	words := strings.Fields(long)
	for _, w := range strings.Fields(short) {
		if !slices.Contains(words, w) {
			return false
		}
	}
	return short != ""
}

// sameDay compares days, of which either may have no year.
func sameDay(day string, e mention) bool {
	return slices.ContainsFunc([]string{e.text, e.other}, func(on string) bool {
		return on != "" && (day == on || strings.HasPrefix(day, "--") && strings.HasSuffix(on, day[1:]) || strings.HasPrefix(on, "--") && strings.HasSuffix(day, on[1:]))
	})
}

// words are values of the record as they are told beside a claim.
func words(all []mention) string {
	var told []string
	for _, m := range all {
		if w := m.words(); w != "" && !slices.Contains(told, w) && len(told) < maxShown {
			told = append(told, w)
		}
	}
	return strings.Join(told, ", ")
}

func (m mention) words() string {
	switch m.kind {
	case Money:
		return shop.Money{AmountMinor: m.value / (one / 100), Currency: m.of}.String()
	case Number, Percent:
		figures := shop.Thousands(m.value / one)
		if rest := m.value % one; rest != 0 {
			figures += strings.TrimRight(fmt.Sprintf(".%04d", rest), "0")
		}
		if m.kind == Percent {
			return figures + "%"
		}
		return strings.TrimSpace(figures + " " + m.of)
	}
	return m.text
}
