package server

import (
	"net/http"
	"time"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/schemas"
)

// A peoplePage is a page of people, without their tokens.
type peoplePage struct {
	People []auth.Member `json:"people"`
	Next   string        `json:"next_cursor,omitempty"`
}

func (s *Server) listPeople(w http.ResponseWriter, r *http.Request) {
	l, wrong := listing(r)
	page, err := s.gate.People(r.Context(), administering(r, wrong), l)
	s.tell(w, r, peoplePage{page.Rows, page.Next}, err)
}

// A newPerson is the body that adds a person.
type newPerson struct {
	Name  string   `json:"name" jsonschema:"maxLength=80,description=The name that will stand beside each decision"`
	Roles []string `json:"roles" jsonschema:"maxItems=100,description=What the person may do and let agents do; such as manager"`
}

var newPeople = schemas.Of[newPerson]()

func (s *Server) addPerson(w http.ResponseWriter, r *http.Request) {
	if in, who, ok := admit[newPerson](s, w, r, newPeople); ok {
		added, err := s.gate.AddPerson(r.Context(), who, in.Name, in.Roles...)
		s.tellAs(w, r, http.StatusCreated, added, err)
	}
}

// A personChange is the body that gives a person other roles.
type personChange struct {
	Roles []string `json:"roles" jsonschema:"maxItems=100,description=The roles in place of those that the person has"`
}

var personChanges = schemas.Of[personChange]()

func (s *Server) changePerson(w http.ResponseWriter, r *http.Request) {
	if in, who, ok := admit[personChange](s, w, r, personChanges); ok {
		m, err := s.gate.GiveRoles(r.Context(), who, r.PathValue("id"), in.Roles)
		s.tell(w, r, m, err)
	}
}

// An invitation is the body that asks for a link with which a person signs in.
type invitation struct {
	TTL int64 `json:"ttl_seconds,omitempty" jsonschema:"minimum=60,maximum=86400,description=For how long the link is good; 900 if left out"`
}

var invitations = schemas.Of[invitation]()

// invitePerson answers with the link. Where nobody can tell under which address people reach the server it is a path.
func (s *Server) invitePerson(w http.ResponseWriter, r *http.Request) {
	if in, who, ok := admit[invitation](s, w, r, invitations); ok {
		link, err := s.gate.Invite(r.Context(), who, r.PathValue("id"), s.origin(r), time.Duration(in.TTL)*time.Second)
		s.tellAs(w, r, http.StatusCreated, link, err)
	}
}

func (s *Server) revokePerson(w http.ResponseWriter, r *http.Request) {
	revoked, err := s.gate.RevokePerson(r.Context(), administering(r, nil), r.PathValue("id"))
	s.tell(w, r, revoked, err)
}

// A roleList is all roles of a merchant.
type roleList struct {
	Roles []auth.Role `json:"roles"`
}

func (s *Server) listRoles(w http.ResponseWriter, r *http.Request) {
	roles, err := s.gate.Roles(r.Context(), administering(r, nil))
	s.tell(w, r, roleList{roles}, err)
}

// A roleTerms is the body that makes or changes a role.
type roleTerms struct {
	Scopes []string `json:"scopes" jsonschema:"maxItems=100,description=All that the role holds; orders:* and *:read are patterns"`
}

var rolesTerms = schemas.Of[roleTerms]()

func (s *Server) putRole(w http.ResponseWriter, r *http.Request) {
	if in, who, ok := admit[roleTerms](s, w, r, rolesTerms); ok {
		role, err := s.gate.PutRole(r.Context(), who, r.PathValue("name"), in.Scopes)
		s.tell(w, r, role, err)
	}
}

// A deletedRole names the role that is no more.
type deletedRole struct {
	Name string `json:"name"`
}

func (s *Server) deleteRole(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	err := s.gate.DeleteRole(r.Context(), administering(r, nil), name)
	s.tell(w, r, deletedRole{name}, err)
}

// A sessionPage is a page of where a person is and was signed in.
type sessionPage struct {
	Sessions []auth.Session `json:"sessions"`
	Next     string         `json:"next_cursor,omitempty"`
}

func (s *Server) listSessions(w http.ResponseWriter, r *http.Request) {
	l, wrong := listing(r)
	page, err := s.gate.SessionsOf(r.Context(), administering(r, wrong), r.PathValue("id"), l)
	s.tell(w, r, sessionPage{page.Rows, page.Next}, err)
}

// revokeSessions ends the session that the path names, or all of the person's.
func (s *Server) revokeSessions(w http.ResponseWriter, r *http.Request) {
	ended, err := s.gate.RevokeSessionsOf(r.Context(), administering(r, nil), r.PathValue("id"), r.PathValue("session"))
	s.tell(w, r, ended, err)
}
