package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/auth"
)

// A signInConfig is the identity provider at which people sign in (OpenID Connect).
type signInConfig struct {
	Issuer       string   `yaml:"issuer"`             // as it stands in its tokens
	ClientID     string   `yaml:"client_id"`          // what it calls this server
	SecretEnv    string   `yaml:"client_secret_env"`  // the environment variable with the client's secret; none: a public client
	SecretFile   string   `yaml:"client_secret_file"` // the file with it
	EmailDomains []string `yaml:"email_domains"`      // of verified addresses by which people are found on first sign-in
}

// maxSecret bounds a client's secret, in bytes.
const maxSecret = 4 << 10

// provider makes the identity provider of a configuration; none gives nil.
func (c *signInConfig) provider(now func() time.Time) (*auth.OIDC, error) {
	if c == nil {
		return nil, nil
	}
	secret, err := c.secret()
	if err != nil {
		return nil, fmt.Errorf("sign_in: %w", err)
	}
	return auth.NewOIDC(auth.OIDCConfig{Issuer: c.Issuer, ClientID: c.ClientID, ClientSecret: secret, Domains: c.EmailDomains}, now)
}

func (c *signInConfig) secret() (string, error) {
	switch {
	case c.SecretEnv != "" && c.SecretFile != "":
		return "", errors.New("name client_secret_env or client_secret_file, not both")
	case c.SecretEnv != "":
		secret := os.Getenv(c.SecretEnv)
		if secret == "" {
			return "", fmt.Errorf("the environment variable %s (client_secret_env) is empty", c.SecretEnv)
		}
		return secret, nil
	case c.SecretFile != "":
		return readSecret(c.SecretFile)
	}
	return "", nil
}

func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("client_secret_file: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	secret := strings.TrimRight(string(raw), "\r\n")
	if err == nil && (secret == "" || len(raw) > maxSecret) {
		err = fmt.Errorf("it must hold the secret alone, 1 to %d bytes", maxSecret)
	}
	if err != nil {
		return "", fmt.Errorf("client_secret_file: %w", err)
	}
	return secret, nil
}

// onThisMachine gives the address of a server on a loopback address by the name under which browsers have passkeys: an IP address has none.
func onThisMachine(base string) string {
	u, err := url.Parse(base)
	if err != nil || !thisMachine(u.Hostname()) {
		return base
	}
	u.Host = net.JoinHostPort("localhost", u.Port())
	return u.String()
}
