package condition

import (
	"strings"
)

// A token is a word of Cedar and where it stands.
type token struct {
	text       string
	start, end int // bytes
	line       int
}

// scan cuts text into tokens. It is no parser: it serves to tell policies apart, to bound what the parser is given, and to say on which
// line a name stands, which Cedar's syntax tree does not keep. What is no Cedar is cut somehow; the parser refuses it.
func scan(text string, line int) []token {
	var all []token
	for i := 0; i < len(text); {
		c := text[i]
		end := i + 1
		switch {
		case c == '\n':
			line++
			i = end
			continue
		case c == ' ' || c == '\t' || c == '\r':
			i = end
			continue
		case strings.HasPrefix(text[i:], "//"):
			i += until(text[i:], '\n')
			continue
		case c == '"':
			end = i + quoted(text[i:])
		case word(c):
			end = i + wordEnd(text[i:])
		case i+1 < len(text) && strings.Contains(" :: == != <= >= && || ", " "+text[i:i+2]+" "):
			end = i + 2
		}
		all = append(all, token{text: text[i:end], start: i, end: end, line: line})
		i = end
	}
	return all
}

func word(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func wordEnd(text string) int {
	end := strings.IndexFunc(text, func(r rune) bool { return r > 'z' || !word(byte(r)) })
	if end < 0 {
		return len(text)
	}
	return end
}

// quoted is the length of the string that text begins with. It ends at the end of the line at the latest, as Cedar's does.
func quoted(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		case '\n':
			return i
		}
	}
	return len(text)
}

func until(text string, c byte) int {
	if i := strings.IndexByte(text, c); i >= 0 {
		return i
	}
	return len(text)
}

// statements cuts tokens behind each semicolon. Cedar uses it for nothing else.
func statements(tokens []token) [][]token {
	var all [][]token
	start := 0
	for i, t := range tokens {
		if t.text == ";" {
			all = append(all, tokens[start:i+1])
			start = i + 1
		}
	}
	if start < len(tokens) {
		all = append(all, tokens[start:])
	}
	return all
}

// depth is how deep brackets nest at most.
func depth(tokens []token) int {
	now, most := 0, 0
	for _, t := range tokens {
		switch t.text {
		case "(", "[", "{":
			now++
			most = max(most, now)
		case ")", "]", "}":
			now--
		}
	}
	return most
}

// lineOf is the line on which the attribute stands that path leads to, such as context.effect.money_minor; of the first token where it
// stands nowhere in one piece.
func lineOf(tokens []token, path []string) int {
	for i := range tokens {
		if line := follow(tokens[i:], path); line > 0 {
			return line
		}
	}
	return lineOfWord(tokens, path[len(path)-1])
}

// follow reads path off the beginning of tokens: a.b, a["b"] or a has b.
func follow(tokens []token, path []string) int {
	if tokens[0].text != path[0] {
		return 0
	}
	line, rest := tokens[0].line, tokens[1:]
	for _, name := range path[1:] {
		switch {
		case len(rest) < 2 || !strings.Contains(" . has [ ", " "+rest[0].text+" "), !rest[1].names(name):
			return 0
		}
		line = rest[1].line
		used := 2
		if rest[0].text == "[" && len(rest) > 2 {
			used = 3
		}
		rest = rest[used:]
	}
	return line
}

func (t token) names(name string) bool { return t.text == name || t.text == `"`+name+`"` }

func lineOfWord(tokens []token, name string) int {
	for _, t := range tokens {
		if t.names(name) {
			return t.line
		}
	}
	return tokens[0].line
}
