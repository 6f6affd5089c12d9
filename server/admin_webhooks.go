package server

import (
	"net/http"
	"time"

	"github.com/dtcgate/dtcgate/approvals/notify"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/schemas"
)

// A webhookList is all endpoints of a merchant, without their secrets.
type webhookList struct {
	Webhooks []notify.Endpoint `json:"webhooks"`
}

func (s *Server) listWebhooks(w http.ResponseWriter, r *http.Request) {
	all, err := s.gate.Webhooks(r.Context(), administering(r, nil))
	s.tell(w, r, webhookList{all}, err)
}

// A newWebhook is the body that adds an endpoint.
type newWebhook struct {
	URL   string   `json:"url" jsonschema:"maxLength=2000,description=Where messages are posted; https"`
	Types []string `json:"types,omitempty" jsonschema:"maxItems=10,description=Of the messages: approval.requested or approval.updated or approval.resolved or job.updated; all if left out"`
}

var newWebhooks = schemas.Of[newWebhook]()

func (s *Server) addWebhook(w http.ResponseWriter, r *http.Request) {
	if in, who, ok := admit[newWebhook](s, w, r, newWebhooks); ok {
		added, err := s.gate.AddWebhook(r.Context(), who, in.URL, in.Types)
		s.tellAs(w, r, http.StatusCreated, added, err)
	}
}

// A webhookRotation is the body that rotates the secret of an endpoint.
type webhookRotation struct {
	Overlap *int64 `json:"overlap_seconds,omitempty" jsonschema:"minimum=0,maximum=2592000,description=For how long messages are signed with the old secret too; 86400 if left out; 0 ends it at once"`
}

var webhookRotations = schemas.Of[webhookRotation]()

func (s *Server) rotateWebhook(w http.ResponseWriter, r *http.Request) {
	in, who, ok := admit[webhookRotation](s, w, r, webhookRotations)
	if !ok {
		return
	}
	overlap := notify.DefaultOverlap
	if in.Overlap != nil {
		overlap = time.Duration(*in.Overlap) * time.Second
	}
	rotated, err := s.gate.RotateWebhook(r.Context(), who, r.PathValue("id"), overlap)
	s.tell(w, r, rotated, err)
}

func (s *Server) testWebhook(w http.ResponseWriter, r *http.Request) {
	pong, err := s.gate.TestWebhook(r.Context(), administering(r, nil), r.PathValue("id"))
	s.tell(w, r, pong, err)
}

// An ended names what is no more.
type ended struct {
	ID string `json:"id"`
}

func (s *Server) removeWebhook(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	s.tell(w, r, ended{id}, s.gate.RemoveWebhook(r.Context(), administering(r, nil), id))
}

// A linkList is all services that are linked to a person.
type linkList struct {
	Links []auth.PersonLink `json:"links"`
}

func (s *Server) listPersonLinks(w http.ResponseWriter, r *http.Request) {
	links, err := s.gate.PersonLinks(r.Context(), administering(r, nil), r.PathValue("id"))
	s.tell(w, r, linkList{links}, err)
}

func (s *Server) unlinkPerson(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("link")
	s.tell(w, r, ended{id}, s.gate.UnlinkPerson(r.Context(), administering(r, nil), r.PathValue("id"), id))
}
