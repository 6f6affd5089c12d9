package shop

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// The kinds of things that are found by words.
const (
	productWords  = "product"
	customerWords = "customer" // the number alone: names and addresses are not searched
)

// maxWord is how many letters of a word count. An index cannot hold a word of any length.
const maxWord = 40

// words are the different words of a text as the index keeps them: runs of letters and digits in lower case, without
// accents, in the order of the text.
func words(text string) []string {
	var all []string
	seen := map[string]bool{}
	for _, w := range strings.FieldsFunc(norm.NFKD.String(text), between) {
		if w = plain(w); w != "" && !seen[w] {
			seen[w] = true
			all = append(all, w)
		}
	}
	return all
}

// between reports whether a character stands between words. An apostrophe stands in one.
func between(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) && !strings.ContainsRune("'’", r)
}

// plain is a word in lower case, without apostrophes and the marks of its decomposed letters, and no longer than the
// index takes.
func plain(word string) string {
	letters := []rune(strings.ToLower(strings.Map(func(r rune) rune {
		if !unicode.IsLetter(r) && !unicode.IsNumber(r) {
			return -1
		}
		return r
	}, word)))
	return string(letters[:min(len(letters), maxWord)])
}

// index notes the words that a thing is found by. A thing is indexed once, with all its texts.
func (w *writer) index(kind, id string, text ...string) {
	if w.words == nil {
		w.words = w.sheet("search_words", "kind", "word", "id")
	}
	for _, word := range words(strings.Join(text, " ")) {
		w.words.add(kind, word, id)
	}
}

// index replaces the words that a thing is found by; without a text it is found no more.
func (d *Desk) index(kind, id string, text ...string) error {
	_, err := d.tx.Exec("DELETE FROM search_words WHERE merchant_id = $1 AND kind = $2 AND id = $3", d.merchant, kind, id)
	if err != nil {
		return fmt.Errorf("forgetting words: %w", err)
	}
	var rows [][]any
	for _, word := range words(strings.Join(text, " ")) {
		rows = append(rows, []any{d.merchant, kind, word, id})
	}
	if len(rows) == 0 {
		return nil
	}
	if err := d.tx.Insert("search_words", []string{"merchant_id", "kind", "word", "id"}, rows); err != nil {
		return fmt.Errorf("indexing words: %w", err)
	}
	return nil
}

// afterAll sorts after every letter and digit.
const afterAll = string(unicode.MaxRune)

// foundBy keeps the things of a kind that have, for every word of a text, a word that begins with it; column holds their
// ids. An empty text keeps everything, and one without a letter or digit nothing.
func (q *query) foundBy(kind, column, text, merchant string) *query {
	sought := words(text)
	if len(sought) == 0 && strings.TrimSpace(text) != "" {
		return q.add(" AND 1 = 0")
	}
	for _, word := range sought {
		q.add(" AND "+column+" IN (SELECT id FROM search_words WHERE merchant_id = ? AND kind = ? AND word >= ? AND word < ?)",
			merchant, kind, word, word+afterAll)
	}
	return q
}
