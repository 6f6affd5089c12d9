package main

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/gate/policy/strict"
)

// A fileConfig is what `serve --config FILE` reads: settings that are lists of structures. Everything else is a flag.
type fileConfig struct {
	Issuers   []auth.Issuer    `yaml:"issuers"`
	Providers []vault.Provider `yaml:"providers"`
	SignIn    *signInConfig    `yaml:"sign_in"`
}

// readConfig reads a YAML file strictly (package strict): everything that is wrong with it is told with its line. No file, and one
// with nothing in it, set nothing.
func readConfig(path string) (fileConfig, error) {
	if path == "" {
		return fileConfig{}, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return fileConfig{}, fmt.Errorf("reading the settings (--config): %w", err)
	}
	return parseConfig(path, raw)
}

func parseConfig(path string, raw []byte) (fileConfig, error) {
	var c fileConfig
	problems := strict.Decode(raw, &c)
	if problems == nil {
		return c, nil
	}
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = path + ":" + p.Error()
	}
	return fileConfig{}, errors.New(strings.Join(lines, "\n"))
}

// issuers are those of the settings, or nil.
func (c *serve) issuers(settings fileConfig, log zerolog.Logger) (*auth.Issuers, error) {
	if len(settings.Issuers) == 0 {
		return nil, nil
	}
	if c.PublicURL == "" {
		return nil, fmt.Errorf("%s names issuers of tokens: say with --public-url https://… whom their tokens are for", c.Config)
	}
	all, err := auth.NewIssuers(c.PublicURL, settings.Issuers, func(err error) { log.Error().Err(err).Msg("issuers") })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Config, err)
	}
	return all, nil
}

// parsePublicURL checks the address under which the world reaches this server: https, and nothing after the host. On this
// machine alone http will do.
func parsePublicURL(text string) (string, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return "", fmt.Errorf("--public-url %q is not an address such as https://gate.example.com", text)
	case u.Scheme != "https" && (u.Scheme != "http" || !thisMachine(u.Hostname())):
		return "", fmt.Errorf("--public-url %q must be https: tokens are sent to it", text)
	case u.String() != u.Scheme+"://"+u.Host || strings.ContainsAny(text, "?#"):
		return "", fmt.Errorf("--public-url %q must end after the host: no user, path, query or slash, such as https://gate.example.com", text)
	}
	return u.String(), nil
}

// thisMachine reports whether a host name or address is of the machine that asks.
func thisMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
