package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/schemas"
)

// A shortcut answers plain requests without the go-sdk, which allocates half a megabyte for each: its JSON decoder has a
// buffer of 32 KB, and one is made for every part of a message. It only takes what it knows to be answered alike on both
// ways, byte for byte, and leaves all else as it came; a test compares the two.
type shortcut struct {
	open bool
	self []byte // who we are, as the results of protocols without sessions say it
	// mirrored are the tools some of whose arguments a client repeats in headers, which the go-sdk compares.
	mirrored map[string]bool
	lists    lists
}

func newShortcut(t *tooling, open bool) *shortcut {
	self, err := unescaped(t.self)
	if err != nil {
		panic(err) // it is made of our own texts
	}
	s := &shortcut{open: open, self: self, mirrored: map[string]bool{}}
	for name, tool := range t.listed {
		schema, _ := tool.InputSchema.(json.RawMessage)
		s.mirrored[name] = bytes.Contains(schema, []byte("x-mcp-header"))
	}
	return s
}

// answers answers a message that is a plain request for something that is asked often, and reports whether it did.
func (t *tooling) answers(w http.ResponseWriter, r *http.Request, raw []byte) bool {
	var m plainRequest
	if !t.short.open || !readPlain(&m, raw) || !m.suits(r.Header) {
		return false
	}
	switch string(m.method) {
	case "tools/call":
		return t.calls(w, r, &m)
	case "tools/list":
		return t.listsTools(w, r, &m)
	}
	return false
}

// calls answers a tools/call of a tool that there is.
func (t *tooling) calls(w http.ResponseWriter, r *http.Request, m *plainRequest) bool {
	tool, known := t.tools.Find(string(m.tool))
	if !known || m.cursor != nil || m.modern() && t.short.mirrored[tool.Name] {
		return false
	}
	v := visitOf(r.Context())
	v.speaks("tools/call")
	q := gate.Request{Tool: tool.Name, Args: m.args, Transport: "mcp", IdempotencyKey: m.idempotencyKey(), Trace: string(m.trace)}
	d, err := t.decideSafely(v, q, m.tasks && m.modern())
	refusal := v.refusal()
	switch {
	case r.Context().Err() != nil: // the client has gone, and is logged as gone
	case err != nil:
		t.sendError(w, r, m, err)
	case refusal != nil:
		t.refuse(w, r, refusal)
	case d.task != nil:
		t.sendTask(w, r, m, d.task)
	default:
		answer := borrow()
		*answer = t.appendDecided(appendBegin(*answer, m.id), d, m.modern())
		sendMessage(w, answer)
	}
	return true
}

func (t *tooling) decideSafely(v *visit, q gate.Request, tasks bool) (d decided, err error) {
	defer t.recovered(&err)
	return t.decide(v, q, tasks), nil
}

// appendBegin begins an answer, up to its result or error.
func appendBegin(dst, id []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	return append(append(dst, id...), ',')
}

// appendDecided writes the result of a call, and ends the answer.
func (t *tooling) appendDecided(dst []byte, d decided, modern bool) []byte {
	dst = schemas.AppendQuoted(append(dst, `"result":{"_meta":{"`+metaCallID+`":`...), d.callID)
	if d.replayed {
		dst = append(dst, `,"`+metaReplayed+`":true`...)
	}
	if modern {
		dst = append(append(dst, `,"`+mcp.MetaKeyServerInfo+`":`...), t.short.self...)
	}
	dst = schemas.AppendQuoted(append(dst, `},"content":[{"type":"text","text":`...), d.text)
	dst = append(dst, `}],"structuredContent":`...)
	if d.body == nil {
		dst = append(dst, "null"...)
	} else {
		dst = schemas.AppendCompact(dst, d.body)
	}
	if d.refused {
		dst = append(dst, `,"isError":true`...)
	}
	if modern {
		dst = append(dst, `,"resultType":"complete"`...)
	}
	return append(dst, "}}"...)
}

// sendTask answers a call that became a task. That is for clients without sessions, so that it says who we are.
func (t *tooling) sendTask(w http.ResponseWriter, r *http.Request, m *plainRequest, k *task) {
	k.Meta[mcp.MetaKeyServerInfo] = t.self
	t.sendOther(w, r, m, "result", k)
}

func (t *tooling) sendError(w http.ResponseWriter, r *http.Request, m *plainRequest, failed error) {
	t.sendOther(w, r, m, "error", failed)
}

// sendOther answers with what is rare enough for encoding/json.
func (t *tooling) sendOther(w http.ResponseWriter, r *http.Request, m *plainRequest, member string, value any) {
	text, err := unescaped(value)
	if err != nil {
		t.refuse(w, r, err)
		return
	}
	answer := borrow()
	*answer = append(append(append(appendBegin(*answer, m.id), '"'), member...), `":`...)
	*answer = append(append(*answer, text...), '}')
	sendMessage(w, answer)
}

// unescaped is JSON in which <, > and & stand for themselves, as the go-sdk writes what is not the result of a tool.
func unescaped(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// Buffers of answers are used again. A large one is not kept, or each would be as large as the largest answer ever was.
const maxKept = 64 << 10

var buffers = sync.Pool{New: func() any { return new([]byte) }}

func borrow() *[]byte { return buffers.Get().(*[]byte) }

func giveBack(b *[]byte) {
	if cap(*b) <= maxKept {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}

// Values of headers that are always the same. net/http only reads them.
var (
	jsonOnly   = []string{"application/json"}
	notToCache = []string{"no-cache, no-transform"}
	notToStore = []string{"no-store"}
	notToGuess = []string{"nosniff"}
)

// countedBytes is up to where net/http finds out the length of an answer itself.
const countedBytes = 2048

// sendMessage sends an answer with the headers that the go-sdk gives one, and gives its buffer back.
func sendMessage(w http.ResponseWriter, answer *[]byte) {
	h := w.Header()
	h["Cache-Control"], h["Content-Type"] = notToCache, jsonOnly
	tellLength(h, len(*answer))
	_, _ = w.Write(*answer) // a caller that has gone is told nothing
	giveBack(answer)
}

// tellLength tells how long an answer is where it would go out in chunks otherwise.
func tellLength(h http.Header, n int) {
	if n > countedBytes {
		h["Content-Length"] = []string{strconv.Itoa(n)}
	}
}
