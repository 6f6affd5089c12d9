package condition

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"
	xast "github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/dtcgate/dtcgate/gate/policy/strict"
)

// section is where the conditions stand in a document.
const section = "conditions"

var goodID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)

// annotations are those that mean something here.
var annotations = []string{"id", "reason"}

// Compile reads policies. line is that of the text's first line in the document. Everything wrong with the form is told at once, one
// problem a policy; what names and types mean is for [Set.Check].
func Compile(text string, line int) (*Set, []strict.Problem) {
	if problem := unreadable(text); problem != "" {
		return nil, []strict.Problem{{Line: line, Path: section, Problem: problem}}
	}
	all := statements(scan(text, line))
	if len(all) > MaxPolicies {
		return nil, []strict.Problem{{Line: line, Path: section, Problem: fmt.Sprintf("there are %d policies", len(all)), Expected: fmt.Sprintf("at most %d", MaxPolicies)}}
	}
	s, problems, taken := &Set{}, []strict.Problem(nil), map[string]int{}
	for _, tokens := range all {
		p, found := compileOne(text, tokens)
		if len(found) == 0 {
			found = p.name(taken)
		}
		problems = append(problems, found...)
		s.policies = append(s.policies, p)
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return s, nil
}

func unreadable(text string) string {
	switch {
	case len(text) > maxText:
		return fmt.Sprintf("the text has %d bytes; at most %d are read", len(text), maxText)
	case !utf8.ValidString(text):
		return "the text is not UTF-8"
	}
	return ""
}

func compileOne(text string, tokens []token) (*Policy, []strict.Problem) {
	parsed, problem := parse(text[tokens[0].start:tokens[len(tokens)-1].end], tokens)
	if problem != nil {
		problem.Path = section
		return nil, []strict.Problem{*problem}
	}
	return newPolicy(parsed, tokens), nil
}

// parse reads the one policy that tokens are of.
func parse(text string, tokens []token) (*xast.Policy, *strict.Problem) {
	first := tokens[0].line
	switch {
	case len(tokens) > maxTokens:
		return nil, &strict.Problem{Line: first, Problem: fmt.Sprintf("the policy has %d words and signs", len(tokens)), Expected: fmt.Sprintf("at most %d; write several policies", maxTokens)}
	case slices.ContainsFunc(tokens, func(t token) bool { return t.text == "/" }): // "/*", which would hide brackets from us
		return nil, &strict.Problem{Line: lineOfWord(tokens, "/"), Problem: "a single / is no Cedar", Expected: "// before a comment"}
	case depth(tokens) > maxDepth:
		return nil, &strict.Problem{Line: first, Problem: "brackets nest too deeply", Expected: fmt.Sprintf("at most %d deep", maxDepth)}
	}
	list, err := cedar.NewPolicyListFromBytes("", []byte(text))
	if err != nil {
		return nil, syntax(err, tokens)
	}
	if len(list) != 1 {
		return nil, &strict.Problem{Line: first, Problem: "this is not one policy", Expected: "permit (principal, action, resource) when { … };"}
	}
	parsed := (*xast.Policy)(list[0].AST())
	if nodes(parsed) > maxNodes {
		return nil, &strict.Problem{Line: first, Problem: "the policy says too much at once", Expected: "several policies"}
	}
	return parsed, nil
}

func nodes(p *xast.Policy) int {
	n := 0
	for _, c := range p.Conditions {
		xast.Inspect(xast.NewNode(c.Body), func(xast.IsNode) bool { n++; return n <= maxNodes })
	}
	return n
}

var (
	position = regexp.MustCompile(`(?s)<input>:(\d+):(\d+)(?: "[^"]*")?: (.*)$`)
	unwanted = regexp.MustCompile(`(?s)^(?:exact got|got) (.*) want (\S+)$`)
	effect   = regexp.MustCompile(`(?s)^unexpected effect: (.*)$`)
)

// syntax is a parser's error in our words. The parser names the line behind the token that it stumbled over.
func syntax(err error, tokens []token) *strict.Problem {
	found := position.FindStringSubmatch(err.Error())
	if found == nil {
		return &strict.Problem{Line: tokens[0].line, Problem: "this is not Cedar: " + root(err)}
	}
	var line int
	if _, err := fmt.Sscan(found[1], &line); err != nil {
		line = 1
	}
	p := &strict.Problem{Line: tokens[0].line + line - 1, Problem: "this is not Cedar: " + found[3]}
	if got := unwanted.FindStringSubmatch(found[3]); got != nil {
		p.Line = lastBefore(tokens, got[1], p.Line)
		p.Problem, p.Expected = fmt.Sprintf("%q stands here", got[1]), fmt.Sprintf("%q", got[2])
		if got[1] == "" {
			p.Problem = "the policy ends here"
		}
	}
	if got := effect.FindStringSubmatch(found[3]); got != nil {
		p.Line = lastBefore(tokens, got[1], p.Line)
		p.Problem, p.Expected = fmt.Sprintf("%q is no policy", got[1]), "permit or forbid"
		p.Suggestion = strict.Suggest(got[1], []string{"permit", "forbid"})
	}
	return p
}

func root(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

// lastBefore is the line of the last token of that text at or before a line.
func lastBefore(tokens []token, text string, line int) int {
	found := line
	for _, t := range tokens {
		if t.text == text && t.line <= line {
			found = t.line
		}
	}
	return found
}

// name takes the policy's @id and @reason. taken are the names before it with their lines.
func (p *Policy) name(taken map[string]int) []strict.Problem {
	p.id = fmt.Sprintf("line %d", p.line)
	var problems []strict.Problem
	wrong := func(near, problem, expected, suggestion string) {
		problems = append(problems, strict.Problem{Line: lineOfWord(p.tokens, near), Path: section, Problem: problem, Expected: expected, Suggestion: suggestion})
	}
	for _, a := range p.ast.Annotations {
		switch value := string(a.Value); {
		case a.Key == "id" && goodID.MatchString(value):
			p.id = value
		case a.Key == "id":
			wrong("id", fmt.Sprintf("@id(%q) is not a word", value), "letters, digits, - and _, beginning with a letter", "")
		case a.Key == "reason" && len(value) <= maxReason && strings.TrimSpace(value) != "":
			p.reason = value
		case a.Key == "reason":
			wrong("reason", "@reason is empty or long", fmt.Sprintf("1 to %d bytes, for the agent that is refused", maxReason), "")
		default:
			wrong(string(a.Key), fmt.Sprintf("@%s means nothing here", a.Key), "@id or @reason", strict.Suggest(string(a.Key), annotations))
		}
	}
	if line, twice := taken[p.id]; twice {
		wrong(p.id, fmt.Sprintf("the policy of line %d is named %s too", line, p.id), "an @id of its own", "")
	}
	taken[p.id] = p.line
	return problems
}
