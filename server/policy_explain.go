package server

import (
	"encoding/json"
	"net/http"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// A policyQuestion is the body that asks what would become of a call.
type policyQuestion struct {
	Key  string                     `json:"key" jsonschema:"minLength=1,maxLength=60,description=Who would make the call: key_… or sub_… or jwt_…"`
	Tool string                     `json:"tool" jsonschema:"minLength=1,maxLength=64"`
	Args map[string]json.RawMessage `json:"arguments,omitempty" jsonschema:"description=As the agent would send them"`
}

var policyQuestions = schemas.Of[policyQuestion]()

// explainPolicy lists every check of a call that nobody makes.
func (s *Server) explainPolicy(w http.ResponseWriter, r *http.Request) {
	in, who, ok := admit[policyQuestion](s, w, r, policyQuestions)
	if !ok {
		return
	}
	args, err := json.Marshal(in.Args)
	if err != nil {
		who.Wrong = tools.Wrong("arguments", "cannot be read", "an object", nil)
	}
	e, err := s.gate.Explain(r.Context(), who, gate.Question{Key: in.Key, Tool: in.Tool, Args: args})
	s.tell(w, r, e, err)
}
