package notify

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// What other senders of signed messages share with webhooks.

// Client makes a client for addresses that allow accepts, with the limits of webhooks.
func Client(allow func(netip.Addr) bool) *http.Client { return newClient(allow) }

// RetryAfter is for how long an answer asks not to be asked again, 0 when it does not.
func RetryAfter(h http.Header, now time.Time) time.Duration { return retryAfter(h, now) }

// Problem is an error of sending as it may be stored: no text of the other side.
func Problem(err error) string { return problemOf(err) }

// Sign puts on a request what Standard Webhooks has a receiver check: id, time and signature of its body.
func Sign(r *http.Request, secret, id string, at time.Time, body []byte) error {
	signed, err := signature(secret, id, at, body)
	if err != nil {
		return err
	}
	r.Header.Set(headerID, id)
	r.Header.Set(headerTimestamp, unix(at))
	r.Header.Set(headerSignature, signed)
	return nil
}

// CheckSecret checks a secret that an operator brings: whsec_ and 24 to 64 bytes in base64, as the standard has it.
func CheckSecret(text string) error {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, secretPrefix))
	if err != nil || !strings.HasPrefix(text, secretPrefix) || len(raw) < 24 || len(raw) > 64 {
		return errors.New("it must be whsec_ and 24 to 64 bytes in base64; make one with: echo whsec_$(openssl rand -base64 32)")
	}
	return nil
}
