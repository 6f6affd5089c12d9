package plain

import (
	"fmt"
	"strings"
)

// Warnings says in words what is in a text that a reader should know of, the gravest first. A text of which there is nothing to say has none.
func (s Shown) Warnings() (all []string) {
	add := func(n int, thing string) {
		if n > 0 {
			all = append(all, count(n, thing))
		}
	}
	add(s.Hidden, "hidden character")
	for _, text := range s.Spelled {
		all = append(all, fmt.Sprintf("hidden characters that spell “%s”", text))
	}
	add(s.Bidi, "character, made to turn the direction of reading")
	add(s.Control, "control character")
	for _, w := range s.Words {
		all = append(all, w.warning())
	}
	add(s.Mixed-len(s.Words), "more word, of mixed letters")
	for _, l := range s.Links {
		if l.Odd != "" {
			all = append(all, l.warning())
		}
	}
	add(s.Marks, "mark, piled on a letter")
	add(s.Blank, "blank, in long runs")
	return all
}

func (w Word) warning() string {
	how := "mixes " + strings.Join(w.Scripts, " and ")
	if last := w.Scripts[len(w.Scripts)-1]; last != otherDigits {
		how += " letters"
	}
	if w.Latin {
		how = "looks Latin and is written in " + strings.Join(w.Scripts, " and ") + " letters"
	}
	if w.Marked == w.Text {
		return fmt.Sprintf("1 word %s: %s", how, w.Text)
	}
	return fmt.Sprintf("1 word %s: %s (%s)", how, w.Text, w.Marked)
}

func (l Link) warning() string {
	if l.Host == "" {
		return fmt.Sprintf("1 link %s: %s", l.Odd, l.Text)
	}
	if l.Reads != "" {
		return fmt.Sprintf("1 link %s: to %s, which reads %s", l.Odd, l.Host, l.Reads)
	}
	return fmt.Sprintf("1 link %s: to %s", l.Odd, l.Host)
}
