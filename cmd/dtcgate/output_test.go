package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"

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

func TestJSONCannotSteerTheTerminalEither(t *testing.T) {
	text := "a\u009b31m\u202eb\u200b\U000e0041\x7f\x1b[2J é🌷\n"
	var b bytes.Buffer
	if err := writeJSON(&b, map[string]string{"text": text}); err != nil {
		t.Fatal(err)
	}
	var back map[string]string
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || back["text"] != text {
		t.Errorf("read back: %v %q", err, back)
	}
	if hidden := strings.IndexFunc(strings.ReplaceAll(b.String(), "\n", ""), func(r rune) bool { return !unicode.IsGraphic(r) }); hidden >= 0 {
		t.Errorf("printed: %q", b.String())
	}
}

func TestPeopleSeeWhatEachChangeIsOf(t *testing.T) {
	var b bytes.Buffer
	writeRequest(&b, approvals.Request{Preview: tools.Preview{Changes: []tools.Change{{Object: "SKU 85123A", Field: "price", From: "£1.00", To: "£2.00"}}}})
	if !strings.Contains(b.String(), "SKU 85123A, price: £1.00 -> £2.00") {
		t.Errorf("the screen reads\n%s", b.String())
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
