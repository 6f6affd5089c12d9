package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/shop"
)

// writeFindings says in plain words what a receipt proves.
func writeFindings(w io.Writer, f audit.Findings) {
	fmt.Fprintf(w, "Proved: these %d entries are on the record %s as it was signed at %s, when it had %d entries.\n\n",
		len(f.Entries), visible(f.Log), when(f.Checkpoint.At), f.Checkpoint.Size)
	first := f.Entries[0]
	for _, e := range f.Entries {
		if e.CallID == f.Subject {
			first = e
			break
		}
	}
	rows := [][2]string{
		{"what", what(first)},
		{"who", strings.Join(first.Chain, ", for ")},
		{"when", when(first.At)},
		{"merchant", first.Merchant},
		{"came to", outcome(f)},
		{"decided by", decidedBy(f, first)},
		{"approved by", approvedBy(f, "approve")},
		{"denied by", approvedBy(f, "deny")},
		{"bound to", first.Binding},
	}
	for _, r := range rows {
		if r[1] != "" {
			fmt.Fprintf(w, "%-12s %s\n", r[0], visible(r[1]))
		}
	}
	fmt.Fprintln(w)
	for _, e := range f.Entries {
		writeEntry(w, e.Sequenced)
		writeValues(w, e)
	}
	fmt.Fprintln(w, "\nNot proved: that nothing else is on record about it, and that others were shown the same record. Compare the checkpoint with those kept outside.")
}

// what is the call in words: the tool, its object and its effect.
func what(e audit.Shown) string {
	parts := []string{e.Tool, e.Resource}
	if e.Tool == "" {
		parts[0] = e.Event
	}
	if e.Customers > 0 {
		parts = append(parts, fmt.Sprintf("to %d customers", e.Customers))
	}
	if e.Currency != "" {
		parts = append(parts, shop.Money{AmountMinor: e.MoneyMinor, Currency: e.Currency}.String())
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}

// outcome is what became of it last: the status of the call, or the end of its job.
func outcome(f audit.Findings) (last string) {
	for _, e := range f.Entries {
		switch {
		case strings.HasPrefix(e.Event, "job."):
			last = e.Event
		case e.Status != "" && e.Event == "call":
			last = strings.TrimSpace(e.Status + " " + e.Code)
		default:
			continue
		}
		last = fmt.Sprintf("%s at %s (entry %d)", last, when(e.At), e.Seq)
	}
	return last
}

// decidedBy names the rule and the policy, and whether its text is here.
func decidedBy(f audit.Findings, e audit.Shown) string {
	if e.PolicyVersion == 0 {
		return ""
	}
	rule := e.PolicyRule
	if rule == "" {
		rule = "no rule that is named"
	}
	for _, p := range f.Policies {
		if p.Version == e.PolicyVersion {
			return fmt.Sprintf("%s of policy %d (sha256 %s), which %s published at %s; its text is in the file", rule, p.Version, p.SHA256, p.PublishedBy, when(p.PublishedAt))
		}
	}
	return fmt.Sprintf("%s of policy %d, whose text is not proved", rule, e.PolicyVersion)
}

// approvedBy names those whose last vote says so: a vote may be changed, and withdrawn, while the request is open.
func approvedBy(f audit.Findings, decision string) string {
	last := map[string]string{}
	for _, e := range f.Entries {
		switch {
		case e.Event == "approval.vote_withdrawn":
			delete(last, e.Actor)
		case e.Event == "approval.vote" && e.Status == decision:
			last[e.Actor] = fmt.Sprintf("%s at %s (entry %d)", strings.Join(e.Chain, ", for "), when(e.At), e.Seq)
		case e.Event == "approval.vote" && e.Status != "replayed":
			delete(last, e.Actor)
		}
	}
	return strings.Join(slices.Sorted(maps.Values(last)), "; ")
}

func writeValues(w io.Writer, e audit.Shown) {
	for _, name := range slices.Sorted(maps.Keys(e.Digests)) {
		if text, told := e.Values[name]; told {
			fmt.Fprintf(w, "        %s: %s\n", visible(name), visible(text))
		} else {
			fmt.Fprintf(w, "        %s: not told; its salted digest is %s\n", visible(name), visible(e.Digests[name]))
		}
	}
}

func writeChecked(w io.Writer, c audit.Checked) {
	fmt.Fprintf(w, "Proved: the record of %d entries that was signed at %s holds, unchanged and in the same order, the %d entries that were signed at %s.\n",
		c.New.Size, when(c.New.At), c.Old.Size, when(c.Old.At))
}
