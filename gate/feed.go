package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// The feed tells the open pages of people what becomes of requests and jobs, as it goes on record. It follows the record by its
// numbers, which are gapless and visible in order: whoever names the last number it was told misses nothing and is told nothing twice,
// whichever process it asks. One goroutine of a process follows for all its listeners, and only while there are any (follow.go).
//
// A listener is told ids and states. What they are about is read where reading is judged and recorded.

// The bounds of a feed. Who is refused, or sent away, asks for the page every few seconds instead.
const (
	listenersMax        = 1000 // of a process
	listenersPerPerson  = 12
	listenersPerSession = 4    // a browser opens six connections to a host and no more (HTTP/1.1), and needs some for its pages
	newsMax             = 64   // that a listener has not taken yet
	gapMax              = 4096 // numbers that may have been missed
)

// A Kind of news is what it is about.
type Kind string

// The kinds of news.
const (
	NewsOfApproval Kind = "approval"
	NewsOfJob      Kind = "job"
	// NewsOfCounts says how many wait. It is no entry of the record and may be left out: the next one says it again.
	NewsOfCounts Kind = "counts"
	// NewsIsLost says that there was more than can be told again: the page has to be read anew.
	NewsIsLost Kind = "reload"
)

// News is something that a page may want to show. Who has taken it has been told everything up to Seq.
type News struct {
	Seq  int64
	Kind Kind
	Data json.RawMessage // a Happened or a Waiting
}

// A Happened names what is not as it was: a request or a job, and its state since.
type Happened struct {
	ID       string `json:"id"`
	Job      string `json:"job,omitempty"`
	Approval string `json:"approval,omitempty"`
	State    string `json:"state"`
}

// A Waiting is how many requests of a merchant wait for people.
type Waiting struct {
	Approvals int64 `json:"approvals"`
}

// A Listener is one open page. It is for one goroutine.
type Listener struct {
	who    auth.Principal
	follow *follow
	last   int64 // number that was told last
	missed []News
	news   chan News // closed when the listener is sent away
	why    error     // that it was; set before news is closed
}

// errSlow ends a listener that does not take its news. It comes back and says where it was.
var errSlow = errors.New("the listener does not take its news")

// FromNow is the number for who listens for the first time.
const FromNow int64 = -1

// Listen lets p hear what is recorded about requests and jobs from the entry after a number on. The caller closes the listener. Every
// error is a *tools.Refusal.
func (g *Gate) Listen(ctx context.Context, p auth.Principal, after int64) (*Listener, error) {
	l, err := g.listen(ctx, p, after)
	if err != nil {
		return nil, g.refusePerson(ctx, p, "approval.refused", Ballot{Channel: webTransport}, err)
	}
	return l, nil
}

func (g *Gate) listen(ctx context.Context, p auth.Principal, after int64) (*Listener, error) {
	l, head, err := g.newListener(ctx, p)
	if err != nil {
		return nil, err
	}
	from, err := g.feed.join(g, l, head)
	if err != nil {
		return nil, err
	}
	if err := l.catchUp(ctx, g.db, after, from, head); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// newListener makes a listener that begins with how many wait, and gives where the record ends.
func (g *Gate) newListener(ctx context.Context, p auth.Principal) (l *Listener, head int64, err error) {
	var waiting int64
	err = g.db.Read(ctx, func(tx *store.Tx) (err error) {
		if p, err = mayListen(tx, p); err == nil {
			head, err = audit.Head(tx)
		}
		if err == nil {
			waiting, err = approvals.CountPending(tx, p.Merchant)
		}
		return err
	})
	return &Listener{who: p, news: make(chan News, newsMax), missed: []News{newsOfCounts(waiting)}}, head, err
}

// mayListen gives p as it is now, if it may look at what waits.
func mayListen(tx *store.Tx, p auth.Principal) (auth.Principal, error) {
	p, err := renewed(tx, p)
	if err == nil {
		err = mayRead(p)
	}
	return p, err
}

// catchUp reads what was missed: from the number that l names up to the one from which on l is told. Between the two reads nothing can come
// to stand, for numbers are given in order. A number from the future is of another database, perhaps of this one before it was restored.
func (l *Listener) catchUp(ctx context.Context, db *store.DB, after, from, head int64) error {
	switch {
	case after == FromNow:
		l.last = from
		return nil
	case after > max(from, head), from-after > gapMax:
		l.last, l.missed = from, append(l.missed, News{Seq: from, Kind: NewsIsLost, Data: json.RawMessage("{}")})
		return nil
	}
	l.last = after
	return db.Read(ctx, func(tx *store.Tx) error {
		entries, err := audit.About(tx, after, from, feedKinds...)
		for _, e := range entries {
			if n, ok := newsOf(e); ok && e.Merchant == l.who.Merchant {
				l.missed = append(l.missed, n)
			}
		}
		return err
	})
}

// Next waits for news. Its error is ctx's when that ends first: then the listener goes on. With any other it has ended: with a
// *tools.Refusal because its person may listen no more, or because it did not keep up or nobody could ask the database.
func (l *Listener) Next(ctx context.Context) (News, error) {
	for {
		n, err := l.next(ctx)
		if err != nil {
			return n, err
		}
		if n.Kind == NewsOfCounts || n.Kind == NewsIsLost {
			return n, nil
		}
		if n.Seq > l.last { // else it was told by another process already
			l.last = n.Seq
			return n, nil
		}
	}
}

func (l *Listener) next(ctx context.Context) (n News, err error) {
	if len(l.missed) > 0 {
		n, l.missed = l.missed[0], l.missed[1:]
		return n, nil
	}
	select {
	case n, open := <-l.news:
		if !open {
			return n, l.why
		}
		return n, nil
	case <-ctx.Done():
		return n, ctx.Err()
	}
}

// Told is the number up to which everything that concerns the listener was told.
func (l *Listener) Told() int64 {
	if len(l.missed) == 0 {
		l.last = max(l.last, l.follow.toldAll(l))
	}
	return l.last
}

// Close ends the listener. What was not taken is lost to it.
func (l *Listener) Close() { l.follow.leave(l) }

// feedKinds are the kinds of events that are news.
var feedKinds = []string{string(NewsOfApproval), string(NewsOfJob)}

// newsOf makes news of an entry, if it is any: that somebody looked at a request, or was refused, changes nothing. An override is told by the
// decision that stands beside it.
func newsOf(e audit.Sequenced) (News, bool) {
	kind, what, _ := strings.Cut(e.Event, ".")
	n := News{Seq: e.Seq, Kind: Kind(kind)}
	h := Happened{ID: e.ApprovalID, Job: e.JobID, State: what}
	if n.Kind == NewsOfJob {
		h = Happened{ID: e.JobID, Approval: e.ApprovalID, State: what}
	}
	switch e.Event {
	case "approval.read", "approval.refused", "approval.overridden":
		return n, false
	case "approval.requested", "approval.vote", "approval.vote_withdrawn", "approval.escalated", "approval.delegated":
		h.State = string(approvals.Pending)
	case "job.started", "job.progress", "job.stop_asked":
		h.State = string(tools.JobRunning)
	}
	n.Data = encoded(h)
	return n, h.ID != ""
}

func newsOfCounts(waiting int64) News {
	return News{Kind: NewsOfCounts, Data: encoded(Waiting{waiting})}
}

// encoded is a Happened or a Waiting, which are plain text and numbers.
func encoded(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encoding news: %v", err))
	}
	return raw
}

// tooMany refuses a listener beyond the bounds.
func tooMany(what string, most int) error {
	const wait = 30 * time.Second
	r := tools.Refuse(tools.RateLimited, "Close one of them; until then ask for the page again from time to time.", "No more than %d pages %s are kept up to date at once.", most, what)
	r.RetryAfter = int64(wait / time.Second)
	return r
}
