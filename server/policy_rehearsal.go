package server

import (
	"net/http"
	"time"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// A rehearsed is the body that asks for a rehearsal.
type rehearsed struct {
	policyDraft
	Since string `json:"since,omitempty" jsonschema:"maxLength=40,description=How long ago it begins: 30m or 24h or 7d; or a time (RFC 3339). 7d if left out"`
}

var rehearsals = schemas.Of[rehearsed]()

// usualSpan is how far back a rehearsal goes when nobody says.
const usualSpan = 7 * 24 * time.Hour

func (in rehearsed) span(now time.Time) (gate.Span, *tools.Refusal) {
	if in.Since == "" {
		return gate.Span{Since: now.Add(-usualSpan)}, nil
	}
	if at, err := time.Parse(time.RFC3339, in.Since); err == nil {
		return gate.Span{Since: at}, nil
	}
	var d policy.Duration
	if d.UnmarshalText([]byte(in.Since)) != nil {
		return gate.Span{}, tools.Wrong("since", "is no time", "how long ago (30m, 24h, 7d), or a time such as 2026-11-01T00:00:00Z", "7d")
	}
	return gate.Span{Since: now.Add(-time.Duration(d))}, nil
}

// startReplay answers before the rehearsal is done; its place tells how far it is.
func (s *Server) startReplay(w http.ResponseWriter, r *http.Request) {
	in, who, ok := admit[rehearsed](s, w, r, rehearsals)
	if !ok {
		return
	}
	span, wrong := in.span(s.db.Now())
	if who.Wrong == nil {
		who.Wrong = wrong
	}
	replay, err := s.gate.StartReplay(r.Context(), who, in.Source, span)
	if err == nil {
		w.Header().Set("Location", adminBase+"/policy/replay/"+replay.ID)
	}
	s.tellAs(w, r, http.StatusAccepted, replay, err)
}

func (s *Server) showReplay(w http.ResponseWriter, r *http.Request) {
	replay, err := s.gate.ShowReplay(r.Context(), administering(r, nil), r.PathValue("id"))
	s.tell(w, r, replay, err)
}

// A shadowDraft is the body that lets a draft run beside the policy.
type shadowDraft struct {
	policyDraft
	Note string `json:"note" jsonschema:"minLength=1,maxLength=500,description=Why"`
}

var shadowDrafts = schemas.Of[shadowDraft]()

func (s *Server) castShadow(w http.ResponseWriter, r *http.Request) {
	if in, who, ok := admit[shadowDraft](s, w, r, shadowDrafts); ok {
		cast, err := s.gate.CastShadow(r.Context(), who, in.Source, in.Note)
		s.tell(w, r, cast, err)
	}
}

func (s *Server) liftShadow(w http.ResponseWriter, r *http.Request) {
	lifted, err := s.gate.LiftShadow(r.Context(), administering(r, nil))
	s.tell(w, r, lifted, err)
}

func (s *Server) showShadow(w http.ResponseWriter, r *http.Request) {
	report, err := s.gate.ShadowReport(r.Context(), administering(r, nil))
	s.tell(w, r, report, err)
}
