package server

import (
	"net/http"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Lists of tools are long, and nearly all callers are shown one of a few. So each is written once, and kept under what is
// in it: who is shown which tools is asked of the gate for every request, and another policy or other scopes are another
// list.
type lists struct {
	mu    sync.Mutex
	bytes int
	ready map[listName][]byte
}

// A listName tells a list from all others.
type listName struct {
	tools  string // their names, in order
	modern bool   // for a protocol without sessions
}

// maxListBytes is how much is kept of lists, past which all are forgotten and written again.
const maxListBytes = 8 << 20

func (l *lists) find(name listName) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ready[name]
}

func (l *lists) keep(name listName, list []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if size := len(list) + len(name.tools); l.ready == nil || l.bytes+size > maxListBytes {
		l.ready, l.bytes = map[listName][]byte{}, 0
	}
	if _, kept := l.ready[name]; !kept {
		l.ready[name] = list
		l.bytes += len(list) + len(name.tools)
	}
}

// listsTools answers a tools/list for the one page that there is.
func (t *tooling) listsTools(w http.ResponseWriter, r *http.Request, m *plainRequest) bool {
	if m.tool != nil || m.args != nil || len(m.cursor) > 0 {
		return false
	}
	if !t.confirmed(w, r) {
		return true
	}
	v := visitOf(r.Context())
	v.speaks("tools/list")
	list, err := t.listSafely(r, v, m.modern())
	switch {
	case r.Context().Err() != nil:
	case err != nil:
		t.sendError(w, r, m, err)
	default:
		answer := borrow()
		*answer = append(append(appendBegin(*answer, m.id), `"result":`...), list...)
		*answer = append(*answer, '}')
		sendMessage(w, answer)
	}
	return true
}

func (t *tooling) listSafely(r *http.Request, v *visit, modern bool) (list []byte, err error) {
	defer t.recovered(&err)
	shown, err := t.visible(r.Context(), v)
	if err != nil {
		return nil, err
	}
	name := nameOf(shown, modern)
	if list = t.short.lists.find(name); list != nil {
		return list, nil
	}
	if list, err = t.writeList(shown, modern); err == nil {
		t.short.lists.keep(name, list)
	}
	return list, err
}

func nameOf(shown []*mcp.Tool, modern bool) listName {
	var names strings.Builder
	for _, tool := range shown {
		names.WriteString(tool.Name)
		names.WriteByte(' ')
	}
	return listName{names.String(), modern}
}

// writeList writes a list as the go-sdk does.
func (t *tooling) writeList(shown []*mcp.Tool, modern bool) ([]byte, error) {
	list := &mcp.ListToolsResult{Tools: shown}
	cacheable(&list.Cacheable)
	if modern {
		list.ResultType, list.Meta = "complete", mcp.Meta{mcp.MetaKeyServerInfo: t.self}
	}
	return unescaped(list)
}

// cacheable says for how long and for whom a list may be kept: it differs by key, and "public" is the go-sdk's default.
func cacheable(c *mcp.Cacheable) { c.TTLMs, c.CacheScope = listTime, "private" }
