package shop

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// skuFacts is what the rows say about one SKU.
type skuFacts struct {
	titles map[string]int
	prices []pricePoint // every sale, as it comes in
	last   time.Time
}

type pricePoint struct {
	at    time.Time
	minor int64
}

func (l *ledger) learn(e entry) {
	f := l.facts[e.sku]
	if f == nil {
		f = &skuFacts{titles: map[string]int{}}
		l.facts[e.sku] = f
	}
	if e.title != "" {
		f.titles[e.title]++
	}
	f.prices = append(f.prices, pricePoint{e.at, e.price})
	f.last = later(f.last, e.at)
}

// price is the most frequent price of the last 90 days in which the SKU sold; of two, the lower.
func (f *skuFacts) price() int64 {
	counts := map[int64]int{}
	for _, p := range f.prices {
		if f.last.Sub(p.at) <= 90*24*time.Hour {
			counts[p.minor]++
		}
	}
	return mostFrequent(counts)
}

// mostFrequent is the key with the highest count; of several, the least.
func mostFrequent[K cmp.Ordered](counts map[K]int) K {
	var best K
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		if counts[k] > counts[best] {
			best = k
		}
	}
	return best
}

// addProducts makes the catalogue out of what was sold. SKUs that share five digits are variants of one product when
// their names share words, and products of their own when they do not.
func (l *ledger) addProducts() {
	titles, groups := map[string]string{}, map[string][]string{}
	for _, sku := range slices.Sorted(maps.Keys(l.facts)) {
		titles[sku] = cmp.Or(titleCase(mostFrequent(l.facts[sku].titles)), sku)
		groups[sku[:5]] = append(groups[sku[:5]], sku)
	}
	for _, base := range slices.Sorted(maps.Keys(groups)) {
		skus := groups[base]
		shared := sharedWords(skus, titles)
		if len(shared) > 0 {
			l.addProduct(base, strings.Join(shared, " "), skus, titles)
			continue
		}
		for _, sku := range skus {
			l.addProduct(sku, titles[sku], []string{sku}, titles)
		}
	}
	for i := range l.contents.Orders {
		for j := range l.contents.Orders[i].Lines {
			line := &l.contents.Orders[i].Lines[j]
			line.Title = titles[line.SKU]
		}
	}
}

func (l *ledger) addProduct(code, title string, skus []string, titles map[string]string) {
	l.contents.Products = append(l.contents.Products, Product{
		Code: code, Title: title, Category: categoryOf(title + " " + titles[skus[0]]), Status: "active",
	})
	for _, sku := range skus {
		l.contents.Variants = append(l.contents.Variants, Variant{
			SKU: sku, ProductCode: code, Title: titles[sku], Option: without(titles[sku], title),
			Price: l.contents.money(l.facts[sku].price()),
		})
	}
}

// sharedWords are the words that all the titles have, in the order of the first.
func sharedWords(skus []string, titles map[string]string) []string {
	shared := strings.Fields(titles[skus[0]])
	for _, sku := range skus[1:] {
		words := strings.Fields(titles[sku])
		shared = slices.DeleteFunc(shared, func(w string) bool { return !slices.Contains(words, w) })
	}
	if !slices.ContainsFunc(shared, func(w string) bool { return len(w) > 3 }) {
		return nil // "of", "set": no name
	}
	return shared
}

// without is what a title says beyond the words of another.
func without(title, words string) string {
	rest := strings.Fields(title)
	known := strings.Fields(words)
	return strings.Join(slices.DeleteFunc(rest, func(w string) bool { return slices.Contains(known, w) }), " ")
}

// titleCase turns the file's capitals into a title: WHITE HANGING HEART becomes White Hanging Heart.
func titleCase(s string) string {
	words := strings.Fields(strings.ToLower(s))
	for i, w := range words {
		if i == 0 || !slices.Contains([]string{"a", "and", "for", "in", "of", "on", "the", "with"}, w) {
			first := []rune(w)[:1]
			words[i] = strings.ToUpper(string(first)) + w[len(string(first)):]
		}
	}
	return strings.Join(words, " ")
}

// categories are tried in order; a title belongs to the first with a word in it.
var categories = []struct {
	name  string
	words []string
}{
	{"christmas", []string{"christmas", "xmas", "bauble", "advent", "reindeer", "santa", "stocking"}},
	{"lighting-candles", []string{"candle", "t-light", "lantern", "light", "lamp", "incense"}},
	{"bags-purses", []string{"bag", "purse", "wallet", "shopper", "washbag", "backpack"}},
	{"jewellery", []string{"necklace", "earring", "bracelet", "ring", "brooch", "jewel", "keyring", "pendant", "bead"}},
	{"kitchen-dining", []string{
		"mug", "cup", "cake", "tea", "coffee", "bowl", "plate", "egg", "jar", "kitchen", "pantry", "tray", "napkin",
		"apron", "cutlery", "baking", "glass", "doily", "teapot", "jug", "spoon",
	}},
	{"stationery-cards", []string{
		"card", "wrap", "notebook", "pencil", "pen", "sticker", "ribbon", "tape", "magnet", "journal", "paper", "tag", "chalk",
	}},
	{"bath-beauty", []string{"bath", "soap", "mirror", "bottle", "tissue", "towel"}},
	{"storage", []string{"box", "drawer", "hook", "knob", "cabinet", "rack", "hanger", "shelf", "chest", "tin", "basket"}},
	{"garden", []string{"garden", "planter", "parasol", "herb", "bird", "birdhouse", "watering", "gnome", "flower"}},
	{"toys-games", []string{"toy", "game", "jigsaw", "doll", "puzzle", "skittle", "sewing", "knitting", "child", "childs"}},
	{"party", []string{"party", "balloon", "bunting", "invite", "confetti", "straw", "flag"}},
}

// categoryOf is a keyword rule, as the bundle's was; the file itself has no categories.
func categoryOf(title string) string {
	words := strings.FieldsFunc(strings.ToLower(title), func(r rune) bool { return strings.ContainsRune(" /+,.", r) })
	for _, c := range categories {
		for _, w := range words {
			if slices.Contains(c.words, w) || slices.Contains(c.words, strings.TrimSuffix(w, "s")) {
				return c.name
			}
		}
	}
	return "home-decor"
}
