package server

import (
	"encoding/json"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// What checkMessage lets through, the go-sdk must read as the same message: same id, same method, same params.
func FuzzMessagesAreReadAlike(f *testing.F) {
	for _, raw := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":[1,2]}}}`,
		`{"jsonrpc":"2.0","id":"x","method":"tools/list"}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		`{"jsonrpc":"2.0","id":1,"result":{}}`,
		`{"jsonrpc":"2.0","id":1.5,"method":"ping"}`,
		`{"jsonrpc":"2.0","id":-0,"method":"ping","Method":"x"}`,
		`{"jsonrpc":"2.0","id":9007199254740991,"method":"ping","params":{"_meta":{}}}`,
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if checkMessage(raw) != nil {
			return
		}
		var want struct {
			ID     any             `json:"id"`
			Method string          `json:"method"`
			Params json.RawMessage `json:"params"`
		}
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatalf("%q is let through and is no JSON: %v", raw, err)
		}
		m, err := jsonrpc.DecodeMessage(raw)
		if err != nil {
			t.Fatalf("%q is let through and the go-sdk cannot read it: %v", raw, err)
		}
		r, ok := m.(*jsonrpc.Request)
		if !ok {
			return // an answer, which is dropped
		}
		if n, ok := want.ID.(float64); ok {
			want.ID = int64(n)
		}
		if r.ID.Raw() != want.ID || r.Method != want.Method || string(r.Params) != string(want.Params) {
			t.Errorf("%q is read as id %v, method %q, params %s", raw, r.ID.Raw(), r.Method, r.Params)
		}
	})
}
