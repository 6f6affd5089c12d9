package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dtcgate/dtcgate/tools"
)

// A party is who calls: an agent's key or a person.
type party struct {
	ID       string `json:"id"`
	Merchant string `json:"merchant_id"`
	Name     string `json:"name"`
	Secret   string `json:"secret"` // of a key
	Token    string `json:"token"`  // of a person
}

// A call is one thing that was asked of the server, and what it answered.
type call struct {
	who   *party
	tool  string
	path  string         // of REST; empty: the call goes by MCP
	verb  string         // of REST, where it is not POST
	args  map[string]any // the body of a vote
	key   string         // idempotency key; what the call makes carries it as its name, code or reason. Reads have none
	about string         // the job of what a person does

	careless bool // it names no hash, or a wrong one, or no reason
	late     bool // its key was revoked, and that acknowledged, before it was sent

	answered bool
	id       string // call_…, as answered
	code     string // of a refusal
	body     json.RawMessage
	replayed bool
}

// person reports whether it is an act of a person.
func (c *call) person() bool { return c.who.Token != "" }

// ok reports whether the server said that it did what was asked.
func (c *call) ok() bool { return c.answered && c.code == "" }

// result reads the answer of a write.
func (c *call) result() (r tools.Result) {
	_ = json.Unmarshal(c.body, &r) // what cannot be read is empty, and missed by whoever looks for it
	return r
}

// again is the same call, not yet answered.
func (c *call) again() *call {
	return &call{who: c.who, tool: c.tool, path: c.path, verb: c.verb, args: c.args, key: c.key, about: c.about}
}

func (c *call) String() string {
	said := "unanswered"
	if c.answered {
		said = "answered " + c.code + string(c.body)
	}
	return fmt.Sprintf("%s of %s, key %q %s, %s", c.tool, c.who.Name, c.key, c.about, said)
}

// A ledger is all that was asked, in the order of asking, and what waits for people.
type ledger struct {
	mu     sync.Mutex
	calls  []*call
	told   []*call // the calls that were answered, in the order of the answers
	keys   []*mintedKey
	parked []tools.Result
	doubts []openDoubt
	wrong  []string // answers that are wrong by themselves
}

func (l *ledger) add(c *call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
}

func (l *ledger) complain(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// A wire leads to one server process.
type wire struct {
	base   string
	client *http.Client
	dying  atomic.Bool // from just before a signal is sent: from now on calls may go unanswered
	once   sync.Once
	works  chan struct{} // closed when the first call is answered
}

func newWire(base string) *wire {
	return &wire{
		base: base, works: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: 30 * time.Second},
	}
}

// send makes the call and notes what came back. An error means that no answer came. What is refused before it reaches MCP comes as over REST.
func (w *wire) send(c *call) error {
	answer, raw, err := w.exchange(c)
	if err != nil {
		return err
	}
	if c.path == "" && answer.StatusCode < 300 {
		return c.readMCP(raw)
	}
	return c.readREST(answer, raw)
}

// exchange makes the call and gives the answer with its whole body.
func (w *wire) exchange(c *call) (*http.Response, []byte, error) {
	r, err := c.request(w.base)
	if err != nil {
		return nil, nil, err
	}
	answer, err := w.client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	return answer, raw, err
}

func (c *call) request(base string) (*http.Request, error) {
	path, args := c.path, any(c.args)
	if path == "" {
		path, args = "/mcp", c.message()
	}
	body, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(cmp.Or(c.verb, http.MethodPost), base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.who.Secret+c.who.Token)
	r.Header.Set("Content-Type", "application/json")
	if c.path == "" {
		r.Header.Set("Accept", "application/json, text/event-stream")
		r.Header.Set("Mcp-Protocol-Version", "2025-11-25")
	} else if c.key != "" {
		r.Header.Set("Idempotency-Key", c.key)
	}
	return r, nil
}

// message is the call as JSON-RPC.
func (c *call) message() any {
	params := map[string]any{"name": c.tool, "arguments": c.args}
	if c.key != "" {
		params["_meta"] = map[string]any{"dtcgate/idempotencyKey": c.key}
	}
	return map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
}

func (c *call) readREST(answer *http.Response, raw []byte) error {
	c.id, c.body = answer.Header.Get("X-Call-Id"), raw
	c.replayed = answer.Header.Get("Idempotent-Replayed") != ""
	if answer.StatusCode >= 300 {
		return c.refused(raw)
	}
	c.answered = true
	return nil
}

func (c *call) readMCP(raw []byte) error {
	var m struct {
		Result struct {
			Body    json.RawMessage `json:"structuredContent"`
			IsError bool            `json:"isError"`
			Meta    struct {
				CallID   string `json:"dtcgate/callId"`
				Replayed bool   `json:"dtcgate/replayed"`
			} `json:"_meta"`
		} `json:"result"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return fmt.Errorf("%w: %s", err, raw)
	}
	c.id, c.body, c.replayed = m.Result.Meta.CallID, m.Result.Body, m.Result.Meta.Replayed
	if m.Result.IsError {
		return c.refused(m.Result.Body)
	}
	if c.body == nil {
		return fmt.Errorf("an answer without a result: %s", raw)
	}
	c.answered = true
	return nil
}

func (c *call) refused(raw []byte) error {
	var r tools.Refusal
	if err := json.Unmarshal(raw, &r); err != nil || r.Code == "" {
		return fmt.Errorf("a refusal without a code: %s", raw)
	}
	c.code, c.answered = string(r.Code), true
	return nil
}
