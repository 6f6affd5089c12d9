package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/shop"
)

// writeRequest shows a request as a person needs it to decide. All of it is computed by the gate but the agent's own
// words, which are marked.
func writeRequest(w io.Writer, r approvals.Request) {
	fmt.Fprintf(w, "%s  %s  (%s)\n", r.ID, r.State, r.Fingerprint)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %-13s %s\n", name, visible(value))
		}
	}
	p := r.Preview
	line("would", p.Summary)
	line("tool", r.Binding.Tool)
	line("about", r.Binding.Resource)
	if p.Customers > 0 {
		line("customers", shop.Thousands(p.Customers))
	}
	if p.Money != nil {
		line("money", p.Money.String())
	}
	for _, c := range p.Changes {
		field := c.Field
		if c.Object != "" {
			field = c.Object + ", " + field
		}
		line("change", fmt.Sprintf("%s: %s -> %s", field, c.From, c.To))
	}
	if p.Content != "" {
		line("text", "as it will go out:")
		for l := range strings.SplitSeq(p.Content, "\n") {
			fmt.Fprintf(w, "    | %s\n", visible(l))
		}
	}
	for _, warning := range p.Warnings {
		line("warning", warning)
	}
	line("irreversible", p.Irreversible)
	line("runs at", when(p.RunAt))
	line("asked by", fmt.Sprintf("%s on %s", r.AskedBy, when(r.CreatedAt)))
	line("agent says", r.AgentReason)
	line("rule", r.Rule.Name)
	line("needs", fmt.Sprintf("%s by %s", r.Needs, when(r.ExpiresAt)))
	for _, v := range r.Votes {
		line("vote", strings.TrimSpace(fmt.Sprintf("%s by %s (%s) on %s %s", said(v), v.Person, v.Channel, when(v.At), v.Reason)))
	}
	line("missing", r.Missing)
	line("bound to", r.BindingHash)
}

func said(v approvals.Vote) string {
	if v.Override {
		return string(v.Decision) + ", overriding the rule,"
	}
	return string(v.Decision)
}

// writeJob says what became of the call that a request is about.
func writeJob(w io.Writer, d gate.Decided) {
	fmt.Fprintf(w, "%s is %s; its job %s is %s.", d.ID, d.State, d.Job.JobID, d.Job.Status)
	if d.Missing != "" {
		fmt.Fprintf(w, " It still needs %s.", visible(d.Missing))
	}
	if d.Job.Why != "" {
		fmt.Fprintf(w, " %s", visible(d.Job.Why))
	}
	fmt.Fprintln(w)
}
