package server

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/dtcgate/dtcgate/schemas"
	"github.com/dtcgate/dtcgate/tools"
)

// JSON-RPC error codes. rpcHeaderMismatch is the protocol's own.
const (
	rpcParse          = jsonrpc.CodeParseError
	rpcInvalidRequest = jsonrpc.CodeInvalidRequest
	rpcUnknownMethod  = jsonrpc.CodeMethodNotFound
	rpcInvalidParams  = jsonrpc.CodeInvalidParams
	rpcInternal       = jsonrpc.CodeInternalError
	rpcHeaderMismatch = mcp.CodeHeaderMismatch
)

// methods are what can be asked of us. The go-sdk would answer those of features that we do not have (prompts, resources,
// completion, logging) as if we had them and they were empty.
var methods = slices.Concat([]string{"initialize", "ping", "server/discover", "subscriptions/listen", "tools/call", "tools/list"}, taskMethods)

const noSuchMethod = "This server has no such method; of the protocol's features it has tools."

// A fault is why a JSON-RPC message is refused before it is known which call it would be.
type fault struct {
	code int64
	id   json.RawMessage // of the message, where it can be told
	text string
}

func (f *fault) body(callID string) (json.RawMessage, error) {
	id := f.id
	if id == nil {
		id = json.RawMessage("null")
	}
	refusal := *tools.Refuse(codeMalformed, "Send one JSON-RPC message as the protocol has it.", "%s", f.text)
	refusal.CallID = callID
	return json.Marshal(struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Error   *jsonrpc.Error  `json:"error"`
	}{"2.0", id, rpcError(f.code, refusal)})
}

func rpcError(code int64, r tools.Refusal) *jsonrpc.Error {
	return &jsonrpc.Error{Code: code, Message: r.Message, Data: bodyOf(r)}
}

// checkMessage holds a body to JSON-RPC 2.0 as MCP has it, and to what every JSON reader reads alike. The go-sdk is more
// lenient (it cuts the id 1.5 to 1), and what it refuses it refuses with texts that quote the message.
func checkMessage(raw []byte) *fault {
	if err := schemas.Strict(raw); err != nil {
		return &fault{code: rpcParse, text: "The message cannot be read: " + err.Error() + "."}
	}
	if bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("[")) {
		return &fault{code: rpcInvalidRequest, text: "Batches are not part of the protocol; send one message a request."}
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil || string(m["jsonrpc"]) != `"2.0"` {
		return &fault{code: rpcInvalidRequest, text: `The message must be an object with "jsonrpc":"2.0".`}
	}
	id, hasID := m["id"]
	if hasID && !goodID(id) {
		return &fault{code: rpcInvalidRequest, text: "The id must be a string or an integer."}
	}
	f := checkMethod(m, hasID)
	if f != nil {
		f.id = id
	}
	return f
}

var integer = regexp.MustCompile(`^-?[0-9]+$`)

func goodID(id json.RawMessage) bool { return len(id) > 0 && id[0] == '"' || integer.Match(id) }

func checkMethod(m map[string]json.RawMessage, hasID bool) *fault {
	raw, asks := m["method"]
	if !asks && hasID && isAnswer(m) {
		return nil // to a question that we never ask; the go-sdk drops it
	}
	var method string
	if err := json.Unmarshal(raw, &method); err != nil || method == "" {
		return &fault{code: rpcInvalidRequest, text: "The method must be a string."}
	}
	switch notifies := strings.HasPrefix(method, "notifications/"); {
	case notifies == hasID:
		return &fault{code: rpcInvalidRequest, text: "A request has an id, and a notification has none."}
	case !notifies && !slices.Contains(methods, method):
		return &fault{code: rpcUnknownMethod, text: noSuchMethod}
	}
	return checkParams(method, m)
}

func isAnswer(m map[string]json.RawMessage) bool {
	if m["error"] == nil {
		return m["result"] != nil
	}
	var e struct {
		Code    int64  `json:"code"`
		Message string `json:"message"`
	}
	return m["result"] == nil && m["error"][0] == '{' && json.Unmarshal(m["error"], &e) == nil
}

func checkParams(method string, m map[string]json.RawMessage) *fault {
	raw, given := m["params"]
	var params map[string]json.RawMessage
	if err := json.Unmarshal(raw, &params); given && (err != nil || params == nil) {
		return &fault{code: rpcInvalidParams, text: "The params must be an object."}
	}
	if meta, given := params["_meta"]; given && meta[0] != '{' {
		return &fault{code: rpcInvalidParams, text: "The _meta of the params must be an object."}
	}
	switch {
	case method == "tools/call" && !isName(params["name"]):
		return &fault{code: rpcInvalidParams, text: "The params must name a tool."}
	case slices.Contains(taskMethods, method) && !isName(params["taskId"]):
		return &fault{code: rpcInvalidParams, text: "The params must name a task, as taskId."}
	}
	return nil
}

// isName reports whether raw is a string, and not the empty one.
func isName(raw json.RawMessage) bool { return len(raw) > 2 && raw[0] == '"' }
