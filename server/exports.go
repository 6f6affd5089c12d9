package server

import (
	"mime"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// exportsPath is where customers' data is fetched. What follows in a path is a secret and stands in no log.
const exportsPath = tools.BasePath + "/exports/"

// sendExport answers whoever has the link: the token in the path is the whole credential.
func (s *Server) sendExport(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead { // as programs do that look at links; nothing would leave, and it would be on record
		w.Header().Set("Allow", http.MethodGet)
		s.refuse(w, r, noMethod(r))
		return
	}
	v := visitOf(r.Context())
	e, err := s.gate.Export(r.Context(), r.PathValue("token"), v.source)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": e.Name}))
	h.Set("Referrer-Policy", "no-referrer")
	id := store.NewID("call", s.db.Now())
	v.called("", id, "")
	s.write(w, http.StatusOK, id, e.Body)
}

var exportToken = regexp.MustCompile(`(?is)(/exports/).*`)

// longestID is the length of the longest id or name that stands in a path, in bytes. What is longer is none: a token, a text.
const longestID = 64

// loggable is a request's path as it may be logged: without the token of a link, however it was misspelt, and without what
// looks like somebody's address.
func loggable(path string) string {
	if ordinary(path) {
		return shown(path)
	}
	path = exportToken.ReplaceAllString(path, "$1…")
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if strings.Contains(part, "@") || len(part) > longestID {
			parts[i] = "…"
		}
	}
	return shown(strings.Join(parts, "/"))
}

// ordinary reports whether a path is plainly one that stays as it is.
func ordinary(path string) bool {
	if len(path) > longestID {
		return false
	}
	for i, c := range []byte(path) {
		if c == '@' || c >= utf8.RuneSelf || c == '/' && len(path)-i >= len("/exports/") && strings.EqualFold(path[i:i+len("/exports/")], "/exports/") {
			return false
		}
	}
	return true
}
