package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dtcgate/dtcgate/auth/authtest"
)

// cmdIssuer is issuer FILE MERCHANT SCOPES: a token service that runs beside the script. It writes the settings that trust
// it to FILE and sets $TOKEN.
func cmdIssuer(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		from := authtest.NewIssuer(t)
		settings := fmt.Sprintf("issuers:\n- name: test\n  issuer: %s\n  jwks_url: %s\n  merchant: %s\n  scopes: ['*:read']\n", from.URL, from.KeysURL(), args[1])
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(settings), 0o600))
		ts.Setenv("TOKEN", from.Token(t, time.Now(), map[string]any{"scope": args[2]}))
	}
}
