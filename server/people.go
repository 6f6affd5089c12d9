package server

import (
	"encoding/json"
	"net/http"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// handlePeople makes the routes on which people decide about parked calls.
func (s *Server) handlePeople() {
	s.handle("GET "+tools.BasePath+"/approvals", s.knownOrSignedIn(s.listApprovals))
	s.handle("GET "+tools.BasePath+"/approvals/{id}", s.knownOrSignedIn(s.showApproval))
	s.handle("POST "+tools.BasePath+"/approvals/{id}/resolve", s.knownOrSignedIn(s.resolveApproval))
	s.handle("GET "+tools.BasePath+"/approvals/grants", s.knownOrSignedIn(s.listGrants))
	s.handle("POST "+tools.BasePath+"/approvals/grants", s.knownOrSignedIn(s.askForGrant))
	s.handle("GET "+tools.BasePath+"/approvals/grants/{grant}", s.knownOrSignedIn(s.showGrant))
	s.handle("DELETE "+tools.BasePath+"/approvals/grants/{grant}", s.knownOrSignedIn(s.revokeGrant))
	s.handle("POST "+tools.BasePath+"/jobs/{id}/reconcile", s.knownOrSignedIn(s.reconcileJob))
}

func (s *Server) listApprovals(w http.ResponseWriter, r *http.Request) {
	requests, err := s.gate.Requests(r.Context(), visitOf(r.Context()).principal, r.URL.Query().Get("all") == "true")
	s.tell(w, r, map[string][]approvals.Request{"approvals": requests}, err)
}

func (s *Server) showApproval(w http.ResponseWriter, r *http.Request) {
	d, err := s.gate.Request(r.Context(), visitOf(r.Context()).principal, r.PathValue("id"))
	s.tell(w, r, d, err)
}

// A ballot is the body of a resolve.
type ballot struct {
	Decision string `json:"decision" jsonschema:"enum=approve,enum=deny"`
	Override bool   `json:"override,omitempty" jsonschema:"description=Decide alone where the rule lets somebody who holds approvals:override. It takes a reason"`
	Reason   string `json:"reason,omitempty"`
	For      string `json:"for,omitempty" jsonschema:"maxLength=80,description=The name or id of a person who is away and for whom this one stands in"`
	Seen     string `json:"seen_sha256,omitempty" jsonschema:"description=The binding_sha256 or fingerprint of the request as it was read. It is required"`

	Acknowledged bool  `json:"acknowledged,omitempty" jsonschema:"description=What of the agent's reason does not fit the record (claims) has been read"`
	OpenSeconds  int64 `json:"open_seconds,omitempty" jsonschema:"minimum=0,description=For how long the request was looked at"`

	OnBehalfOf string `json:"on_behalf_of_person,omitempty" jsonschema:"maxLength=200,description=From a service with a key that holds approvals:resolve: its own id of the person who decided and who has linked it on /me"`
}

// channel is how a ballot came.
func (b ballot) channel() string {
	if b.OnBehalfOf != "" {
		return gate.ChannelWebhook
	}
	return "rest"
}

var ballots = schemas.Of[ballot]()

// A resolution answers a resolve. Status is the job's, which is what the callers of the first product look at.
type resolution struct {
	ApprovalID  string             `json:"approval_id"`
	JobID       string             `json:"job_id"`
	Status      tools.JobStatus    `json:"status"`
	State       approvals.State    `json:"state"`
	Decision    approvals.Decision `json:"decision"`
	Rule        string             `json:"rule"`
	Needs       string             `json:"needs"`
	NeedsNow    string             `json:"needs_now,omitempty"` // who is missing yet
	Votes       []approvals.Vote   `json:"votes"`
	Fingerprint string             `json:"fingerprint"`
	Why         string             `json:"why,omitempty"`
}

func (s *Server) resolveApproval(w http.ResponseWriter, r *http.Request) {
	b, err := readBallot(w, r)
	wrong := wrongArguments(err)
	if err != nil && wrong == nil {
		s.refuse(w, r, err)
		return
	}
	v := visitOf(r.Context())
	d, err := s.gate.Vote(r.Context(), v.principal, gate.Ballot{
		ID: r.PathValue("id"), Decision: approvals.Decision(b.Decision), Override: b.Override, For: b.For, Reason: b.Reason, Seen: b.Seen,
		Acknowledged: b.Acknowledged, OpenSeconds: b.OpenSeconds, OnBehalfOf: b.OnBehalfOf, Channel: b.channel(), Source: v.source, Wrong: wrong,
	})
	if b.OnBehalfOf != "" {
		d.Votes, d.Job.Why = []approvals.Vote{}, "" // a service learns no names, nor what others said
	}
	s.tell(w, r, resolution{
		ApprovalID: d.ID, JobID: d.JobID, Status: d.Job.Status, State: d.State, Decision: approvals.Decision(b.Decision),
		Rule: d.Rule.Name, Needs: d.Needs, NeedsNow: d.Missing, Votes: d.Votes, Fingerprint: d.Fingerprint, Why: d.Job.Why,
	}, err)
}

func readBallot(w http.ResponseWriter, r *http.Request) (ballot, error) {
	return readBody[ballot](w, r, ballots, `Send {"decision":"approve","seen_sha256":"…"} or {"decision":"deny","seen_sha256":"…","reason":"…"}.`)
}

// readBody reads a body strictly and once. What is wrong with its content is INVALID_ARGUMENTS, of which hint is the next
// step where it cannot be read at all.
func readBody[T any](w http.ResponseWriter, r *http.Request, schema *schemas.Schema, hint string) (none T, err error) {
	raw, err := body(w, r)
	if err != nil {
		return none, err
	}
	canonical, err := schemas.Canonical(raw)
	if err != nil {
		return none, tools.Refuse(tools.InvalidArguments, hint, "The body cannot be read: %s.", err)
	}
	if secret.In(string(canonical)) {
		return none, tools.Refuse(tools.InvalidArguments, "Leave it out, and rotate or revoke it.", "The body holds a key or token of this gate.")
	}
	if wrong := schema.Check(canonical); len(wrong) > 0 {
		return none, tools.WrongFields(wrong)
	}
	return schemas.Decode[T](canonical)
}

// tell answers a person.
func (s *Server) tell(w http.ResponseWriter, r *http.Request, answer any, err error) {
	s.tellAs(w, r, http.StatusOK, answer, err)
}

// tellAs is tell with the status of a good answer.
func (s *Server) tellAs(w http.ResponseWriter, r *http.Request, status int, answer any, err error) {
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	id := store.NewID("call", s.db.Now())
	visitOf(r.Context()).called("", id, "")
	s.write(w, status, id, raw)
}
