package server

import (
	"bytes"
	"net/http"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/dtcgate/dtcgate/schemas"
)

// A plainRequest is a message that nothing is unusual about: a request for tools/call or tools/list, of members that we
// know, in forms that the go-sdk takes without another word. Its parts are of the body and were read in one pass; what is
// absent is nil.
type plainRequest struct {
	in schemas.Plain

	protocol, id, method []byte // id as it is written

	tool, args, cursor []byte

	version      []byte // that the _meta names
	capabilities bool   // the _meta tells them
	tasks        bool   // and the extension for tasks is among them
	key          []byte // idempotency key, as it is written
	trace        []byte // W3C traceparent
}

// readPlain reads a message, and reports false for one that the go-sdk is to read.
func readPlain(m *plainRequest, raw []byte) bool {
	m.in = schemas.ReadPlain(raw)
	return m.in.Object(m.member) && m.in.Done() && string(m.protocol) == "2.0" && m.id != nil && m.method != nil
}

func (m *plainRequest) member(name []byte) (ok bool) {
	switch string(name) {
	case "jsonrpc":
		m.protocol, ok = m.in.Text()
	case "id":
		m.id, ok = m.in.Value()
		ok = ok && plainID(m.id)
	case "method":
		m.method, ok = m.in.Text()
	case "params":
		ok = m.in.Object(m.param)
	}
	return ok
}

// plainID reports whether an id is written as the go-sdk writes it back.
func plainID(id []byte) bool {
	if id[0] != '"' {
		return integer.Match(id) && string(id) != "-0"
	}
	return !slices.ContainsFunc(id, func(c byte) bool { return c == '\\' || c < ' ' || c > '~' })
}

func (m *plainRequest) param(name []byte) (ok bool) {
	switch string(name) {
	case "name":
		m.tool, ok = m.in.Text()
	case "arguments":
		m.args, ok = m.in.Value()
		ok = ok && m.args[0] == '{'
	case "cursor":
		m.cursor, ok = m.in.Text()
	case "_meta":
		ok = m.in.Object(m.meta)
	}
	return ok
}

// meta takes what decides how a request is answered, and reads over the rest. A progressToken is of the rest: the answer is
// one document, and there is no progress to tell.
func (m *plainRequest) meta(name []byte) (ok bool) {
	switch string(name) {
	case mcp.MetaKeyProtocolVersion:
		m.version, ok = m.in.Text()
	case mcp.MetaKeyClientCapabilities:
		m.capabilities = true
		ok = m.in.Object(m.capability)
	case mcp.MetaKeyClientInfo:
		ok = m.in.Object(m.clientInfo)
	case metaKey:
		m.key, ok = m.in.Value()
		ok = ok && bytes.IndexByte(m.key, '\\') < 0
	case metaTrace:
		m.trace, ok = m.in.Text()
	default:
		_, ok = m.in.Value()
	}
	return ok
}

// capability takes the capabilities that the go-sdk knows, in their plain forms.
func (m *plainRequest) capability(name []byte) bool {
	switch string(name) {
	case "extensions":
		return m.in.Object(m.extension)
	case "experimental":
		return m.in.Object(nil)
	case "sampling", "elicitation":
		return m.in.Object(func([]byte) bool { return m.in.Object(nil) })
	case "roots":
		return m.in.Object(func(name []byte) bool {
			value, ok := m.in.Value()
			return ok && string(name) == "listChanged" && (value[0] == 't' || value[0] == 'f')
		})
	}
	return false
}

func (m *plainRequest) extension(name []byte) bool {
	value, ok := m.in.Value()
	if string(name) == tasksExtension {
		m.tasks = ok && value[0] == '{'
	}
	return ok
}

// clientInfo is the name of a client's software, which is of no use to us but must have the form that the go-sdk reads.
func (m *plainRequest) clientInfo(name []byte) bool {
	switch string(name) {
	case "name", "title", "version", "description", "websiteUrl":
		value, ok := m.in.Value()
		return ok && value[0] == '"'
	}
	return false
}

// suits reports whether the headers of a request are those of its message, so that there is nothing to say about them.
func (m *plainRequest) suits(h http.Header) bool {
	if h["Last-Event-Id"] != nil || !plainlyAccepts(h["Accept"]) {
		return false
	}
	if len(h["Mcp-Method"]) > 1 || len(h["Mcp-Name"]) > 1 {
		return false
	}
	version := h[headerVersion]
	switch {
	case len(version) != 1 || !slices.Contains(protocols, version[0]):
		return false
	case version[0] < protocols[0]:
		return m.version == nil
	}
	return string(m.version) == version[0] && m.capabilities && is(h["Mcp-Method"], m.method) && (m.tool == nil || is(h["Mcp-Name"], m.tool))
}

// modern reports whether a request that suits its headers is of a protocol without sessions.
func (m *plainRequest) modern() bool { return m.version != nil }

// is reports whether a header has one value, and which.
func is(values []string, want []byte) bool { return len(values) == 1 && values[0] == string(want) }

// plainlyAccepts knows what clients write to say that they take both forms of answers.
func plainlyAccepts(accept []string) bool {
	if len(accept) != 1 {
		return false
	}
	switch accept[0] {
	case "application/json, text/event-stream", "application/json,text/event-stream", "text/event-stream, application/json", "*/*":
		return true
	}
	return false
}

// idempotencyKey is the key that stands in the _meta, or notAKey when what stands there is none.
func (m *plainRequest) idempotencyKey() string {
	switch {
	case m.key == nil:
		return ""
	case m.key[0] != '"' || len(m.key) == 2:
		return notAKey
	}
	return string(m.key[1 : len(m.key)-1])
}
