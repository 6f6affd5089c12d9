package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/approvals/claims"
	"github.com/dtcgate/dtcgate/approvals/plain"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A card is a request as it is written for people. All of it is computed by the gate but what is marked as somebody's words; whoever
// wrote a line, nothing in it steers the terminal or begins another.
type card struct{ io.Writer }

// writeRequest shows a request as a person needs it to decide.
func writeRequest(w io.Writer, r approvals.Request) {
	c := card{w}
	fmt.Fprintf(w, "%s  %s  (%s)\n", r.ID, r.State, r.Fingerprint)
	c.effect(r)
	c.asked(r)
	c.line("rule", r.Rule.Name)
	c.line("needs", fmt.Sprintf("%s by %s", r.Needs, when(r.ExpiresAt)))
	if r.Level > 0 {
		c.line("escalated", "nobody decided for long, so that more people may vote by now")
	}
	for _, v := range r.Votes {
		c.line("vote", said(v))
	}
	c.line("missing", r.Missing)
	c.changes("was changed", r.Changed)
	c.line("bound to", r.BindingHash)
}

func (c card) line(name, value string) {
	if value != "" {
		fmt.Fprintf(c, "  %-13s %s\n", name, plainly(value))
	}
}

func (c card) changes(name string, all []tools.Change) {
	for _, change := range all {
		field := change.Field
		if change.Object != "" {
			field = change.Object + ", " + field
		}
		c.line(name, fmt.Sprintf("%s: %s -> %s", field, change.From, change.To))
	}
}

// effect writes what the call would do, and what the server itself has read about it.
func (c card) effect(r approvals.Request) {
	p := r.Preview
	c.line("would", p.Summary)
	c.line("tool", r.Binding.Tool)
	c.line("about", r.Binding.Resource)
	if p.Customers > 0 {
		c.line("customers", shop.Thousands(p.Customers))
	}
	if p.Money != nil {
		c.line("money", p.Money.String())
	}
	c.changes("change", p.Changes)
	c.content(p.Content)
	for _, fact := range r.Facts {
		if fact.Quoted {
			fact.Label += ", in somebody else's words"
		}
		c.line("on record", fact.Label+": "+fact.Value)
	}
	for _, warning := range p.Warnings {
		c.line("warning", warning)
	}
	c.line("irreversible", p.Irreversible)
	c.line("runs at", when(p.RunAt))
}

// content writes a text as it will go out, and what is in it that is not what it looks like.
func (c card) content(text string) {
	if text == "" {
		return
	}
	c.line("text", "as it will go out:")
	for l := range strings.SplitSeq(text, "\n") {
		fmt.Fprintf(c, "    | %s\n", plainly(l))
	}
	c.warn("the text", text)
}

// warn says what is in somebody's text that a reader should know of.
func (c card) warn(what, text string) {
	if found := plain.Show(text).Warnings(); len(found) > 0 {
		c.line("warning", what+" holds "+strings.Join(found, "; "))
	}
}

// asked writes who asks, and what of their reason fits the record.
func (c card) asked(r approvals.Request) {
	c.line("asked by", fmt.Sprintf("%s on %s", r.AskedBy, when(r.CreatedAt)))
	c.line("asks again", r.Supersedes)
	c.line("agent says", r.AgentReason)
	c.warn("what the agent says", r.AgentReason)
	for _, claim := range r.Claims {
		c.line("of that", held(claim))
	}
}

// held says how a claim of an agent stands to the record.
func held(c claims.Claim) string {
	switch {
	case c.Verdict == claims.Matches:
		return fmt.Sprintf("%q fits the record", c.Text)
	case c.Verdict == claims.Unknown:
		return fmt.Sprintf("%q is not in the record", c.Text)
	case c.Material:
		return fmt.Sprintf("%q DOES NOT FIT: the record says %s. A yes takes --acknowledge", c.Text, c.Record)
	}
	return fmt.Sprintf("%q does not fit: the record says %s", c.Text, c.Record)
}

// said tells a vote in a line.
func said(v approvals.Vote) string {
	words := []string{string(v.Decision)}
	if v.Override {
		words = []string{string(v.Decision) + ", overriding the rule,"}
	}
	words = append(words, "by", v.Person)
	if v.ForName != "" {
		words = append(words, "for", v.ForName)
	}
	words = append(words, fmt.Sprintf("(%s) on %s", v.Channel, when(v.At)))
	if !v.Withdrawn.IsZero() {
		words = append(words, "and withdrawn on", when(v.Withdrawn))
	}
	switch v.Flag {
	case approvals.Hasty:
		words = append(words, fmt.Sprintf("[hasty: open for %d s]", v.OpenSeconds))
	case approvals.Many:
		words = append(words, "[one of many in a short time]")
	}
	return strings.TrimSpace(strings.Join(append(words, v.Reason), " "))
}

// writeJob says what became of the call that a request is about.
func writeJob(w io.Writer, d gate.Decided) {
	fmt.Fprintf(w, "%s is %s; its job %s is %s.", d.ID, d.State, d.Job.JobID, d.Job.Status)
	if d.Missing != "" {
		fmt.Fprintf(w, " It still needs %s.", plainly(d.Missing))
	}
	if d.Job.Why != "" {
		fmt.Fprintf(w, " %s", plainly(d.Job.Why))
	}
	fmt.Fprintln(w)
}
