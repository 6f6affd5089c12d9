package vault

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/oauth2"

	"github.com/dtcgate/dtcgate/auth"
)

// A Failure is why a provider gave no tokens, in a word of a closed list. Nothing a provider wrote gets any further.
type Failure struct {
	Code  string
	After time.Duration // how long the provider asked us to wait; 0: it did not say
}

func (f *Failure) Error() string { return "the provider gave no token: " + f.Code }

// Codes of failures beside those that RFC 6749 names.
const (
	failAddress  = "refused_address" // the provider's name leads to an address that is not asked
	failTimeout  = "timeout"
	failReach    = "unreachable"
	failServer   = "server_error" // 5xx
	failLimited  = "rate_limited" // 429
	failRefused  = "refused"      // any other answer that is not a success, redirects among them
	failAnswer   = "malformed_answer"
	failSealed   = "does_not_open"
	failProvider = "not_configured"
	failGrant    = "invalid_grant"    // ends a connection
	failEnded    = "no_refresh_token" // and so does the end of an access token that was all there is
)

// rfcCodes are the errors of token endpoints (RFC 6749, section 5.2; RFC 8707, section 2).
var rfcCodes = []string{
	"invalid_request", "invalid_client", failGrant, "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_target",
}

// failure reads an error of x/oauth2 or net/http, whose texts hold the provider's and are dropped here.
func failure(err error) *Failure {
	var own *Failure
	var answered *oauth2.RetrieveError
	var unsent *url.Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &answered):
		return refusal(answered)
	case errors.Is(err, auth.ErrNotPublic):
		return &Failure{Code: failAddress}
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		return &Failure{Code: failTimeout}
	case errors.As(err, &unsent):
		return &Failure{Code: failReach}
	}
	return &Failure{Code: failAnswer}
}

func refusal(e *oauth2.RetrieveError) *Failure {
	f := &Failure{Code: failRefused, After: retryAfter(e.Response.Header)}
	switch status := e.Response.StatusCode; {
	case status >= http.StatusInternalServerError:
		f.Code = failServer
	case status == http.StatusTooManyRequests:
		f.Code = failLimited
	case slices.Contains(rfcCodes, e.ErrorCode):
		f.Code = e.ErrorCode
	}
	return f
}

// retryAfter reads the seconds of a Retry-After header, and nothing else that may stand there.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, int(maxPause/time.Second)))*time.Second, maxPause)
}

// Pauses between refreshes that fail. The first is short: where an answer was lost on the way, providers that forgive a
// repeat do so for some seconds only.
const (
	firstPause = 5 * time.Second
	maxPause   = time.Hour
)

// pause is how long to wait after so many failures in a row. It differs by up to a quarter, so that the connections of a
// provider that was away do not all come back at once.
func pause(attempts int64, asked time.Duration) time.Duration {
	p := maxPause
	if attempts < 10 {
		p = min(firstPause<<(max(attempts, 1)-1), maxPause)
	}
	p = max(p, asked)
	return p + jitter(p/4)
}

// jitter is a random time below limit.
func jitter(limit time.Duration) time.Duration {
	if limit <= 0 {
		return 0
	}
	return rand.N(limit) //nolint:gosec // spreads load, protects nothing
}
