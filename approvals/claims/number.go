package claims

import "strings"

// maxDigits keeps values and their products within int64.
const maxDigits = 11

// parse reads figures with separators of thousands and decimals: 1,234.50, 1.234,50, 1 234,50, 1'234. It refuses what is no number. dotted
// says that a thousand can be meant: 1.234.
func parse(text string) (value int64, dotted, ok bool) {
	text = strings.NewReplacer(string(thin), "", "'", "").Replace(text)
	whole, fraction := text, ""
	if last := strings.LastIndexAny(text, ".,"); last >= 0 {
		sep, after := text[last:last+1], text[last+1:]
		once := strings.Count(text, sep) == 1
		alone := once && strings.Count(text, ".")+strings.Count(text, ",") == 1
		grouped := alone && len(after) == 3 && last <= 3 && text[0] != '0'
		if once && (sep == "." || !grouped) {
			whole, fraction, dotted = text[:last], after, grouped
		}
	}
	if whole, ok = ungrouped(whole); !ok || len(whole) > maxDigits {
		return 0, false, false
	}
	return digits(whole, fraction), dotted, true
}

// ungrouped takes out separators of thousands, of which each must part three digits.
func ungrouped(text string) (string, bool) {
	i := strings.IndexAny(text, ".,")
	if i < 0 {
		return text, true
	}
	groups := strings.Split(text, text[i:i+1])
	for j, g := range groups {
		if j > 0 && len(g) != 3 || j == 0 && len(g) > 3 || strings.ContainsAny(g, ".,") {
			return "", false
		}
	}
	return strings.Join(groups, ""), true
}

// digits makes a value. Decimals beyond the fourth only count as being there.
func digits(whole, fraction string) (v int64) {
	for _, d := range whole {
		v = v*10 + int64(d-'0')
	}
	for i := range 4 {
		v *= 10
		if i < len(fraction) {
			v += int64(fraction[i] - '0')
		}
	}
	if len(fraction) > 4 && strings.Trim(fraction[4:], "0") != "" {
		v++
	}
	return v
}

// Numbers in English words.
var (
	small = map[string]int64{
		"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
		"twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
		"twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
	}
	scales = map[string]int64{
		"hundred": 100, "dozen": 12, "thousand": 1000, "grand": 1000, "million": 1000000, "k": 1000, "m": 1000000, "mn": 1000000, "bn": 1000000000,
		"kgbp": 1000, "keur": 1000, "kusd": 1000,
	}
)

// spellOut joins words and figures that are one number: twelve hundred, eighty-four, 1.2 million, 3k.
func spellOut(tokens []token) []token {
	out := tokens[:0:0]
	for i := 0; i < len(tokens); {
		t, n := spelled(tokens[i:])
		if n == 0 {
			t, n = tokens[i], 1
		}
		out, i = append(out, t), i+n
	}
	return out
}

// spelled reads one number that words are part of, and gives how many tokens it takes; 0 where there is none.
func spelled(l []token) (token, int) {
	t := l[0]
	var total, current int64
	n, words := 0, 0
	for n < len(l) && n < 12 {
		w := l[n]
		v, isSmall := small[w.low]
		scale, isScale := scales[w.low]
		switch {
		case n == 0 && w.form == number:
			current = w.value
		case w.form == word && isSmall && (n == 0 || l[n-1].form != number):
			current, words = current+v*one, words+1
		case w.form == word && isScale && (n > 0 || len(w.low) > 2 && w.low != "grand"):
			if n == 0 {
				current = one
			}
			t.slack = shortened(l[0], scale)
			if current, words = times(current, scale), words+1; scale >= 1000 {
				total, current = total+current, 0
			}
		case w.form == word && n == 0 && (w.low == "a" || w.low == "an") && len(l) > 1 && scales[l[1].low] > 0 && len(l[1].low) > 2:
			current = one
		case n > 0 && words > 0 && (w.low == "and" || w.low == "-") && len(l) > n+1 && follows(l[n+1]):
		default:
			return numbered(t, l, n, words, total+current)
		}
		n++
	}
	return numbered(t, l, n, words, total+current)
}

func follows(t token) bool { _, ok := small[t.low]; return ok && t.form == word }

func numbered(t token, l []token, n, words int, value int64) (token, int) {
	if words == 0 {
		return t, 0
	}
	t.form, t.value, t.end, t.dotted = number, value, l[n-1].end, false
	t.text = "" // not figures
	return t, n
}

// shortened is by how much a figure before a scale may be off: half of its last place. What is spelled out is meant as it stands.
func shortened(t token, scale int64) int64 {
	if t.form != number || scale < 1000 {
		return 0
	}
	slack := times(one, scale) / 2
	if i := strings.LastIndexAny(t.text, ".,"); i >= 0 {
		for range len(t.text) - i - 1 {
			slack /= 10
		}
	}
	return slack
}

// most is the largest value.
const most = int64(1) << 61

// times multiplies up to most.
func times(v, by int64) int64 {
	if v > most/by {
		return most
	}
	return v * by
}
