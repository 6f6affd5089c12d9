package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/gate/budget"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// A when is a time as people read it: how far off, with the whole of it beside.
type when struct {
	ISO   string
	Words string // in 40 minutes, 3 hours ago
	Full  string
}

// whenIs tells a time as seen from now. The zero time is nil.
func whenIs(t, now time.Time) *when {
	if t.IsZero() {
		return nil
	}
	words := span(t.Sub(now).Abs())
	switch {
	case words == "":
		words = "now"
	case t.After(now):
		words = "in " + words
	default:
		words += " ago"
	}
	return &when{ISO: t.UTC().Format(time.RFC3339), Words: words, Full: date(t)}
}

// leftUntil is whenIs for a time that something has left: 40 minutes left.
func leftUntil(t, now time.Time) *when {
	w := whenIs(t, now)
	if w == nil {
		return nil
	}
	switch left := t.Sub(now); {
	case left <= 0:
		w.Words = "time is over"
	case left < time.Minute:
		w.Words = "less than a minute left"
	default:
		w.Words = span(left) + " left"
	}
	return w
}

// span writes a length of time in its largest unit, down to a minute, and "" for less.
func span(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return many(int64(d/(24*time.Hour)), "day")
	case d >= 2*time.Hour:
		return many(int64(d/time.Hour), "hour")
	case d >= time.Hour:
		return "1 hour" + prefixed(" ", span(d-time.Hour))
	case d >= time.Minute:
		return many(int64(d/time.Minute), "minute")
	}
	return ""
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// many writes a number of things: 1 customer, 2,184 customers.
func many(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return shop.Thousands(n) + " " + thing + "s"
}

// actOf names what pressing the button does: the verb of the act with what it is worth, as in "Refund £12.30" or "Send to 2,184 customers".
func actOf(title string, p tools.Preview) string {
	verb, _, _ := strings.Cut(title, " ")
	switch {
	case verb == "" || strings.HasPrefix(title, "dtc_"):
		return "Approve this"
	case p.Money != nil && p.Money.AmountMinor != 0 && (verb == "Refund" || verb == "Buy"):
		return verb + " " + p.Money.String()
	case p.Customers > 1 && verb == "Send":
		return fmt.Sprintf("Send to %s customers", shop.Thousands(p.Customers))
	case p.Money != nil && p.Money.AmountMinor != 0:
		return title + ", " + p.Money.String()
	}
	return title
}

// sentence makes the first letter large.
func sentence(s string) string {
	for i, r := range s {
		return s[:i] + string(unicode.ToUpper(r)) + s[i+len(string(r)):]
	}
	return s
}

// outcome tells how a request stands, in a word or two.
func outcome(s approvals.State) string {
	switch s {
	case approvals.Pending:
		return "Waits"
	case approvals.Approved:
		return "Approved, about to run"
	case approvals.Consumed:
		return "Approved"
	case approvals.Rejected:
		return "Denied"
	case approvals.Cancelled:
		return "Cancelled"
	case approvals.Expired:
		return "Lapsed"
	case approvals.Invalidated:
		return "Changed before it ran"
	}
	return string(s)
}

// dots draws so many of so many votes; the words stand beside it.
func dots(given, asked int) string {
	given = min(given, asked)
	return strings.Repeat("●", given) + strings.Repeat("○", asked-given)
}

// classWords names a kind of consent.
func classWords(c tools.Class) string {
	switch c {
	case tools.ClassSpend:
		return "Money"
	case tools.ClassContact:
		return "Messages to customers"
	case tools.ClassDestructive:
		return "Cannot easily come back"
	}
	return string(c)
}

// whoWords names what kind of principal one of a chain is.
func whoWords(kind string) string {
	switch kind {
	case "key":
		return "Key"
	case "subtoken":
		return "Sub-token"
	case "jwt":
		return "Agent of an issuer"
	case "person":
		return "Answers for it"
	}
	return kind
}

// budgetWords says what a call takes of a budget and what is left with it.
func budgetWords(s budget.Share) string {
	unit := func(n int64) string { return many(n, strings.TrimSuffix(s.Unit, "s")) }
	if currency, ok := strings.CutPrefix(s.Unit, "money:"); ok {
		unit = func(n int64) string { return shop.Money{AmountMinor: n, Currency: currency}.String() }
	}
	return fmt.Sprintf("%s of %s, then %s left until %s", unit(s.Amount), unit(s.Limit), unit(s.Left()), date(s.Until))
}

// pretty lays canonical JSON out for reading.
func pretty(raw []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

// jobWords tells how a job stands, after "The job".
func jobWords(s tools.JobStatus) string {
	switch s {
	case tools.JobPending:
		return "waits for people"
	case tools.JobQueued:
		return "is about to run"
	case tools.JobRunning:
		return "runs"
	case tools.JobSucceeded:
		return "is done"
	case tools.JobFailed:
		return "failed"
	case tools.JobCancelled:
		return "did not run"
	case tools.JobExpired:
		return "lapsed"
	case tools.JobIndeterminate:
		return "needs a decision: nobody knows whether it had its effect"
	}
	return string(s)
}
