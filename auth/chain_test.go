package auth

import (
	"errors"
	flags "flag"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The universe of these tests is small, so that everything in it can be asked: names of objects and tools, patterns over them, scopes,
// actions, networks and addresses. The oracle reads patterns as regular expressions and knows nothing of how chains are judged.
var (
	someScopes   = []Scope{"orders:read", "orders:write", "orders:refund", "catalog:read"}
	someGrants   = []string{"payments:refund", "payments:*", "helpdesk:send_reply", "*"}
	someActions  = []string{"payments:refund", "payments:charge", "helpdesk:send_reply"}
	somePatterns = []string{
		"order:1", "order:12", "order:*", "order:1_*", "order:1_a", "orders.*", "orders.get", "dtc_*", "dtc_get_*", "dtc_get_order",
		"queue:*", "queue:a/*", "queue:a/1",
	}
	// Each pattern names at least two of these that no pattern spells out, so that none looks smaller than it is.
	someNames = append(slices.DeleteFunc(slices.Clone(somePatterns), func(p string) bool { return strings.HasSuffix(p, "*") }),
		"order:", "order:3", "order:33", "order:1_", "order:1_b", "order:1_bb", "orders.", "orders.x", "orders.x.y", "dtc_", "dtc_x", "dtc_xx", "dtc_get_", "dtc_get_x", "dtc_get_xx", "other",
		"queue:", "queue:b", "queue:b/1", "queue:a/", "queue:a/2", "queue:a/22", "queue:ab/1")
	someNetworks = parsed("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "2001:db8::/32", "2001:db8:1::/48", "0.0.0.0/0")
	someSources  = []netip.Addr{
		netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("10.1.2.4"), netip.MustParseAddr("10.1.9.9"), netip.MustParseAddr("10.9.9.9"),
		netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:2::1"), netip.MustParseAddr("::1"),
	}
	somebodysTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

func parsed(texts ...string) (all Networks) {
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

// often runs a property a few thousand times, or as often as -rapid.checks says.
func often(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	checks := flags.Lookup("rapid.checks")
	if checks.Value.String() == checks.DefValue {
		_ = checks.Value.Set("3000")
		defer func() { _ = checks.Value.Set(checks.DefValue) }()
	}
	rapid.Check(t, property)
}

// some draws a part of all, none and everything among it.
func some[T any](t *rapid.T, what string, all []T) (part []T) {
	bits := rapid.Uint64Range(0, 1<<len(all)-1).Draw(t, what)
	for i, v := range all {
		if bits>>i&1 == 1 {
			part = append(part, v)
		}
	}
	return part
}

// few is some of all, but often none: an empty list is no limit.
func few[T any](t *rapid.T, what string, all []T) []T {
	if rapid.IntRange(0, 2).Draw(t, what+"?") > 0 {
		return nil
	}
	return some(t, what, all)
}

func aLink(t *rapid.T, kind Kind) Link {
	l := Link{
		Kind: kind, Scopes: some(t, "scopes", someScopes), Ceiling: Level(rapid.IntRange(0, 7).Draw(t, "ceiling")),
		Networks: few(t, "networks", someNetworks), Tools: few(t, "tools", somePatterns), Resources: few(t, "resources", somePatterns),
	}
	if kind != KindPerson {
		l.Actions, l.Depth = some(t, "actions", someGrants), rapid.IntRange(0, 4).Draw(t, "depth")
		l.RequiresApproval = kind == KindKey && rapid.Bool().Draw(t, "approval")
		if minutes := rapid.IntRange(0, 90).Draw(t, "minutes"); minutes > 0 {
			l.ExpiresAt = somebodysTime.Add(time.Duration(minutes) * time.Minute)
		}
		l.Rate = Rate{PerMinute: int64(rapid.IntRange(0, 4).Draw(t, "rate"))}
	}
	return l
}

// aChain draws sub-tokens, the key they come from and, maybe, its owner.
func aChain(t *rapid.T) []Link {
	var links []Link
	for range rapid.IntRange(0, 3).Draw(t, "sub-tokens") {
		links = append(links, aLink(t, KindSubToken))
	}
	links = append(links, aLink(t, KindKey))
	if rapid.Bool().Draw(t, "owned") {
		links = append(links, aLink(t, KindPerson))
	}
	return links
}

// matches reports whether a pattern names something, read as a regular expression.
func matches(pattern, name string) bool {
	head, star := strings.CutSuffix(pattern, "*")
	text := "^" + regexp.QuoteMeta(head)
	if star {
		text += ".+"
	}
	re, known := expressions[text+"$"]
	if !known {
		re = regexp.MustCompile(text + "$")
		expressions[text+"$"] = re
	}
	return re.MatchString(name)
}

var expressions = map[string]*regexp.Regexp{}

// allows is the oracle: whether each list, where it has anything, names it.
func allows(lists [][]string, name string) bool {
	for _, list := range lists {
		found := len(list) == 0
		for _, pattern := range list {
			found = found || matches(pattern, name)
		}
		if !found {
			return false
		}
	}
	return true
}

func lists(links []Link, of func(Link) []string) (all [][]string) {
	for _, l := range links {
		all = append(all, of(l))
	}
	return all
}

func mayRequest(links []Link, action string) bool {
	for _, l := range links {
		provider, _, _ := strings.Cut(action, ":")
		if l.Kind != KindPerson && !slices.Contains(l.Actions, action) && !slices.Contains(l.Actions, provider+":*") && !slices.Contains(l.Actions, "*") {
			return false
		}
	}
	return true
}

func mayComeFrom(links []Link, addr netip.Addr) bool {
	for _, l := range links {
		found := len(l.Networks) == 0
		for _, n := range l.Networks {
			found = found || n.Contains(addr)
		}
		if !found {
			return false
		}
	}
	return true
}

// A principal may do exactly what every one of its links may: the sub-token is one of them, and so is everything above it.
func TestASubTokenNeverExceedsItsAncestors(t *testing.T) {
	often(t, func(t *rapid.T) {
		links := aChain(t)
		p := join("mer", links)
		for _, name := range someNames {
			if got, want := p.MayTouch(name), allows(lists(links, resourcesOf), name); got != want {
				t.Fatalf("touching %s: %v, want %v", name, got, want)
			}
			if got, want := p.MayCall(name), allows(lists(links, toolsOf), name); got != want {
				t.Fatalf("calling %s: %v, want %v", name, got, want)
			}
		}
		for _, s := range someScopes {
			want := !slices.ContainsFunc(links, func(l Link) bool { return !slices.Contains(l.Scopes, s) })
			if p.Has(s) != want {
				t.Fatalf("holding %s: %v, want %v", s, p.Has(s), want)
			}
		}
		for _, a := range someActions {
			if got, want := p.MayRequest(a), mayRequest(links, a); got != want {
				t.Fatalf("requesting %s: %v, want %v", a, got, want)
			}
		}
		for _, addr := range someSources {
			if got, want := p.MayComeFrom(addr), mayComeFrom(links, addr); got != want {
				t.Fatalf("coming from %s: %v, want %v", addr, got, want)
			}
		}
		for i, l := range links {
			if p.Ceiling > l.Ceiling || l.RequiresApproval && !p.RequiresApproval || !l.ExpiresAt.IsZero() && (p.ExpiresAt.IsZero() || p.ExpiresAt.After(l.ExpiresAt)) {
				t.Fatalf("link %d holds %+v back, and not %+v", i, l, p)
			}
			if l.Kind != KindPerson && p.Depth() > max(0, l.Depth-i) {
				t.Fatalf("it may delegate %d deep, link %d has %d", p.Depth(), i, l.Depth)
			}
		}
	})
}

// less takes one right from a link: an entry of a list that keeps another, a level, a depth, some of its time.
func less(t *rapid.T, l Link) Link {
	drop := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "dropped") }
	switch which := rapid.IntRange(0, 8).Draw(t, "right"); {
	case which == 0 && len(l.Scopes) > 0:
		i := drop(len(l.Scopes))
		l.Scopes = slices.Delete(slices.Clone(l.Scopes), i, i+1)
	case which == 1 && len(l.Actions) > 0:
		i := drop(len(l.Actions))
		l.Actions = slices.Delete(slices.Clone(l.Actions), i, i+1)
	case which == 2 && len(l.Tools) > 1:
		i := drop(len(l.Tools))
		l.Tools = slices.Delete(slices.Clone(l.Tools), i, i+1)
	case which == 3 && len(l.Resources) > 1:
		i := drop(len(l.Resources))
		l.Resources = slices.Delete(slices.Clone(l.Resources), i, i+1)
	case which == 4 && len(l.Networks) > 1:
		i := drop(len(l.Networks))
		l.Networks = slices.Delete(slices.Clone(l.Networks), i, i+1)
	case which == 5 && len(l.Resources) == 0:
		l.Resources = []string{rapid.SampledFrom(somePatterns).Draw(t, "limit")}
	case which == 6 && len(l.Tools) == 0:
		l.Tools = []string{rapid.SampledFrom(somePatterns).Draw(t, "limit")}
	case which == 7 && l.Depth > 0:
		l.Depth--
	case l.Ceiling > 0:
		l.Ceiling--
	}
	return l
}

func TestRemovingARightNeverAllowsMore(t *testing.T) {
	often(t, func(t *rapid.T) {
		links := aChain(t)
		before := join("mer", links)
		i := rapid.IntRange(0, len(links)-1).Draw(t, "link")
		fewer := slices.Clone(links)
		fewer[i] = less(t, links[i])
		after := join("mer", fewer)
		more := func(what, of string, after, before bool) {
			if after && !before {
				t.Fatalf("%s %s became possible when link %d became %+v", what, of, i, fewer[i])
			}
		}
		for _, name := range someNames {
			more("touching", name, after.MayTouch(name), before.MayTouch(name))
			more("calling", name, after.MayCall(name), before.MayCall(name))
		}
		for _, s := range someScopes {
			more("holding", string(s), after.Has(s), before.Has(s))
		}
		for _, a := range someActions {
			more("requesting", a, after.MayRequest(a), before.MayRequest(a))
		}
		for _, addr := range someSources {
			more("coming from", addr.String(), after.MayComeFrom(addr), before.MayComeFrom(addr))
		}
		d := aDelegation(t)
		_, afterwards := after.Narrow(d, somebodysTime)
		_, beforehand := before.Narrow(d, somebodysTime)
		more("giving", "a sub-token", afterwards == nil, beforehand == nil)
		if after.Ceiling > before.Ceiling || after.Depth() > before.Depth() {
			t.Fatalf("the ceiling went from %s to %s, the depth from %d to %d", before.Ceiling, after.Ceiling, before.Depth(), after.Depth())
		}
	})
}

func aDelegation(t *rapid.T) Delegation {
	d := Delegation{
		Name: "n", Tools: few(t, "asked tools", somePatterns), Resources: few(t, "asked resources", somePatterns), Actions: few(t, "asked actions", someGrants),
		TTL: time.Duration(rapid.IntRange(1, 40).Draw(t, "asked minutes")) * time.Minute, Depth: max(0, rapid.IntRange(-4, 3).Draw(t, "asked depth")),
	}
	for _, s := range few(t, "asked scopes", someScopes) {
		d.Scopes = append(d.Scopes, string(s))
	}
	for _, n := range few(t, "asked networks", someNetworks) {
		d.Networks = append(d.Networks, n.String())
	}
	if level := rapid.IntRange(-8, 7).Draw(t, "asked ceiling"); level >= 0 {
		d.Ceiling = Level(level).String()
	}
	if rate := rapid.IntRange(-8, 4).Draw(t, "asked rate"); rate > 0 {
		d.Rate = &Rate{PerMinute: int64(rate)}
	}
	return d
}

// wider is the oracle of the rule of minting: the fields in which d asks for something in the universe that p has not.
func wider(p Principal, links []Link, d Delegation) (fields []string) {
	for _, list := range []struct {
		field string
		asked []string
		of    func(Link) []string
	}{{"tools", d.Tools, toolsOf}, {"resources", d.Resources, resourcesOf}} {
		for i, pattern := range list.asked {
			if slices.ContainsFunc(someNames, func(name string) bool { return matches(pattern, name) && !allows(lists(links, list.of), name) }) {
				fields = append(fields, element(list.field, i))
			}
		}
	}
	if slices.ContainsFunc(d.Scopes, func(s string) bool { return !slices.Contains(p.Scopes, Scope(s)) }) {
		fields = append(fields, "scopes")
	}
	if d.Ceiling != "" && d.Ceiling > p.Ceiling.String() {
		fields = append(fields, "ceiling")
	}
	if d.Depth > p.Depth()-1 {
		fields = append(fields, "depth")
	}
	if !p.ExpiresAt.IsZero() && somebodysTime.Add(d.TTL).After(p.ExpiresAt) {
		fields = append(fields, "ttl_seconds")
	}
	return fields
}

// exact are the fields of which the oracle knows in both directions whether they ask too much.
func exact(field string) bool {
	name, _, _ := strings.Cut(field, "[")
	return slices.Contains([]string{"tools", "resources", "scopes", "ceiling", "depth", "ttl_seconds"}, name)
}

// What is given reaches no further than the giver, on its own, whatever happens to those above; and what is refused really did.
func TestWhatIsGivenIsNeverWiderThanTheGiver(t *testing.T) {
	given := 0
	often(t, func(t *rapid.T) {
		links := aChain(t)
		p, d := join("mer", links), aDelegation(t)
		sub, err := p.Narrow(d, somebodysTime)
		if p.Depth() < 1 {
			if !errors.Is(err, ErrNoDelegation) {
				t.Fatalf("without depth: %v", err)
			}
			return
		}
		var refused []string
		if unfit := (*Undelegable)(nil); errors.As(err, &unfit) {
			for _, w := range unfit.Wider {
				refused = append(refused, w.Field)
			}
			if len(unfit.Malformed) > 0 {
				for _, w := range unfit.Malformed {
					if !slices.Contains([]string{"tools", "resources", "scopes", "actions", "networks"}, w.Field) {
						t.Fatalf("malformed: %+v", w)
					}
				}
			}
		}
		for _, field := range wider(p, links, d) {
			if !slices.Contains(refused, field) {
				t.Fatalf("%s asks for more than the giver has: %+v of %+v: %v", field, d, links, err)
			}
		}
		for _, field := range refused {
			if exact(field) && !slices.Contains(wider(p, links, d), field) {
				t.Fatalf("%s was refused and asks for nothing more: %+v of %+v", field, d, links)
			}
		}
		if err != nil {
			return
		}
		given++
		alone := join("mer", []Link{sub.link().Link})
		for _, a := range someActions {
			if alone.MayRequest(a) && !slices.Contains(links[0].Actions, a) && !mayRequest(links[:1], a) {
				t.Fatalf("it may request %s", a)
			}
		}
		for _, addr := range someSources {
			if len(sub.Networks) > 0 && alone.MayComeFrom(addr) && !mayComeFrom(links, addr) {
				t.Fatalf("it may come from %s", addr)
			}
		}
		for _, l := range links {
			if l.Rate.PerMinute > 0 && sub.Rate.PerMinute > l.Rate.PerMinute {
				t.Fatalf("its rate is %d of %d", sub.Rate.PerMinute, l.Rate.PerMinute)
			}
		}
		if slices.ContainsFunc(sub.Scopes, func(s Scope) bool { return !p.Has(s) }) || sub.Ceiling > p.Ceiling || sub.Depth >= p.Depth() ||
			!p.ExpiresAt.IsZero() && sub.ExpiresAt.After(p.ExpiresAt) {
			t.Fatalf("%+v is wider than %+v", sub, p)
		}
	})
	if given == 0 {
		t.Error("nothing was ever given")
	}
	t.Logf("%d were given", given)
}

// What the lists of a chain have in common, told as one list, names what the chain may touch and nothing else.
func TestTheReachOfAChainIsToldExactly(t *testing.T) {
	often(t, func(t *rapid.T) {
		p := join("mer", aChain(t))
		told := p.Resources()
		for _, name := range someNames {
			if named := told == nil || slices.ContainsFunc(told, func(pattern string) bool { return matches(pattern, name) }); named != p.MayTouch(name) {
				t.Fatalf("%s is told as %v by %v, and is %v", name, named, told, p.MayTouch(name))
			}
		}
	})
}

func TestAPatternNamesWhatBeginsLikeItUpToAWholeWord(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"queue:returns/*", "queue:returns/tkt_1", true},
		{"queue:returns/*", "queue:returns/*", true}, // the set itself
		{"queue:*", "queue:returns/*", true},
		{"queue:returns/*", "queue:*", false},
		{"queue:returns/*", "queue:returns/", false},
		{"queue:returns/*", "queue:returns2/tkt_1", false},
		{"queue:ret*", "queue:returns/tkt_1", false},
		{"*", "queue:returns/tkt_1", true},
		{"*", "*", true},
		{"*", "", false},
		{"/*", "queue:returns/tkt_1", false},
		{"", "", true}, // no key holds such a pattern
		{"order:*", "*", false},
	} {
		if got := Fits(c.pattern, c.name); got != c.want {
			t.Errorf("%q fits %q: %v", c.pattern, c.name, got)
		}
	}
}

// An object goes by several names, and each link may know it by another. What has no name is reached by nobody who is limited.
func TestAnObjectOfManyNamesIsReachedByAnyOfThem(t *testing.T) {
	often(t, func(t *rapid.T) {
		links := aChain(t)
		p := join("mer", links)
		names := some(t, "names", someNames)
		want := true
		for _, l := range links {
			any := len(l.Resources) == 0
			for _, name := range names {
				any = any || allows([][]string{l.Resources}, name)
			}
			want = want && any
		}
		if got := p.MayTouch(names...); got != want {
			t.Fatalf("%v: %v, want %v", names, got, want)
		}
	})
}
