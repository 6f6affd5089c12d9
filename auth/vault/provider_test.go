package vault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestProvidersThatAreWrongAreRefusedAtTheStart(t *testing.T) {
	t.Setenv("VAULT_TEST_SECRET", planted)
	t.Setenv("VAULT_TEST_EMPTY", "")
	good := func() Provider {
		return Provider{
			Name: "acme", AuthorizeURL: "https://acme.example/authorize", TokenURL: "https://acme.example/token",
			ClientID: "c", ClientSecretEnv: "VAULT_TEST_SECRET", Auth: "basic",
		}
	}
	if _, err := New(Config{Providers: []Provider{good()}}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(planted+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Provider)
		want   string // "": it is fine
	}{
		"no name":                      {func(p *Provider) { p.Name = "" }, "name"},
		"a name that is a path":        {func(p *Provider) { p.Name = "../callback" }, "name"},
		"a title with a line end":      {func(p *Provider) { p.Title = "a\nb" }, "title"},
		"no client":                    {func(p *Provider) { p.ClientID = "" }, "client_id"},
		"no way to authenticate":       {func(p *Provider) { p.Auth = "" }, "auth"},
		"another way":                  {func(p *Provider) { p.Auth = "query" }, "auth"},
		"no token address":             {func(p *Provider) { p.TokenURL = "" }, "token_url"},
		"http":                         {func(p *Provider) { p.TokenURL = "http://acme.example/token" }, "https"},
		"javascript (T7)":              {func(p *Provider) { p.AuthorizeURL = "javascript:alert(1)" }, "authorize_url"},
		"data (T7)":                    {func(p *Provider) { p.AuthorizeURL = "data:text/html,x" }, "authorize_url"},
		"file (T63)":                   {func(p *Provider) { p.TokenURL = "file:///etc/passwd" }, "token_url"},
		"a user in the address (T62)":  {func(p *Provider) { p.TokenURL = "https://user:pw@acme.example/" }, "token_url"},
		"a fragment":                   {func(p *Provider) { p.RevokeURL = "https://acme.example/#x" }, "revoke_url"},
		"loopback, not allowed":        {func(p *Provider) { p.TokenURL = "https://127.0.0.1/token" }, "allow_private"},
		"private":                      {func(p *Provider) { p.TokenURL = "https://10.0.0.1/t" }, "public"},
		"allowed, not loopback":        {func(p *Provider) { p.AllowPrivate = true }, "allow_private"},
		"allowed, a name":              {func(p *Provider) { p.AllowPrivate = true; p.AuthorizeURL = "http://localhost/t" }, "allow_private"},
		"allowed, private":             {func(p *Provider) { p.AllowPrivate = true; p.AuthorizeURL = "http://10.0.0.1/t" }, "https"},
		"allowed, mapped":              {func(p *Provider) { p.AllowPrivate = true; p.AuthorizeURL = "http://[::ffff:127.0.0.1]/t" }, "https"},
		"a scope with a space":         {func(p *Provider) { p.Scopes = []string{"a b"} }, "scope"},
		"state set by configuration":   {func(p *Provider) { p.AuthorizeParams = map[string]string{"state": "x"} }, "authorize_params"},
		"PKCE off by configuration":    {func(p *Provider) { p.AuthorizeParams = map[string]string{"code_challenge_method": "plain"} }, "authorize_params"},
		"a resource with a fragment":   {func(p *Provider) { p.Resource = "https://api.example/#x" }, "resource"},
		"a resource that is none":      {func(p *Provider) { p.Resource = "api" }, "resource"},
		"no secret":                    {func(p *Provider) { p.ClientSecretEnv = "" }, "client_secret"},
		"two secrets":                  {func(p *Provider) { p.ClientSecretFile = file }, "client_secret"},
		"an empty secret":              {func(p *Provider) { p.ClientSecretEnv = "VAULT_TEST_EMPTY" }, "empty"},
		"a secret for a public client": {func(p *Provider) { p.Auth = "none" }, "auth: none"},
		"a file that is not there":     {func(p *Provider) { p.ClientSecretEnv, p.ClientSecretFile = "", file+"x" }, "client secret"},
		"renewed ages ahead":           {func(p *Provider) { p.RefreshAhead = 2 * maxAhead }, "refresh_ahead"},
		"a secret in a file":           {func(p *Provider) { p.ClientSecretEnv, p.ClientSecretFile = "", file }, ""},
		"a public client":              {func(p *Provider) { p.ClientSecretEnv, p.Auth = "", "none" }, ""},
	} {
		p := good()
		c.change(&p)
		_, err := New(Config{Providers: []Provider{p}})
		if (c.want == "") != (err == nil) || (err != nil && (!strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), planted))) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(Config{Providers: []Provider{good(), good()}}); err == nil {
		t.Error("two of one name")
	}
}
