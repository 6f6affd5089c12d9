//go:build conformance

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/dtcgate/dtcgate/store"
)

const extension = "io.modelcontextprotocol/tasks"

type object = map[string]any

// A front answers what the server does not: it asks clients questions, with and without a task.
type front struct {
	next http.Handler
	db   *store.DB

	mu    sync.Mutex
	asked map[string]object // the open questions of each task
}

func newFront(next http.Handler, db *store.DB) *front {
	return &front{next: next, db: db, asked: map[string]object{}}
}

// questions are what a task of a tool asks its client.
var questions = map[string][]string{"confirm_delete": {"confirm"}, "multi_input": {"first", "second"}}

type message struct {
	ID     json.RawMessage
	Method string
	Params struct {
		Name           string
		TaskID         string
		InputResponses map[string]struct{ Content struct{ Name string } }
		Meta           object `json:"_meta"`
	}
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var m message
	_ = json.Unmarshal(raw, &m) // what is no message is the server's to refuse
	if m.Method == "tools/call" {
		if answer, status := before(m); answer != nil {
			reply(w, status, m.ID, answer)
			return
		}
		if m.Params.Name == "test_tool_with_task" {
			raw = answered(raw, m)
		}
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(raw)), int64(len(raw))
	to := httptest.NewRecorder()
	f.next.ServeHTTP(to, r)
	f.after(w, r, m, to)
}

// before answers calls that the server does not get to see: of a tool that only clients with tasks may call, and the first
// round of one that asks before it becomes a task.
func before(m message) (answer object, status int) {
	switch {
	case m.Params.Name == "failing_job" && !declares(m.Params.Meta):
		return object{"error": object{
			"code": mcp.CodeMissingRequiredClientCapabilities, "message": "This tool needs the extension for tasks.",
			"data": object{"requiredCapabilities": object{"extensions": object{extension: object{}}}},
		}}, http.StatusBadRequest
	case m.Params.Name == "test_tool_with_task" && len(m.Params.InputResponses) == 0:
		return object{"result": object{"resultType": "input_required", "inputRequests": object{"user_name": question()}}}, http.StatusOK
	}
	return nil, 0
}

func declares(meta object) bool {
	capabilities, _ := meta[mcp.MetaKeyClientCapabilities].(object)
	extensions, _ := capabilities["extensions"].(object)
	return extensions[extension] != nil
}

func question() object {
	return object{"method": "elicitation/create", "params": object{
		"mode": "form", "message": "Go on?",
		"requestedSchema": object{"type": "object", "properties": object{"name": object{"type": "string"}, "confirm": object{"type": "boolean"}}},
	}}
}

// answered makes the client's answer the tool's argument.
func answered(raw []byte, m message) []byte {
	var whole object
	_ = json.Unmarshal(raw, &whole)
	params, _ := whole["params"].(object)
	for _, answer := range m.Params.InputResponses {
		params["arguments"] = object{"user_name": answer.Content.Name}
	}
	delete(params, "inputResponses")
	raw, _ = json.Marshal(whole)
	return raw
}

// after passes the server's answer on, with what the front knows of the task.
func (f *front) after(w http.ResponseWriter, r *http.Request, m message, from *httptest.ResponseRecorder) {
	maps.Copy(w.Header(), from.Header())
	var answer object
	if json.Unmarshal(from.Body.Bytes(), &answer) != nil {
		w.WriteHeader(from.Code)
		_, _ = w.Write(from.Body.Bytes())
		return
	}
	if result, ok := answer["result"].(object); ok {
		f.amend(r, m, result)
	}
	w.Header().Del("Content-Length")
	reply(w, from.Code, m.ID, answer)
}

func (f *front) amend(r *http.Request, m message, result object) {
	f.mu.Lock()
	defer f.mu.Unlock()
	open := f.asked[m.Params.TaskID]
	switch id, _ := result["taskId"].(string); {
	case m.Method == "tools/call" && m.Params.Name == "greet":
		plain(result)
	case m.Method == "tools/call" && id != "" && questions[m.Params.Name] != nil:
		f.asked[id] = object{}
		for _, name := range questions[m.Params.Name] {
			f.asked[id][name] = question()
		}
	case m.Method == "tasks/get" && result["status"] == "working" && len(open) > 0:
		result["status"], result["inputRequests"] = "input_required", maps.Clone(open)
	case m.Method == "tasks/update" && len(open) > 0:
		for name := range m.Params.InputResponses {
			delete(open, name)
		}
		if len(open) == 0 {
			f.release(r, m.Params.TaskID)
		}
	}
}

// plain has the greeting as the whole text, where the gate gives an object.
func plain(result object) {
	structured, _ := result["structuredContent"].(object)
	content, _ := result["content"].([]any)
	for _, c := range slices.DeleteFunc(content, func(c any) bool { return structured["greeting"] == nil }) {
		c.(object)["text"] = structured["greeting"]
	}
}

// release lets the job of a task run now, which has all its answers.
func (f *front) release(r *http.Request, id string) {
	err := f.db.InTx(r.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE jobs SET run_after = $1 WHERE id = $2 AND status = 'queued'`, store.Micros(tx.Now), id)
		return err
	})
	if err != nil {
		panic(err)
	}
}

func reply(w http.ResponseWriter, status int, id json.RawMessage, answer object) {
	answer["jsonrpc"] = "2.0"
	if id != nil {
		answer["id"] = id
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}
