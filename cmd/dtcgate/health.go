package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// health is what a container asks of itself: there is no shell in it, nor anything else.
type health struct {
	Listen string `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"The address that serve was told to serve on."`
}

func (c *health) Run(ctx context.Context, a *app) error {
	if err := probe(ctx, c.Listen, "/readyz"); err != nil {
		return err
	}
	fmt.Fprintln(a.out, "ready")
	return nil
}

// askTime is how long a server may take to say how it is.
const askTime = 3 * time.Second

// probe asks the server at an address of serve's --listen. One that serves on all addresses is asked on this machine's own.
func probe(ctx context.Context, listen, path string) error {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	client := http.Client{Timeout: askTime, Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: askTime}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+path, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("no server answers: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusForbidden {
		return errors.New("the server does not answer this address: let it serve on a loopback address or on all, or name this machine's in --agent-networks")
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the server is not ready: %s says %d", path, answer.StatusCode)
	}
	return nil
}
