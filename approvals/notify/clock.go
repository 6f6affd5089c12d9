package notify

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// clock is how long after the attempt before each attempt is made, as Standard Webhooks proposes.
var clock = []time.Duration{
	0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// maxWait bounds what an endpoint may ask for with Retry-After.
const maxWait = 24 * time.Hour

// spread adds up to a tenth to a wait, so that what failed together is not tried again together.
func spread(d time.Duration) time.Duration {
	if d < 10 {
		return d
	}
	return d + rand.N(d/10)
}

// wait is how long after its attempts so far a message is tried again, at least as long as the endpoint asks for. ok is false when it has
// been tried often enough.
func (w *Webhooks) wait(attempts int64, asked time.Duration) (d time.Duration, ok bool) {
	if attempts >= int64(len(clock)) {
		return 0, false
	}
	return max(w.jitter(clock[attempts]), min(asked, maxWait)), true
}

// retryAfter reads the header of that name (RFC 9110 10.2.3): seconds, or a time. Anything else asks for nothing.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}
