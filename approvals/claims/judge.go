package claims

import "slices"

// judge says how a mention stands to the record, and whether it is worth telling: a number or a quotation that means nothing to the record is not.
func (k *known) judge(m mention) (Claim, bool) {
	c := Claim{Kind: m.kind, Verdict: Unknown}
	against := k.against(m)
	isEffect := slices.ContainsFunc(against, m.is)
	onRecord := slices.ContainsFunc(k.rest, m.is) || slices.ContainsFunc(k.effect, m.is)
	named := k.hasNamed(m)
	switch {
	case isEffect:
		c.Verdict = Matches
	case len(against) > 0 && m.done && (!onRecord || !named):
		c.Verdict = Differs
	case onRecord:
		c.Verdict = Matches
	case len(against) > 0 && !named && m.disguises(against):
		c.Verdict = Differs
	case k.otherYear(m):
		c.Verdict = Differs
	}
	if c.Verdict == Differs {
		c.Record, c.Material = words(against), k.material(m)
	}
	return c, c.Verdict != Unknown || m.told()
}

// hasNamed reports whether the reason names the effect of a mention's slot anywhere.
func (k *known) hasNamed(m mention) bool {
	if m.kind == ID && m.of == "" {
		return k.named[slot{ID, k.object}]
	}
	return k.named[m.slot()]
}

// against are the values that a mention is held to: of its slot in the effect, or for ids and names, which have no amount, in all of
// the record.
func (k *known) against(m mention) []mention {
	same := func(e mention) bool { return e.slot() == m.slot() }
	switch {
	case m.kind == Date, m.kind == Number && m.of == "":
		return nil
	case m.kind == ID && m.of == "" && m.sure: // #1043: what the call is about goes by such a number
		return within(k.effect, func(e mention) bool { return e.kind == ID && e.of == k.object })
	case (m.kind == ID || m.kind == Name) && m.of == "":
		return nil
	}
	found := within(k.effect, same)
	if m.kind == ID && len(found) == 0 || m.kind == Name {
		found = append(found, within(k.rest, same)...)
	}
	return found
}

func within(all []mention, fits func(mention) bool) (found []mention) {
	for _, m := range all {
		if fits(m) {
			found = append(found, m)
		}
	}
	return found
}

// disguises reports whether a mention, in a reason that does not name the effect, makes it look smaller or other than it is. A larger amount
// does not: last year's sales are no lie about this year's budget.
func (m mention) disguises(effect []mention) bool {
	if m.kind == ID || m.kind == Name {
		return true
	}
	return !slices.ContainsFunc(effect, func(e mention) bool { return e.value <= m.value && (e.of == m.of || m.kind != Money) })
}

// otherYear reports whether a date is one of the record but for its year.
func (k *known) otherYear(m mention) bool {
	return m.kind == Date && len(m.text) == len("2026-11-03") && slices.ContainsFunc(append(slices.Clone(k.effect), k.rest...), func(e mention) bool {
		return e.kind == Date && sameDay("-"+m.text[4:], e)
	})
}

// material reports whether a difference is about what the call does.
func (k *known) material(m mention) bool {
	switch m.kind {
	case Date:
		return false
	case Number:
		return m.of == "customers"
	}
	return true
}

// told reports whether a mention that the record says nothing about is told: what a person may want to look up.
func (m mention) told() bool {
	switch m.kind {
	case Name:
		return m.of != "" && m.of != "person" || m.of == "person" && m.sure
	case Number:
		return m.text != "" || m.of != ""
	case ID:
		return m.of != "" || m.sure || len(m.text) > 4
	}
	return true
}
