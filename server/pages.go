package server

import (
	"bytes"
	"embed"
	"html/template"
	"mime"
	"net/http"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/approvals/plain"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// web holds the pages that people see, with their one style sheet and one script. Nothing is fetched from anywhere else.
//
//go:embed web
var web embed.FS

// pageFuncs are what templates know beside their data. All text of others goes through plain.
var pageFuncs = template.FuncMap{
	"date": date, "browser": browserName, "when": whenIs, "left": leftUntil, "plain": plain.Show, "many": many, "sentence": sentence,
	"outcome": outcome, "dots": dots, "budget": budgetWords, "pretty": pretty, "classWords": classWords, "who": whoWords,
	"jobWords": jobWords,
	"row": func(c gate.Summary, now time.Time) any {
		return struct {
			Card gate.Summary
			Now  time.Time
		}{c, now}
	},
	"fingerprint": approvals.Fingerprint,
	"voteRow": func(v approvals.Vote, now time.Time) any {
		return struct {
			Vote approvals.Vote
			Now  time.Time
		}{v, now}
	},
	"jobRow": func(j approvals.Job, now time.Time) any {
		return struct {
			Job approvals.Job
			Now time.Time
		}{j, now}
	},
}

// pages are the templates, each within web/layout.html.
var pages = func() map[string]*template.Template {
	all := map[string]*template.Template{}
	for _, name := range []string{"sign-in", "link", "me", "refused", "approvals", "approval", "confirm", "jobs", "job", "freeze"} {
		all[name] = template.Must(template.New("layout.html").Funcs(pageFuncs).
			ParseFS(web, "web/layout.html", "web/parts.html", "web/"+name+".html"))
	}
	return all
}()

// handlePages makes the pages on which people sign in and look after their account.
func (s *Server) handlePages() {
	// One sheet, so that no moment has pico's without ours: it names pictures, which the policy of the pages stops.
	s.handle("GET /web/people.css", guarded(sendFiles("vendor/pico.min.css", "people.css")))
	for _, file := range []string{"people.js", "live.js"} {
		s.handle("GET /web/"+file, guarded(sendFiles(file)))
	}
	s.handle("GET /sign-in", guarded(s.showSignIn))
	s.handle("GET /sign-in/link", guarded(s.showLink))
	s.handle("POST /sign-in/link", guarded(s.useLink))
	s.handle("POST /sign-in/passkey/options", guarded(s.askForPasskey))
	s.handle("POST /sign-in/passkey", guarded(s.usePasskey))
	s.handle("GET /sign-in/oidc", guarded(s.goToProvider))
	s.handle("GET /sign-in/oidc/callback", guarded(s.comeFromProvider))
	s.handle("GET /events", guarded(s.signedIn(s.streamEvents)))
	s.handle("GET /me", guarded(s.signedIn(s.showMe)))
	s.handle("POST /me/sign-out", guarded(s.signedIn(s.signOut)))
	s.handle("POST /me/sessions/{id}/revoke", guarded(s.signedIn(s.endSession)))
	s.handle("POST /me/sessions/revoke-others", guarded(s.signedIn(s.endOtherSessions)))
	s.handle("POST /me/passkeys/options", guarded(s.signedIn(s.beginPasskey)))
	s.handle("POST /me/passkeys", guarded(s.signedIn(s.addPasskey)))
	s.handle("POST /me/passkeys/{id}/remove", guarded(s.signedIn(s.removePasskey)))
	s.handle("POST /me/deputies", guarded(s.signedIn(s.nameDeputy)))
	s.handle("POST /me/deputies/{id}/remove", guarded(s.signedIn(s.removeDeputy)))
	s.handle("POST /me/links", guarded(s.signedIn(s.linkService)))
	s.handle("POST /me/links/{id}/remove", guarded(s.signedIn(s.unlinkService)))
}

// contentPolicy lets a page load its own style sheet and script, and nothing else: no inline code, no frame, no other site.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'"

// guarded sets what keeps other sites out of a page and its addresses out of other sites' logs, on refusals too.
func guarded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next(w, r)
	}
}

// sendFiles sends files of one kind, one after the other, as one.
func sendFiles(names ...string) http.HandlerFunc {
	var body []byte
	for _, name := range names {
		file, err := web.ReadFile("web/" + name)
		if err != nil {
			panic(err) // it is embedded
		}
		body = append(append(body, file...), '\n')
	}
	media := mime.TypeByExtension(path.Ext(names[0]))
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		_, _ = w.Write(body)
	}
}

// A page is what a template shows.
type page struct {
	Title  string
	At     string // which of the pages in the head this is
	Name   string // of who is signed in
	Reads  bool   // they may see what waits
	Banner banner
	Main   any
}

// show writes a page. It is made whole before the first byte leaves.
func (s *Server) show(w http.ResponseWriter, r *http.Request, status int, name string, p page) {
	who := visitOf(r.Context()).principal
	p.Name, p.Reads, p.Banner = who.Name, who.Has(auth.ApprovalsRead), s.bannerFor(r)
	var b bytes.Buffer
	if err := pages[name].Execute(&b, p); err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// showRefusal answers a person with what was refused and what to do: as a page where a browser asks for one, and as JSON to a script.
func (s *Server) showRefusal(w http.ResponseWriter, r *http.Request, err error) {
	if !wantsPage(r) {
		s.refuse(w, r, err)
		return
	}
	refusal := asRefusal(err)
	if refusal.CallID == "" {
		refusal.CallID = store.NewID("call", s.db.Now())
	}
	visitOf(r.Context()).called("", refusal.CallID, string(refusal.Code))
	if refusal.Code == tools.Unavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	s.show(w, r, wires[refusal.Code].http, "refused", page{Title: "Not done", Main: refusal})
}

// askToSignIn sends a browser to where people sign in, and back afterwards. What was to be done is not: the person does it again.
func (s *Server) askToSignIn(w http.ResponseWriter, r *http.Request, err error) {
	if asRefusal(err).Code != tools.Unauthorized || r.Method != http.MethodGet || !wantsPage(r) {
		s.showRefusal(w, r, err)
		return
	}
	dropCookie(w, sessionCookie)
	http.Redirect(w, r, "/sign-in?next="+ownPath(r.URL.Path), http.StatusSeeOther)
}

func wantsPage(r *http.Request) bool { return strings.Contains(r.Header.Get("Accept"), "text/html") }

// home is where people are sent who did not say where they want to go.
const home = "/"

// account is the page of a person's own account.
const account = "/me"

// plainPath is a path of ours, with a query or without, in the few characters that all browsers read alike: no scheme, no host, no backslash, no escape in
// the path, nothing to be normalised.
var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9_-]+)+(\?[A-Za-z0-9_.=&~-]*)?$`)

const maxPath = 300

// ownPath gives where to go next: there, if that is on this server beyond doubt, and home otherwise.
func ownPath(next string) string {
	if len(next) > maxPath || !plainPath.MatchString(next) {
		return home
	}
	return next
}

// maxForm bounds a form's body, in bytes.
const maxForm = 16 << 10

// form reads fields of a form.
func form(w http.ResponseWriter, r *http.Request, fields ...string) ([]string, error) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, tools.Refuse(codeMedia, "Use the form on the page.", "This takes a form.")
	}
	if err := r.ParseForm(); err != nil {
		return nil, tools.Refuse(codeMalformed, "Use the form on the page.", "The form cannot be read.")
	}
	values := make([]string, len(fields))
	for i, f := range fields {
		if len(r.PostForm[f]) > 1 {
			return nil, tools.Refuse(codeMalformed, "Use the form on the page.", "A field of the form came twice.")
		}
		if values[i] = r.PostForm.Get(f); !isText(values[i]) {
			return nil, tools.Refuse(codeMalformed, "Use the form on the page.", "A field of the form is no text.")
		}
	}
	return values, nil
}

// date writes a time for people.
func date(t time.Time) string { return t.UTC().Format("2 January 2006, 15:04 UTC") }

// browserName says in two words which browser a User-Agent is of. It only helps people to tell their sessions apart.
func browserName(agent string) string {
	name := first(agent, "a browser", "Edg/", "Edge", "Firefox/", "Firefox", "Chrome/", "Chrome", "Safari/", "Safari", "curl/", "curl")
	system := first(agent, "", "Android", "Android", "iPhone", "iPhone", "iPad", "iPad", "Windows", "Windows", "Mac OS", "macOS", "Linux", "Linux")
	if system == "" {
		return name
	}
	return name + " on " + system
}

// first gives the name that follows the first mark found in text.
func first(text, none string, marks ...string) string {
	for i := 0; i < len(marks); i += 2 {
		if strings.Contains(text, marks[i]) {
			return marks[i+1]
		}
	}
	return none
}
