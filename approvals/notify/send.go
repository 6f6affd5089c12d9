package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/auth"
)

// Limits of one message.
const (
	sendTime   = 15 * time.Second // for all of it
	maxHeaders = 32 << 10         // bytes of an answer
	maxAnswer  = 4 << 10          // bytes that are read of an answer's body, so that the connection can be used again
)

// clients send: one to addresses under https, one to those under http.
type clients struct{ secure, plain *http.Client }

// newClients lets https go to public addresses and to the operator's networks, http to the latter only.
func newClients(networks auth.Networks) clients {
	inside := func(a netip.Addr) bool { return networks.Contain(a.Unmap()) }
	return clients{
		secure: newClient(func(a netip.Addr) bool { return auth.Public(a) || inside(a) }),
		plain:  newClient(inside),
	}
}

// newClient makes a client that connects to addresses that allow accepts. Redirects are answers like any other; proxies of the environment
// are not used, since they would dial for us and unchecked.
func newClient(allow func(netip.Addr) bool) *http.Client {
	return &http.Client{
		Timeout:       sendTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: nil, DialContext: auth.Dialer(allow).DialContext, TLSHandshakeTimeout: sendTime / 3, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: maxHeaders, MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		},
	}
}

func (c clients) of(address string) *http.Client {
	if strings.HasPrefix(address, "https:") {
		return c.secure
	}
	return c.plain
}

// An answer is what came of one attempt.
type answer struct {
	status     int           // of HTTP; 0: there was no answer
	problem    string        // a code of ours; "": it was taken
	retryAfter time.Duration // before that the endpoint does not want to be asked again
}

func (a answer) ok() bool   { return a.problem == "" }
func (a answer) gone() bool { return a.status == http.StatusGone }

// send makes one attempt at a message.
func (w *Webhooks) send(ctx context.Context, m message) answer {
	if m.problem != "" {
		return answer{problem: m.problem}
	}
	r, err := w.request(ctx, m)
	if err != nil {
		return answer{problem: "internal"}
	}
	resp, err := w.clients.of(m.endpoint.URL).Do(r)
	if err != nil {
		return answer{problem: problemOf(err)}
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	return answer{status: resp.StatusCode, problem: problemIn(resp.StatusCode), retryAfter: retryAfter(resp.Header, w.DB.Now())}
}

func (w *Webhooks) request(ctx context.Context, m message) (*http.Request, error) {
	now := w.DB.Now()
	signed, err := m.secrets.sign(m.id, now, m.body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.endpoint.URL, bytes.NewReader(m.body))
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "dtcgate-webhooks")
	r.Header.Set(headerID, m.id)
	r.Header.Set(headerTimestamp, unix(now))
	r.Header.Set(headerSignature, signed)
	return r, nil
}

// problemIn is what is wrong with a status as the answer to a message.
func problemIn(status int) string {
	switch {
	case status >= 200 && status < 300:
		return ""
	case status >= 300 && status < 400:
		return "redirect"
	case status == http.StatusGone:
		return gone
	}
	return "status"
}

// problemOf is an error of sending as it may be stored: no text of the other side.
func problemOf(err error) string {
	var late interface{ Timeout() bool }
	switch {
	case errors.Is(err, auth.ErrNotPublic):
		return "not_public"
	case errors.As(err, &late) && late.Timeout():
		return "timeout"
	}
	return "unreachable"
}
