package plain

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// A Link is an address in a text. It is shown as text and leads nowhere; its host is named, for an address can be written so that another
// one is read.
type Link struct {
	Text  string `json:"text"`            // the first of it
	Host  string `json:"host,omitempty"`  // where it leads: what a browser takes for the host
	Reads string `json:"reads,omitempty"` // the host as it would be shown, where that is something else
	Odd   string `json:"odd,omitempty"`   // why to look twice; empty for an ordinary one
}

// Bounds of what is said of links.
const (
	maxLinks    = 10
	maxLinkText = 100
)

// address finds what programs make links of, and what runs when it is opened.
var address = regexp.MustCompile(`(?i)(?:[a-z][a-z0-9+.-]{1,20}:[/\\]{2}|\b(?:(?:javascript|vbscript|mailto):[^\s<>"']|data:[a-z]+/)|\bwww\.|\]\(//|\bxn--)[^\s<>"'` + "`" + `]*`)

// signs are parts of which every address has one: looking for them is quicker.
var signs = []string{"://", `:\`, ":/", "script:", "mailto:", "data:", "www.", "](//", "xn--"}

// linksIn gives the first links of a text.
func linksIn(text string) (links []Link) {
	low := strings.ToLower(text)
	if !slices.ContainsFunc(signs, func(sign string) bool { return strings.Contains(low, sign) }) {
		return nil
	}
	for _, found := range address.FindAllString(text, maxLinks) {
		found = strings.TrimRight(strings.TrimPrefix(found, "]("), `.,;:!?)]}>*_`)
		links = append(links, linkOf(found))
	}
	return links
}

func linkOf(text string) Link {
	l := Link{Text: cut(oneLine(text), maxLinkText)}
	scheme, rest, _ := strings.Cut(text, ":")
	switch scheme = strings.ToLower(scheme); scheme {
	case "javascript", "vbscript", "data":
		l.Odd = "runs as a program"
		return l
	case "mailto":
		rest = "//" + rest
	}
	if !strings.HasPrefix(strings.ReplaceAll(rest, `\`, "/"), "//") {
		rest = "//" + strings.TrimPrefix(text, "//") // www.… or a bare host
	}
	l.setHost(rest[2:], scheme == "mailto")
	return l
}

// setHost reads the host as browsers do (WHATWG URL): it ends at the first slash of either kind, ? or #, and begins after the last @ before
// that. A bar ends it in chat programs.
func (l *Link) setHost(authority string, mail bool) {
	authority = strings.TrimLeft(authority, `/\`)
	if end := strings.IndexAny(authority, `/\?#|`); end >= 0 {
		authority = authority[:end]
	}
	before := ""
	if at := strings.LastIndex(authority, "@"); at >= 0 {
		before, authority = authority[:at], authority[at+1:]
	}
	host := strings.ToLower(norm.NFKC.String(strings.Map(visibleDot, authority)))
	if port := strings.LastIndexByte(host, ':'); port > strings.LastIndexByte(host, ']') {
		host = host[:port]
	}
	l.Host = cut(oneLine(host), maxLinkText)
	reads := decodeHost(host)
	if reads != host {
		l.Reads = cut(oneLine(reads), maxLinkText)
	}
	l.Odd = oddHost(host, reads)
	if before != "" && !mail {
		l.Odd = "names " + cut(oneLine(before), 40) + " before the host it leads to"
	}
}

// visibleDot drops what browsers leave out of a host and reads every full stop as one.
func visibleDot(r rune) rune {
	switch {
	case strings.ContainsRune("。．｡", r):
		return '.'
	case Hides(r):
		return -1
	}
	return r
}

// oddHost says why a host is not an ordinary one.
func oddHost(host, reads string) string {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return "leads to a bare address"
	}
	for label := range strings.SplitSeq(reads, ".") {
		w := word([]rune(label))
		if names, odd := w.scripts(); odd {
			return "mixes " + strings.Join(names, " and ") + " letters in its host"
		}
		if w.latinAlike() {
			return "has a host that only looks Latin"
		}
	}
	if reads != host {
		return "hides its letters in punycode"
	}
	return ""
}

// latinAlike reports whether every letter of a label that is not Latin looks like one, and there is one.
func (w word) latinAlike() bool {
	alike := 0
	for _, r := range w {
		switch {
		case scriptOf(r) == "":
		case Latin(r) == r:
			return false
		default:
			alike++
		}
	}
	return alike > 0
}

// decodeHost gives the labels of a host that are punycode as they would be shown.
func decodeHost(host string) string {
	labels := strings.Split(host, ".")
	for i, label := range labels {
		if code, ok := strings.CutPrefix(label, "xn--"); ok {
			if text, ok := punycode(code); ok {
				labels[i] = text
			}
		}
	}
	return strings.Join(labels, ".")
}

// Parameters of punycode: RFC 3492, section 5.
const (
	base, tmin, tmax, skew, damp = 36, 1, 26, 38, 700
	firstBias, firstCode         = 72, 0x80
	maxLabel                     = 63
)

// punycode decodes a label: RFC 3492, section 6.2.
func punycode(code string) (string, bool) {
	if len(code) > maxLabel {
		return "", false
	}
	var out []rune
	if last := strings.LastIndexByte(code, '-'); last >= 0 {
		out, code = []rune(code[:last]), code[last+1:]
	}
	n, i, bias := firstCode, 0, firstBias
	for len(code) > 0 {
		delta, rest, ok := variable(code, bias)
		if !ok {
			return "", false
		}
		code, i = rest, i+delta
		n += i / (len(out) + 1)
		if n > 0x10FFFF {
			return "", false
		}
		bias = adapt(delta, len(out)+1, delta == i)
		i %= len(out) + 1
		out = append(out[:i], append([]rune{rune(n)}, out[i:]...)...)
		i++
	}
	return string(out), true
}

// variable reads one number of variable length: RFC 3492, section 3.3.
func variable(code string, bias int) (value int, rest string, ok bool) {
	for at, weight, k := 0, 1, base; at < len(code) && weight < 1<<40; at, k = at+1, k+base {
		digit := strings.IndexByte("abcdefghijklmnopqrstuvwxyz0123456789", code[at])
		if digit < 0 {
			return 0, "", false
		}
		value += digit * weight
		least := min(max(k-bias, tmin), tmax)
		if digit < least {
			return value, code[at+1:], true
		}
		weight *= base - least
	}
	return 0, "", false
}

// adapt gives the next bias: RFC 3492, section 6.1.
func adapt(delta, points int, first bool) int {
	if delta /= 2; first {
		delta = delta * 2 / damp
	}
	delta += delta / points
	k := 0
	for ; delta > (base-tmin)*tmax/2; k += base {
		delta /= base - tmin
	}
	return k + (base-tmin+1)*delta/(delta+skew)
}

// oneLine is a short text in one line, with escapes in brackets.
func oneLine(text string) string {
	c := read(text)
	var b strings.Builder
	for i, k := range c.kinds() {
		switch {
		case k != visible || c[i] == '\n':
			fmt.Fprintf(&b, "[%s]", escape(c[i:i+1]))
		default:
			b.WriteRune(c[i])
		}
	}
	return b.String()
}

// cut shortens a text to so many characters, and shows that.
func cut(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
