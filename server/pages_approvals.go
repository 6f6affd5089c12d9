package server

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/dtcgate/dtcgate/approvals"
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
	Stale   string         // the fingerprint that was seen, where it is not the bound one
	Able    bool           // passkeys work under this address
	Origin  string
	OIDC    string // the host of the identity provider
}

// A cardForm is what somebody has said on the form of a card.
type cardForm struct {
	Decision, Reason, Seen, Opened, Ack, Override, Sure string
}

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
	if c.Opened == "" {
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
	f, err := form(w, r, "csrf", "decision", "reason", "seen_sha256", "opened", "acknowledged", "override", "sure")
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	said := cardForm{Decision: f[1], Reason: f[2], Seen: f[3], Opened: f[4], Ack: f[5], Override: f[6], Sure: f[7]}
	if err := fromOwnForm(r, f[0]); err != nil {
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
	case said.Decision == string(approvals.Approve) && c.Weighs() && said.Sure == "":
		s.show(w, r, http.StatusOK, "confirm", page{Title: c.Act + "?", At: "approvals", Main: c})
	default:
		s.cast(w, r, said, c)
	}
}

// Weighs reports whether a yes takes a second press: what it would do cannot be undone, or somebody decides alone.
func (c cardPage) Weighs() bool {
	return c.Undo.Never != "" || c.Typed.Override != ""
}

// complete asks for what has to be said with a decision.
func (t cardForm) complete(c cardPage) error {
	switch {
	case t.Decision == string(approvals.Deny) && strings.TrimSpace(t.Reason) == "":
		return tools.Refuse(tools.InvalidArguments, "Say in a sentence why, or what would be acceptable. The agent is told.", "A denial takes a reason.")
	case t.Seen != c.BindingHash:
		return tools.Refuse(tools.Conflict, "Read what stands here now, then decide.", "This is not what you opened: you saw %s, and it is %s.",
			approvals.Fingerprint(t.Seen), c.Fingerprint)
	}
	return nil
}

func (s *Server) cast(w http.ResponseWriter, r *http.Request, said cardForm, c cardPage) {
	v := visitOf(r.Context())
	_, err := s.gate.Vote(r.Context(), v.principal, gate.Ballot{
		ID: c.ID, Decision: approvals.Decision(said.Decision), Override: said.Override != "", Reason: strings.TrimSpace(said.Reason), Seen: said.Seen,
		Channel: webChannel, Source: v.source,
	})
	if err != nil {
		s.card(w, r, said, err)
		return
	}
	http.Redirect(w, r, "/approvals/"+c.ID, http.StatusSeeOther)
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
