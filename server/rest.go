package server

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/tools"
)

// handleTools makes the REST surface: the routes that each tool's Spec names, and every tool under its name.
func (s *Server) handleTools() {
	for _, t := range s.tools.All() {
		for _, route := range t.Routes {
			s.handle(route.Method+" "+tools.BasePath+route.Path, s.calling(s.tool(t, route)))
		}
	}
	s.handle("POST "+tools.BasePath+"/tools/{name}", s.calling(s.named))
}

// tool answers calls to one tool over one of its routes.
func (s *Server) tool(t *tools.Tool, route tools.Route) http.HandlerFunc {
	inPath := placeholders(route.Path)
	return func(w http.ResponseWriter, r *http.Request) { s.callTool(w, r, t, route, inPath) }
}

func (s *Server) callTool(w http.ResponseWriter, r *http.Request, t *tools.Tool, route tools.Route, inPath []string) {
	args, err := arguments(w, r, t, inPath, route.Accept)
	wrong := wrongArguments(err)
	if err != nil && wrong == nil {
		s.refuse(w, r, err)
		return
	}
	s.callREST(w, r, gate.Request{Tool: t.Name, Args: args, Wrong: wrong, FillFacts: route.FillFacts}, route)
}

// wrongArguments gives the refusal of a request that is a call all the same, and only has the wrong arguments: the gate
// judges and records it. Any other error is nil here.
func wrongArguments(err error) *tools.Refusal {
	if err == nil {
		return nil
	}
	var r *tools.Refusal
	if errors.As(err, &r) && r.Code == tools.InvalidArguments {
		return r
	}
	return nil
}

// named answers calls to any tool by its name. One that is no tool's is a call all the same: the gate refuses and
// records it.
func (s *Server) named(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if t, ok := s.tools.Find(name); ok {
		s.callTool(w, r, t, tools.Route{}, nil)
		return
	}
	s.callREST(w, r, gate.Request{Tool: name}, tools.Route{})
}

// callREST hands a call to the gate and answers with its outcome.
func (s *Server) callREST(w http.ResponseWriter, r *http.Request, q gate.Request, route tools.Route) {
	v := visitOf(r.Context())
	q.Transport = "rest"
	if keys := r.Header.Values("Idempotency-Key"); len(keys) > 0 {
		q.IdempotencyKey = cmp.Or(strings.Join(keys, " "), notAKey) // several are one with a space, which is none either
	}
	out, err := s.handOver(v, q)
	if err == nil && route.Only != "" {
		out.Body, err = only(out.Body, route.Only)
	}
	if err == nil && route.Bare && out.Status == tools.Done {
		out.Body, err = bare(out.Body)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	if out.Replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}
	s.write(w, statusOf(out.Status, route), out.CallID, out.Body)
}

func statusOf(status tools.Status, route tools.Route) int {
	switch {
	case status == tools.PendingApproval || status == tools.Queued:
		return http.StatusAccepted
	case status == tools.Done && route.Status != 0:
		return route.Status
	}
	return http.StatusOK
}

// bare takes the result out of the answer of a write.
func bare(answer json.RawMessage) (json.RawMessage, error) {
	var r tools.Result
	err := json.Unmarshal(answer, &r)
	return r.Result, err
}

// only takes the first element of a member of an answer, for a route that is about one object.
func only(answer json.RawMessage, member string) (json.RawMessage, error) {
	var members map[string]json.RawMessage
	var list []json.RawMessage
	if err := json.Unmarshal(answer, &members); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(members[member], &list); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, tools.Refuse(tools.NotFound, "Search for it, and use the id exactly as it was given.", "There is no such object, or this credential may not see it.")
	}
	return list[0], nil
}

// handOver hands a call to the gate for the caller of the visit. Whatever transport it came by, from here on it is the same.
func (s *Server) handOver(v *visit, q gate.Request) (gate.Outcome, error) {
	q.Source = v.source
	tool := ""
	if t, ok := s.tools.Find(q.Tool); ok { // the name of none may be anything
		tool = t.Name
	}
	out, err := s.hot.call(v.ctx, v.principal, q)
	if err != nil {
		refusal := asRefusal(err)
		v.called(tool, refusal.CallID, string(refusal.Code))
		return out, err
	}
	v.called(tool, out.CallID, "")
	return out, nil
}
