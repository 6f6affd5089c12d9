package server

import (
	"mime"
	"net/http"
	"strings"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// exportsPath is where customers' data is fetched. What follows in a path is a secret and stands in no log.
const exportsPath = tools.BasePath + "/exports/"

// sendExport answers whoever has the link: the token in the path is the whole credential.
func (s *Server) sendExport(w http.ResponseWriter, r *http.Request) {
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

// withoutSecret is a request's path as it may be logged.
func withoutSecret(path string) string {
	if strings.HasPrefix(path, exportsPath) {
		return exportsPath + "…"
	}
	return path
}
