package server

import (
	"net/http"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// A freezing is the body that stops the writes of one agent, or of all.
type freezing struct {
	Subject string `json:"subject_id,omitempty" jsonschema:"maxLength=60,description=Whose writes stop: key_… or sub_… or jwt_… or per_… with all that stands below it"`
	All     bool   `json:"all,omitempty" jsonschema:"description=Every agent of the merchant; in place of subject_id"`
	Reason  string `json:"reason" jsonschema:"minLength=1,maxLength=500,description=Why. Agents are told"`
}

var freezings = schemas.Of[freezing]()

// whose holds a body to naming one subject, or all: that everything stops because a name was left out would be a surprise.
func (f freezing) whose() *tools.Refusal {
	if f.All == (f.Subject != "") {
		return tools.Wrong("subject_id", "is missing, or stands beside all", "an id, or all: true", nil)
	}
	return nil
}

func (s *Server) beginFreeze(w http.ResponseWriter, r *http.Request) {
	in, who, ok := admit[freezing](s, w, r, freezings)
	if !ok {
		return
	}
	if who.Wrong == nil {
		who.Wrong = in.whose()
	}
	f, err := s.gate.Freeze(r.Context(), who, gate.Freezing{Subject: in.Subject, Reason: in.Reason})
	s.tellAs(w, r, http.StatusCreated, f, err)
}

// A lifting is the body that lifts a freeze.
type lifting struct {
	Reason string `json:"reason" jsonschema:"minLength=1,maxLength=500,description=Why it may go on"`
}

var liftings = schemas.Of[lifting]()

func (s *Server) liftFreeze(w http.ResponseWriter, r *http.Request) {
	if in, who, ok := admit[lifting](s, w, r, liftings); ok {
		f, err := s.gate.LiftFreeze(r.Context(), who, r.PathValue("id"), in.Reason)
		s.tell(w, r, f, err)
	}
}

// A freezeList is the freezes that hold and those that were lifted within a day, newest first.
type freezeList struct {
	Freezes []auth.Freeze `json:"freezes"`
}

func (s *Server) listFreezes(w http.ResponseWriter, r *http.Request) {
	all, err := s.gate.Freezes(r.Context(), visitOf(r.Context()).principal)
	s.tell(w, r, freezeList{all}, err)
}

// handleFreezes makes the page on which people stop what agents do, and let it go on.
func (s *Server) handleFreezes() {
	s.handle("GET /freeze", guarded(s.signedIn(func(w http.ResponseWriter, r *http.Request) { s.freezes(w, r, "", nil) })))
	s.handle("POST /freeze", guarded(s.signedIn(s.freezeOnPage)))
	s.handle("POST /freeze/{id}/lift", guarded(s.signedIn(s.liftOnPage)))
}

// freezePage is what the page of that name shows.
type freezePage struct {
	Freezes   []auth.Freeze
	Token     string
	Reason    string         // that was typed before something went wrong
	Problem   *tools.Refusal // what went wrong
	MayLift   bool
	Confirmed bool // who they are, lately enough to lift
}

func (s *Server) freezes(w http.ResponseWriter, r *http.Request, reason string, problem error) {
	p := visitOf(r.Context()).principal
	all, err := s.gate.Freezes(r.Context(), p)
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	main := freezePage{
		Freezes: all, Token: formToken(r), Reason: reason, MayLift: p.Has(auth.KeysAdmin),
		Confirmed: s.db.Now().Sub(p.StepUpAt) <= auth.StepUpTime,
	}
	status := http.StatusOK
	if problem != nil {
		refusal := asRefusal(problem)
		main.Problem, status = &refusal, wires[refusal.Code].http
	}
	s.show(w, r, status, "freeze", page{Title: "Stop agents", At: "freeze", Main: main})
}

func (s *Server) freezeOnPage(w http.ResponseWriter, r *http.Request) {
	f, err := form(w, r, "csrf", "subject", "reason")
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	if err = fromOwnForm(r, f[0]); err == nil {
		_, err = s.gate.Freeze(r.Context(), byVisitor(r), gate.Freezing{Subject: strings.TrimSpace(f[1]), Reason: f[2]})
	}
	s.backToFreezes(w, r, f[2], err)
}

func (s *Server) liftOnPage(w http.ResponseWriter, r *http.Request) {
	f, err := form(w, r, "csrf", "reason")
	if err != nil {
		s.showRefusal(w, r, err)
		return
	}
	if err = fromOwnForm(r, f[0]); err == nil {
		_, err = s.gate.LiftFreeze(r.Context(), byVisitor(r), r.PathValue("id"), f[1])
	}
	s.backToFreezes(w, r, f[1], err)
}

func (s *Server) backToFreezes(w http.ResponseWriter, r *http.Request, reason string, err error) {
	if err != nil {
		s.freezes(w, r, reason, err)
		return
	}
	http.Redirect(w, r, "/freeze", http.StatusSeeOther)
}

// A banner says on every page that something is frozen, or was lifted within a day.
type banner struct {
	All    *auth.Freeze // that stops every agent
	Some   int64        // that stop one
	Lifted *auth.Freeze // the last that was lifted
}

// bannerFor gives what to say to whoever is signed in. A page is shown without it when it cannot be read: whatever is pressed there meets the
// freeze itself.
func (s *Server) bannerFor(r *http.Request) (b banner) {
	p := visitOf(r.Context()).principal
	if p.Kind != auth.KindPerson {
		return b
	}
	all, err := s.gate.Freezes(r.Context(), p)
	if err != nil {
		return b
	}
	var last time.Time
	for i, f := range all {
		switch {
		case !f.Open() && f.LiftedAt.After(last):
			b.Lifted, last = &all[i], f.LiftedAt
		case f.Open() && f.Subject == "":
			b.All = &all[i]
		case f.Open():
			b.Some++
		}
	}
	return b
}
