package server

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

func (s *Server) showPolicy(w http.ResponseWriter, r *http.Request) {
	v, err := s.gate.Policy(r.Context(), administering(r, nil), 0)
	tag(w, v.Number, err)
	s.tell(w, r, v, err)
}

// A versionPage is a page of versions, newest first, without their sources.
type versionPage struct {
	Versions []policy.Version `json:"versions"`
	Next     string           `json:"next_cursor,omitempty"`
}

func (s *Server) listPolicies(w http.ResponseWriter, r *http.Request) {
	l, wrong := listing(r)
	page, err := s.gate.PolicyVersions(r.Context(), administering(r, wrong), l)
	s.tell(w, r, versionPage{page.Rows, page.Next}, err)
}

func (s *Server) showPolicyVersion(w http.ResponseWriter, r *http.Request) {
	n, wrong := versionIn(r.PathValue("n"))
	v, err := s.gate.Policy(r.Context(), administering(r, wrong), n)
	s.tell(w, r, v, err)
}

func versionIn(path string) (int64, *tools.Refusal) {
	n, err := strconv.ParseInt(path, 10, 64)
	if err != nil || n < 1 {
		return 0, tools.Wrong("n", "is no number of a version", "a whole number from 1", 1)
	}
	return n, nil
}

// showPolicySchema gives the JSON Schema of the document, which is the same for everybody who may publish one.
func (s *Server) showPolicySchema(w http.ResponseWriter, r *http.Request) {
	err := s.gate.MayPublish(r.Context(), administering(r, nil))
	s.tell(w, r, json.RawMessage(policy.Schema), err)
}

// A policyDraft is the body that asks about a document.
type policyDraft struct {
	Source string `json:"source" jsonschema:"minLength=1,maxLength=262144,description=The document in YAML"`
}

var policyDrafts = schemas.Of[policyDraft]()

func (s *Server) checkPolicy(w http.ResponseWriter, r *http.Request) {
	if in, who, ok := admit[policyDraft](s, w, r, policyDrafts); ok {
		d, err := s.gate.CheckPolicy(r.Context(), who, in.Source)
		s.tell(w, r, d, err)
	}
}

// A publication is the body that publishes a document.
type publication struct {
	policyDraft
	Note string `json:"note" jsonschema:"minLength=1,maxLength=500,description=Why; it stands beside the version for ever"`
	Base *int64 `json:"base_version,omitempty" jsonschema:"minimum=0,description=The version that the document was made from; it is refused when another is in force by then"`
}

var publications = schemas.Of[publication]()

func (s *Server) publishPolicy(w http.ResponseWriter, r *http.Request) {
	in, who, ok := admit[publication](s, w, r, publications)
	if !ok {
		return
	}
	made, err := s.gate.PublishPolicy(r.Context(), who, in.Source, in.Note, in.Base)
	status := http.StatusCreated
	if made.Status == tools.PendingApproval {
		status = http.StatusAccepted
	}
	s.tellAs(w, r, status, made, err)
}
