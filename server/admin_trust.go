package server

import (
	"net/http"
	"strconv"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// A trustPage is a page of agents with how much they are trusted.
type trustPage struct {
	Agents []trust.Standing `json:"agents"`
	Next   string           `json:"next_cursor,omitempty"`
}

func (s *Server) listTrust(w http.ResponseWriter, r *http.Request) {
	l, wrong := listing(r)
	page, err := s.gate.Trusted(r.Context(), administering(r, wrong), l)
	s.tell(w, r, trustPage{page.Rows, page.Next}, err)
}

func (s *Server) showTrust(w http.ResponseWriter, r *http.Request) {
	standing, err := s.gate.Trust(r.Context(), administering(r, nil), r.PathValue("id"))
	s.tell(w, r, standing, err)
}

// A trustHistory is what moved the trust in an agent, newest first.
type trustHistory struct {
	Moves []trust.Moved `json:"moves"`
}

func (s *Server) showTrustHistory(w http.ResponseWriter, r *http.Request) {
	moves, err := s.gate.TrustHistory(r.Context(), administering(r, nil), r.PathValue("id"))
	s.tell(w, r, trustHistory{moves}, err)
}

// A feedback is the body that moves the trust in an agent.
type feedback struct {
	Score float64 `json:"score" jsonschema:"minimum=-100,maximum=100,description=Points by which it moves; at most three decimals"`
	Note  string  `json:"note" jsonschema:"minLength=1,maxLength=500,description=Why"`
}

var feedbacks = schemas.Of[feedback]()

// points are those of the body, digit by digit as they came: a float prints as the shortest number that it was read from.
func (f feedback) points() (trust.Score, *tools.Refusal) {
	s, err := trust.ParseScore(strconv.FormatFloat(f.Score, 'f', -1, 64))
	if err != nil {
		return 0, tools.Wrong("score", "is no number of points", "-100 to 100 with at most three decimals", -10)
	}
	return s, nil
}

func (s *Server) giveFeedback(w http.ResponseWriter, r *http.Request) {
	in, who, ok := admit[feedback](s, w, r, feedbacks)
	if !ok {
		return
	}
	score, wrong := in.points()
	if who.Wrong == nil {
		who.Wrong = wrong
	}
	standing, err := s.gate.GiveFeedback(r.Context(), who, r.PathValue("id"), gate.Feedback{Score: score, Note: in.Note})
	s.tell(w, r, standing, err)
}
