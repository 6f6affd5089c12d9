package server

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What is plain must pass the check of all messages, and the go-sdk must read the same out of it.
func FuzzFastPath(f *testing.F) {
	for _, raw := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":[1,2],"b":{"c":"\u00e9"}}}}`,
		`{"jsonrpc":"2.0","id":"x<","method":"tools/call","params":{"_meta":{"dtcgate/idempotencyKey":"k","progressToken":7},"name":"t"}}`,
		`{"jsonrpc":"2.0","id":-5,"method":"tools/list","params":{"cursor":"","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
			`"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}},"roots":{"listChanged":true},"elicitation":{"form":{},"url":{}},"sampling":{}},` +
			`"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"}}}}`,
		`{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"t","Name":"u"}}`,
		`{"jsonrpc":"2.0","id":-0,"method":"tools/list"}`,
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var m plainRequest
		if !readPlain(&m, raw) || string(m.method) != "tools/call" && string(m.method) != "tools/list" {
			return
		}
		if string(m.method) == "tools/call" && len(m.tool) == 0 {
			return // no tool has that name
		}
		if f := checkMessage(raw); f != nil {
			t.Fatalf("%q is plain and refused: %s", raw, f.text)
		}
		sameCall(t, raw, &m)
	})
}

func sameCall(t *testing.T, raw []byte, m *plainRequest) {
	message, err := jsonrpc.DecodeMessage(raw)
	r, ok := message.(*jsonrpc.Request)
	if err != nil || !ok {
		t.Fatalf("%q is plain and the go-sdk cannot read it: %v", raw, err)
	}
	answer, err := jsonrpc.EncodeMessage(&jsonrpc.Response{ID: r.ID, Result: json.RawMessage("{}")})
	if want := append(appendBegin(nil, m.id), `"result":{}}`...); err != nil || !bytes.Equal(answer, want) {
		t.Errorf("%q is answered %s and by the go-sdk %s: %v", raw, want, answer, err)
	}
	var p mcp.CallToolParamsRaw
	if len(r.Params) > 0 {
		if err := json.Unmarshal(r.Params, &p); err != nil {
			t.Fatalf("%q is plain and its params cannot be read: %v", raw, err)
		}
	}
	if p.Name != string(m.tool) || !bytes.Equal(p.Arguments, m.args) || r.Method != string(m.method) {
		t.Errorf("%q is read as %q of %q with %s", raw, r.Method, p.Name, p.Arguments)
	}
	call := asked(&mcp.CallToolRequest{Params: &p})
	if version, _ := p.Meta[mcp.MetaKeyProtocolVersion].(string); version != string(m.version) || call.IdempotencyKey != m.idempotencyKey() {
		t.Errorf("%q is read as of %q with the key %q", raw, version, call.IdempotencyKey)
	}
	if m.modern() && declaresTasks(p.Meta) != (m.tasks && string(m.version) >= protocols[0]) {
		t.Errorf("%q declares tasks: %t", raw, m.tasks)
	}
	sameCapabilities(t, raw, m, p.Meta)
}

// sameCapabilities holds what is taken for capabilities to the type that the go-sdk reads them with.
func sameCapabilities(t *testing.T, raw []byte, m *plainRequest, meta mcp.Meta) {
	var c mcp.ClientCapabilities
	var i mcp.Implementation
	capabilities, told := meta[mcp.MetaKeyClientCapabilities]
	if told != m.capabilities || remade(capabilities, &c) != nil || remade(meta[mcp.MetaKeyClientInfo], &i) != nil {
		t.Errorf("%q is plain, and its capabilities %v are not read", raw, capabilities)
	}
}

func remade(from, to any) error {
	raw, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(raw, to)
	}
	return err
}
