package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/tools"
)

// A form of ours carries a token of its session, so that a request which a browser was talked into is refused even where the Origin
// check of edge.go could be got round (OWASP Cross-Site Request Forgery Prevention Cheat Sheet, "Employing Hashed-based Message Authentication
// Codes"). It is derived from the session's secret: nothing is stored, it ends with the session, and it does not give the secret away.

// formToken is the token of the session that r comes from.
func formToken(r *http.Request) string { return derived(r, "dtcgate-form-v1") }

// derived is an HMAC-SHA256 of a label under the secret of the session.
func derived(r *http.Request, label string) string {
	mac := hmac.New(sha256.New, []byte(cookie(r, sessionCookie)))
	mac.Write([]byte(label))
	return hex.EncodeToString(mac.Sum(nil))
}

// fromOwnForm refuses a form whose token is not that of the session.
func fromOwnForm(r *http.Request, token string) error {
	if subtle.ConstantTimeCompare([]byte(token), []byte(formToken(r))) == 1 {
		return nil
	}
	return tools.Refuse(codeOrigin, "Load the page again and do it there.", "The form is not one of this session's. You may have signed in again since it was shown.")
}

// openedAt seals when a card was shown, by the server's clock, so that how long it was open cannot be made up by the page.
func openedAt(r *http.Request, id string, now time.Time) string {
	at := strconv.FormatInt(now.UnixMilli(), 10)
	return at + "." + derived(r, "dtcgate-opened-v1 "+id+" "+at)
}

// openFor gives for how many seconds a card was open, 0 where that cannot be told. Less than a second counts as one: it was open.
func openFor(r *http.Request, id, opened string, now time.Time) int64 {
	at, mac, _ := strings.Cut(opened, ".")
	millis, err := strconv.ParseInt(at, 10, 64)
	if err != nil || subtle.ConstantTimeCompare([]byte(mac), []byte(derived(r, "dtcgate-opened-v1 "+id+" "+at))) != 1 {
		return 0
	}
	return max(1, int64(now.Sub(time.UnixMilli(millis))/time.Second))
}
