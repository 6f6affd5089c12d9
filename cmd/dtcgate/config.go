package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"go.yaml.in/yaml/v4"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/vault"
)

// A fileConfig is what `serve --config FILE` reads: settings that are lists of structures. Everything else is a flag.
type fileConfig struct {
	Issuers   []auth.Issuer    `yaml:"issuers"`
	Providers []vault.Provider `yaml:"providers"`
	SignIn    *signInConfig    `yaml:"sign_in"`
}

// maxConfig bounds the file, in bytes.
const maxConfig = 1 << 20

// readConfig reads a YAML file strictly: a setting that does not exist, one that is there twice and a value of the wrong
// kind are refused with the line they stand in. No file, and one with nothing in it, set nothing.
func readConfig(path string) (fileConfig, error) {
	if path == "" {
		return fileConfig{}, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return fileConfig{}, fmt.Errorf("reading the settings (--config): %w", err)
	}
	if len(raw) > maxConfig {
		return fileConfig{}, fmt.Errorf("%s is %d bytes long; %d are allowed", path, len(raw), maxConfig)
	}
	return parseConfig(path, raw)
}

func parseConfig(path string, raw []byte) (fileConfig, error) {
	var c fileConfig
	file := yaml.NewDecoder(bytes.NewReader(raw))
	file.KnownFields(true)
	if err := file.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return fileConfig{}, located(path, err)
	}
	if err := file.Decode(new(any)); !errors.Is(err, io.EOF) {
		return fileConfig{}, fmt.Errorf("%s holds more than one YAML document; write one, without ---", path)
	}
	return c, nil
}

// located says where in the file a fault is, one line each, in the form that editors follow.
func located(path string, err error) error {
	var several *yaml.LoadErrors
	var one *yaml.LoadError
	switch {
	case errors.As(err, &several):
	case errors.As(err, &one):
		several = &yaml.LoadErrors{Errors: []*yaml.LoadError{one}}
	default:
		return fmt.Errorf("%s: %w", path, err)
	}
	var lines []string
	for _, e := range several.Errors {
		what, _, unknown := strings.Cut(e.Message, " not found in type ")
		if unknown {
			what = "there is no setting " + strings.TrimPrefix(what, "field ") + " here"
		}
		lines = append(lines, fmt.Sprintf("%s:%d: %s", path, e.Mark.Line, what))
	}
	return errors.New(strings.Join(lines, "\n"))
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
