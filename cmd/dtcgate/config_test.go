package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/gate/policy/strict"
)

func TestSettingsAreReadStrictlyAndFaultsAreNamedWithTheirLine(t *testing.T) {
	for text, want := range map[string]string{
		"issuer: []\n":                              "gate.yaml:1:1: issuer: there is no field issuer here",
		"issuers:\n- name: a\n  jwks: x\n":          "gate.yaml:3:3: issuers[0].jwks: there is no field jwks here",
		"issuers:\n- name: a\n  name: b\n":          "gate.yaml:3:",
		"issuers: []\nissuers: []\n":                "gate.yaml:2:",
		"issuers:\n- leeway: soon\n":                "gate.yaml:2:",
		"issuers:\n- leeway: 30\n":                  "gate.yaml:2:",
		"issuers:\n- audiences: https://a/mcp\n":    "gate.yaml:2:",
		"issuers:\n- name: [a]\n":                   "gate.yaml:2:",
		"issuers:\n- claims: {merchant: a, sub: b}": "gate.yaml:2:25: issuers[0].claims.sub: there is no field sub here",
		"- 1\n":                                      "gate.yaml:1:",
		"issuers: [\n":                               "gate.yaml:2:",
		"issuers: []\n---\nissuers: []\n":            "second document",
		"issuers:\n- nme: a\n- leeway: 3\n":          "gate.yaml:3:",
		"issuers:\n- name: a\n\tissuer: b\n":         "gate.yaml:3:",
		strings.Repeat("a: &a [*a]\n", 1):            "gate.yaml:1:",
		"issuers:\n- !!python/object:os.system x: y": "gate.yaml:2:",
	} {
		_, err := parseConfig("gate.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "auth.Issuer") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestSettingsMayBeEmpty(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing\n", "null\n", "issuers: []\n", "issuers:\n"} {
		if c, err := parseConfig("gate.yaml", []byte(text)); err != nil || len(c.Issuers) != 0 {
			t.Errorf("%q: %+v, %v", text, c, err)
		}
	}
	if c, err := readConfig(""); err != nil || len(c.Issuers) != 0 {
		t.Errorf("no file: %+v, %v", c, err)
	}
}

func TestSettingsHoldWhatTheFileSays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gate.yaml")
	text := "issuers:\n- name: sso\n  leeway: 1m30s\n  audiences: [https://a/mcp]\n  claims: {merchant: org}\n  required_claims: {env: prod}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := readConfig(path)
	if err != nil || len(c.Issuers) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	i := c.Issuers[0]
	if i.Name != "sso" || i.Leeway != 90*time.Second || i.Audiences[0] != "https://a/mcp" || i.Claims.Merchant != "org" || i.Require["env"] != "prod" {
		t.Errorf("read %+v", i)
	}
	if _, err := readConfig(path + ".none"); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := os.WriteFile(path, make([]byte, strict.MaxSize+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readConfig(path); err == nil || !strings.Contains(err.Error(), "allowed") {
		t.Errorf("a file without end: %v", err)
	}
}

func TestThePublicAddressIsHTTPSAndNothingMore(t *testing.T) {
	for _, ok := range []string{"https://gate.example.com", "https://gate.example.com:8443", "http://localhost:8080", "http://127.0.0.1", "http://[::1]:80"} {
		if got, err := parsePublicURL(ok); err != nil || got != ok {
			t.Errorf("%s: %s, %v", ok, got, err)
		}
	}
	for _, wrong := range []string{
		"http://gate.example.com", "gate.example.com", "https://", "https://:443", "https://gate.example.com/", "https://gate.example.com/mcp",
		"https://gate.example.com?", "https://gate.example.com?a=b", "https://gate.example.com#", "https://gate.example.com#f", "https://me@gate.example.com",
		"ftp://gate.example.com", "javascript:alert(1)", "//gate.example.com", "http://localhost.example.com", "http://10.0.0.1", "https://gate.example.com\n",
	} {
		if got, err := parsePublicURL(wrong); err == nil {
			t.Errorf("%q was taken for %q", wrong, got)
		}
	}
}
