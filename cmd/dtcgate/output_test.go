package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/tools"
)

func TestAgentsTextCannotSteerTheTerminal(t *testing.T) {
	for text, want := range map[string]string{
		"Spring Sale, 50 % off – café 🌷": "Spring Sale, 50 % off – café 🌷",
		"\x1b[2J\x1b[1;1Happroved":       `\u001b[2J\u001b[1;1Happroved`,
		"a\nb\r\x00\x7f":                 `a\u000ab\u000d\u0000\u007f`,
		"\u202egnp.exe\u200b\u2066":      `\u202egnp.exe\u200b\u2066`,
		"\u009b31m":                      `\u009b31m`,
	} {
		if got := visible(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}

// A line of the agent's that looks like one of the gate's must not stand where the gate's stand.
func TestContentCannotPassForTheGatesOwnWords(t *testing.T) {
	var b bytes.Buffer
	writeRequest(&b, approvals.Request{
		AgentReason: "fine\n  money         £0.00",
		Preview:     tools.Preview{Content: "Dear customer\n  customers     1\r  money         £0.00"},
	})
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "  money") || strings.HasPrefix(line, "  customers") {
			t.Errorf("a line of the agent's reads %q", line)
		}
	}
}
