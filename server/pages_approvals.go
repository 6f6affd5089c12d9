package server

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/approvals/claims"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/tools"
)

// handleApprovals makes the pages on which people decide about what waits.
func (s *Server) handleApprovals() {
	s.handle("GET /{$}", guarded(s.signedIn(s.goHome)))
	s.handle("GET /approvals", guarded(s.signedIn(s.showInbox)))
	s.handle("GET /approvals/{id}", guarded(s.signedIn(s.showCard)))
	s.handle("POST /approvals/{id}/vote", guarded(s.signedIn(s.vote)))
	s.handle("POST /approvals/{id}/withdraw", guarded(s.signedIn(s.toCard(s.gate.Withdraw))))
	s.handle("POST /approvals/{id}/cancel", guarded(s.signedIn(s.toCard(s.gate.CallOff))))
	s.handle("POST /approvals/{id}/undo", guarded(s.signedIn(s.undo)))
	s.handle("GET /approvals/{id}/{act}", guarded(s.signedIn(s.backToCard))) // the address of a form, loaded again
}

// goHome leads people to what they come for.
func (s *Server) goHome(w http.ResponseWriter, r *http.Request) {
	to := account
	if visitOf(r.Context()).principal.Has(auth.ApprovalsRead) {
		to = "/approvals"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// inboxPage is what the page of that name shows.
type inboxPage struct {
	gate.Inbox
	Filter  gate.InboxFilter
	Classes []tools.Class
}

func (s *Server) showInbox(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f := gate.InboxFilter{
		Class: tools.Class(q.Get("class")), Agent: q.Get("agent"), Rule: q.Get("rule"), Shelf: q.Get("show"), After: q.Get("after"),
	}
	in, err := s.gate.Inbox(r.Context(), visitOf(r.Context()).principal, f)
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	main := inboxPage{Inbox: in, Filter: f, Classes: []tools.Class{tools.ClassSpend, tools.ClassContact, tools.ClassDestructive}}
	s.show(w, r, http.StatusOK, "approvals", page{Title: "Approvals", At: "approvals", Main: main})
}

// Narrowed reports whether the list leaves something out.
func (p inboxPage) Narrowed() bool {
	return p.Filter.Class != "" || p.Filter.Agent != "" || p.Filter.Rule != ""
}

// Link leads to a shelf of the same list, after a request of it.
func (p inboxPage) Link(shelf, after string) string {
	q := url.Values{}
	for name, value := range map[string]string{
		"class": string(p.Filter.Class), "agent": p.Filter.Agent, "rule": p.Filter.Rule, "show": shelf, "after": after,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return "/approvals?" + q.Encode()
}

// cardPage is what the page of one request shows.
type cardPage struct {
	gate.Card
	Act     string // what the button says
	Token   string
	Opened  string
	Typed   cardForm       // what was typed before something went wrong
	Problem *tools.Refusal // what went wrong
	Stale   bool           // what was decided about is not what is bound
	Able    bool           // passkeys work under this address
	OIDC    string         // the host of the identity provider
}

// A cardForm is what somebody has said on the form of a card.
type cardForm struct {
	Decision, Reason, Seen, Opened, Ack, For, Sure string
}

// The decisions of a card's form. Deciding alone is a button of its own.
const (
	toApprove  = string(approvals.Approve)
	toDeny     = string(approvals.Deny)
	toOverride = "override"
)

func readCardForm(w http.ResponseWriter, r *http.Request) (cardForm, error) {
	f, err := form(w, r, "csrf", "decision", "reason", "seen_sha256", "opened", "acknowledged", "for", "sure")
	if err != nil {
		return cardForm{}, err
	}
	return cardForm{Decision: f[1], Reason: strings.TrimSpace(f[2]), Seen: f[3], Opened: f[4], Ack: f[5], For: f[6], Sure: f[7]}, fromOwnForm(r, f[0])
}

// Alone reports whether it decides without those whom the rule asks for.
func (f cardForm) Alone() bool { return f.Decision == toOverride }

func (s *Server) showCard(w http.ResponseWriter, r *http.Request) {
	s.card(w, r, cardForm{}, nil)
}

// card shows a request, with what went wrong and what was typed before.
func (s *Server) card(w http.ResponseWriter, r *http.Request, said cardForm, problem error) {
	c, err := s.readCard(r, said)
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	status := http.StatusOK
	if problem != nil {
		refusal := asRefusal(problem)
		c.Problem, status = &refusal, wires[refusal.Code].http
		c.Stale = said.Seen != "" && said.Seen != c.BindingHash
	}
	s.show(w, r, status, "approval", page{Title: c.Preview.Summary, At: "approvals", Main: c})
}

func (s *Server) readCard(r *http.Request, said cardForm) (cardPage, error) {
	p, id := visitOf(r.Context()).principal, r.PathValue("id")
	card, err := s.gate.Card(r.Context(), p, id)
	if err != nil {
		return cardPage{}, err
	}
	c := cardPage{
		Card: card, Act: actOf(card.Title, card.Preview), Token: formToken(r), Opened: said.Opened, Typed: said,
		Able: auth.TakesPasskeys(s.origin(r)),
	}
	if c.Opened == "" || said.Seen != c.BindingHash {
		c.Opened = openedAt(r, card.ID, s.db.Now())
	}
	if s.origin(r) != "" {
		c.OIDC = s.gate.Provider()
	}
	return c, nil
}

// backToCard leads from the address of a form to the page that it stands on.
func (s *Server) backToCard(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "/approvals/"+url.PathEscape(r.PathValue("id")), http.StatusSeeOther)
}

// vote counts what a person says on a card. Whatever is wrong with it, the card comes back with what was typed.
func (s *Server) vote(w http.ResponseWriter, r *http.Request) {
	said, err := readCardForm(w, r)
	if err != nil {
		s.card(w, r, said, err)
		return
	}
	c, err := s.readCard(r, said)
	if err == nil {
		err = said.complete(c)
	}
	switch {
	case err != nil:
		s.card(w, r, said, err)
	case c.weighs() && said.Sure == "":
		s.show(w, r, http.StatusOK, "confirm", page{Title: c.Act + "?", At: "approvals", Main: c})
	default:
		s.cast(w, r, said, c)
	}
}

// weighs reports whether what was pressed takes a second press: what it would do cannot be undone, or somebody decides alone.
func (c cardPage) weighs() bool {
	return c.State == approvals.Pending && (c.Typed.Decision == toApprove && c.Undo.Never != "" || c.Typed.Alone())
}

// complete asks for what has to be said with a decision about a card that still waits. The gate asks again; here it is told in the words of the page.
func (f cardForm) complete(c cardPage) error {
	switch {
	case c.State != approvals.Pending || c.May.Said != "":
		return nil // the gate says what there is to say
	case f.Seen != c.BindingHash:
		return errStale
	case f.Decision == toDeny && f.Reason == "":
		return tools.Refuse(tools.InvalidArguments, "Say in a sentence why, or what would be acceptable. The agent is told.", "A denial takes a reason.")
	case f.Alone() && f.Reason == "":
		return tools.Refuse(tools.InvalidArguments, "Say why this cannot wait for those whom the rule asks for. They can all read it.", "To decide alone takes a reason.")
	case f.Decision != toDeny && f.Ack == "" && c.Contradicted():
		return tools.Refuse(tools.InvalidArguments, "Tick the box beside them once you have read them.", "What the agent says does not fit the record in every point.")
	case f.Decision != toDeny && c.May.StepUp:
		return tools.Refuse(tools.StepUpRequired, "Confirm who you are below, then press once more.", "This takes a fresh confirmation that it is you.")
	}
	return nil
}

// errStale is the answer to a decision about something else than what is bound.
var errStale = tools.Refuse(tools.Conflict, "Read what stands here now. Then decide about that.", "This is not what you opened.")

// Contradicted reports whether the agent says something material that does not fit the record.
func (c cardPage) Contradicted() bool {
	return slices.ContainsFunc(c.Claims, func(claim claims.Claim) bool { return claim.Material })
}

func (s *Server) cast(w http.ResponseWriter, r *http.Request, said cardForm, c cardPage) {
	b := s.ballot(r, said)
	b.ID = c.ID
	if _, err := s.gate.Vote(r.Context(), visitOf(r.Context()).principal, b); err != nil {
		s.card(w, r, said, err)
		return
	}
	s.backToCard(w, r)
}

// ballot is what a form says, as the gate hears it.
func (s *Server) ballot(r *http.Request, said cardForm) gate.Ballot {
	id := r.PathValue("id")
	b := gate.Ballot{
		ID: id, Decision: approvals.Decision(said.Decision), For: said.For, Reason: said.Reason, Seen: said.Seen,
		Acknowledged: said.Ack != "", OpenSeconds: openFor(r, id, said.Opened, s.db.Now()), Channel: webChannel, Source: visitOf(r.Context()).source,
	}
	if said.Alone() {
		b.Decision, b.Override = approvals.Approve, true
	}
	return b
}

// toCard makes the handler of a form that does one thing to a request and leads back to it.
func (s *Server) toCard(act func(context.Context, auth.Principal, gate.Ballot) (gate.Decided, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		said, err := readCardForm(w, r)
		if err == nil {
			_, err = act(r.Context(), visitOf(r.Context()).principal, s.ballot(r, said))
		}
		if err != nil {
			s.card(w, r, said, err)
			return
		}
		s.backToCard(w, r)
	}
}

// webChannel names the pages where it is kept how a vote came.
const webChannel = "web"

// undo takes back what an approved request did.
func (s *Server) undo(w http.ResponseWriter, r *http.Request) {
	f, err := form(w, r, "csrf", "undo_id")
	if err == nil {
		err = fromOwnForm(r, f[0])
	}
	if err == nil {
		_, err = s.gate.TakeBack(r.Context(), visitOf(r.Context()).principal, f[1])
	}
	if err != nil {
		s.card(w, r, cardForm{}, err)
		return
	}
	s.backToCard(w, r)
}
