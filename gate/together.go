package gate

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/tools"
)

// several lets the code of a batch reach its calls.
type several struct {
	*Gate
	*call
}

var _ tools.Batch = several{}

// Preview is what the calls would do together. Of a batch that nobody judges, as it is looked at again while it waits, it is only computed.
func (b several) Preview() (tools.Preview, error) {
	parts := b.parts
	if parts == nil {
		var err error
		if parts, err = b.unjudged(); err != nil {
			return tools.Preview{}, err
		}
	}
	return together(parts)
}

// unjudged computes what each call would do, and asks nothing.
func (b several) unjudged() ([]*call, error) {
	parts, err := b.split(b.call)
	for i, part := range parts {
		if err == nil {
			err = b.compute(part)
		}
		if err != nil {
			return nil, b.refusedAt(i, part, err)
		}
	}
	return parts, err
}

func (b several) compute(part *call) (err error) {
	var known bool
	if part.Tool, known = b.tools.Find(part.req.Tool); !known {
		return tools.Refuse(tools.UnknownTool, "Leave it out.", "There is no tool of that name any more.")
	}
	if part.Args, err = schemas.Canonical(part.req.Args); err != nil {
		return err
	}
	if err := part.takeKey(); err != nil {
		return err
	}
	if part.action, err = part.Tool.Handler().Action(&part.Call); err != nil {
		return err
	}
	part.risk = part.Tool.Risk
	part.preview, err = part.Tool.Handler().Preview(&part.Call)
	return err
}

// shownFirst is how many calls the sentence about a batch names. Each has a sentence of its own besides.
const shownFirst = 3

// together is one preview of several calls, in which each keeps its number.
func together(parts []*call) (tools.Preview, error) {
	var p tools.Preview
	var sentences, versions, content, never []string
	for _, part := range parts {
		q := part.preview
		if err := add(&p, q); err != nil {
			return p, err
		}
		sentences = append(sentences, strings.TrimSuffix(q.Summary, "."))
		versions = append(versions, strings.Join([]string{part.Tool.ResourceOf(part.Args), q.Version, part.schema()}, " "))
		p.Calls = append(p.Calls, tools.Part{Tool: part.Tool.Name, Summary: q.Summary, Customers: q.Customers, Money: q.Money})
		for _, ch := range q.Changes {
			ch.Object = fmt.Sprintf("%d. %s", part.nth, either(ch.Object, part.Tool.ResourceOf(part.Args)))
			p.Changes = append(p.Changes, ch)
		}
		if q.Content != "" {
			content = append(content, fmt.Sprintf("%d. %s\n%s", part.nth, q.Summary, q.Content))
		}
		for _, w := range q.Warnings {
			p.Warnings = append(p.Warnings, fmt.Sprintf("%d. %s", part.nth, w))
		}
		if why := part.irreversible(); why != "" {
			never = append(never, fmt.Sprintf("%d. %s", part.nth, why))
		}
		p.Asks = p.Asks || q.Asks
	}
	if more := len(sentences) - shownFirst; more > 0 {
		sentences = append(sentences[:shownFirst], fmt.Sprintf("and %d more", more))
	}
	p.Summary = fmt.Sprintf("%d calls, together or not at all: %s", len(parts), strings.Join(sentences, "; "))
	p.Content, p.Irreversible, p.Version = strings.Join(content, "\n\n"), strings.Join(never, " "), strings.Join(versions, "\n")
	return p, nil
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// irreversible says what of a call cannot come back.
func (c *call) irreversible() string {
	if c.risk.Undo == 3 {
		return either(c.preview.Irreversible, c.Tool.Undo)
	}
	return c.preview.Irreversible
}

// add counts what one more call does.
func add(p *tools.Preview, q tools.Preview) error {
	p.Customers += q.Customers
	switch m := q.Money; {
	case m == nil:
		return nil
	case p.Money == nil:
		p.Money = &shop.Money{Currency: m.Currency, AmountMinor: m.AmountMinor}
		return nil
	case p.Money.Currency != m.Currency:
		return tools.Refuse(tools.Conflict, "Put those of each currency into a batch of their own.", "The calls of a batch move money of one currency, and these move %s and %s.",
			p.Money.Currency, m.Currency)
	case m.AmountMinor > schemasMax-p.Money.AmountMinor:
		return tools.Refuse(tools.LimitExceeded, "Put fewer calls into a batch.", "The calls move more money together than can be counted.")
	default:
		p.Money.AmountMinor += m.AmountMinor
		return nil
	}
}

// strictest are the classes, the strictest first.
var strictest = []tools.Class{tools.ClassDestructive, tools.ClassSpend, tools.ClassContact, tools.ClassNone}

// effectOf is the effect of a batch: rated as the call that is rated highest, of the strictest class of all, with all that they do.
func effectOf(parts []*call, p tools.Preview) *policy.Effect {
	e := &policy.Effect{Risk: parts[0].risk, Customers: p.Customers, Money: p.Money, Asks: p.Asks}
	highest := auth.Level(-1)
	class := len(strictest) - 1
	for _, part := range parts {
		if level := part.risk.Level(); level > highest {
			highest, e.Risk = level, part.risk
		}
		class = min(class, slices.Index(strictest, part.class))
	}
	e.Class = strictest[max(0, class)]
	return e
}

// Run runs the calls in their order. What fails, in the last of them too, undoes all.
func (b several) Run() ([]tools.Made, error) {
	all := make([]tools.Made, len(b.parts))
	for i, part := range b.parts {
		part.Tx = b.Tx
		var err error
		if all[i], err = b.make(part); err != nil {
			part.checks = nil // they let it through
			return nil, b.refusedAt(i, part, err)
		}
		if part.QuotesOutsider() {
			b.QuoteOutsider()
		}
	}
	return all, nil
}

// make runs one call of a batch: its effect with what takes it back, its key, and its record, in the batch's transaction.
func (b several) make(part *call) (made tools.Made, err error) {
	repeated, err := b.claimKey(part)
	if err == nil && repeated {
		err = keyTaken()
	}
	if err != nil {
		return made, err
	}
	if err := b.run(part); err != nil {
		return made, err
	}
	var r tools.Result
	if err := json.Unmarshal(part.out.Body, &r); err != nil {
		return made, fmt.Errorf("reading the result: %w", err)
	}
	if err := b.saveAnswer(part); err != nil {
		return made, err
	}
	made = tools.Made{Tool: part.Tool.Name, Result: r.Result, UndoID: r.UndoID, UndoUntil: r.UndoUntil}
	part.job, part.approval = b.job, b.approval // once it is done: whatever speaks of the job's one effect means no one of several
	if b.Resumed {
		return made, b.recordRun(part.Tx, part, string(tools.Done), nil)
	}
	return made, b.record(part.Tx, part, string(tools.Done))
}

// largerParts lists which calls of a batch would do more than was shown, whatever others do less.
func largerParts(shown, now tools.Preview) []tools.Change {
	if len(shown.Calls) != len(now.Calls) {
		return []tools.Change{{Field: "calls", From: fmt.Sprint(len(shown.Calls)), To: fmt.Sprint(len(now.Calls))}}
	}
	var all []tools.Change
	for i, was := range shown.Calls {
		is := now.Calls[i]
		for _, ch := range larger(tools.Preview{Customers: was.Customers, Money: was.Money}, tools.Preview{Customers: is.Customers, Money: is.Money}) {
			ch.Field = fmt.Sprintf("call %d: %s", i+1, ch.Field)
			all = append(all, ch)
		}
	}
	return all
}

// versions lists which objects have another version than was bound; of a batch those of its calls, each in a line of the bound text.
func versions(bound, now string) []tools.Change {
	was, is := strings.Split(bound, "\n"), strings.Split(now, "\n")
	if len(was) != len(is) || len(was) == 1 {
		return []tools.Change{{Field: "version of the object", From: bound, To: now}}
	}
	var all []tools.Change
	for i := range was {
		all = append(all, tools.Change{Field: fmt.Sprintf("call %d: version of the object", i+1), From: was[i], To: is[i]})
	}
	return all
}
