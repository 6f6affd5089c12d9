package server

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/dtcgate/dtcgate/tools"
)

func TestRequestsThatAPageMadeABrowserSend(t *testing.T) {
	g := newSQLiteRig(t)
	key := "X-Agent-Key: " + g.mint("key", false, "orders:read", "orders:write")
	g.server.hosts = []string{"gate.example.com"}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(g.url, "http://"))
	for header, status := range map[string]int{
		"Host: localhost":                             201,
		"Host: localhost.:" + port:                    201,
		"Host: LOCALHOST:1":                           201,
		"Host: [::1]:" + port:                         201,
		"Host: 127.0.0.2":                             201,
		"Host: gate.example.com":                      201,
		"Host: gate.example.com:443":                  201,
		"Host: evil.example":                          403,
		"Host: 127.0.0.1.evil.example":                403,
		"Host: localhost.evil.example":                403,
		"Host: 10.0.0.1":                              403,
		"Host: 0.0.0.0":                               403,
		"Host: gate.example.com.evil.example":         403,
		"Origin: https://evil.example":                403,
		"Origin: null":                                403,
		"Origin: http://localhost":                    403,
		"Origin: " + g.url:                            201,
		"Sec-Fetch-Site: cross-site":                  403,
		"Sec-Fetch-Site: same-site":                   403,
		"Sec-Fetch-Site: same-origin":                 201,
		"X-Forwarded-Host: evil.example":              201,
		"Forwarded: for=10.0.0.1;host=localhost":      201,
		"X-Http-Method-Override: GET":                 201,
		"Access-Control-Request-Method: POST":         201,
		"Accept: text/html":                           201,
		"Origin: https://gate.example.com.evil.local": 403,
	} {
		resp, text := g.do("POST", tools.BasePath+"/notes", `{"text":"hello"}`, jsonBody, key, header)
		if resp.StatusCode != status || !json.Valid([]byte(text)) || resp.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %s %s", header, resp.Status, text)
		}
		body, headers := message(eras[0], "tools/list", "{}")
		if resp, text := g.do("POST", "/mcp", body, append(headers, key, header)...); (resp.StatusCode == 403) != (status == 403) {
			t.Errorf("MCP, %s: %s %s", header, resp.Status, text)
		}
	}
}

func TestCredentials(t *testing.T) {
	g := newSQLiteRig(t)
	key, other, gone := g.mint("key", false, "orders:read"), g.mint("other", false, "orders:read"), g.mint("gone", false, "orders:read")
	g.revoke("gone")
	const bearer, agent = "Authorization: Bearer ", "X-Agent-Key: "
	for name, c := range map[string]struct {
		headers []string
		status  int
	}{
		"bearer":                 {[]string{bearer + key}, 200},
		"bearer in other case":   {[]string{"authorization: bEARER " + key}, 200},
		"agent key":              {[]string{agent + key}, 200},
		"both alike":             {[]string{bearer + key, agent + key}, 200},
		"both, one wrong":        {[]string{bearer + key, agent + other}, 401},
		"both, the other way":    {[]string{bearer + other, agent + key}, 401},
		"two bearers":            {[]string{bearer + key, bearer + other}, 401},
		"two agent keys":         {[]string{agent + key, agent + other}, 401},
		"none":                   {nil, 401},
		"empty bearer":           {[]string{bearer}, 401},
		"basic":                  {[]string{"Authorization: Basic " + key}, 401},
		"no scheme":              {[]string{"Authorization: " + key}, 401},
		"revoked":                {[]string{bearer + gone}, 401},
		"cut":                    {[]string{bearer + key[:len(key)-1]}, 401},
		"one letter changed":     {[]string{bearer + key[:20] + "!" + key[21:]}, 401},
		"with more behind":       {[]string{bearer + key + "x"}, 401},
		"in a cookie":            {[]string{"Cookie: key=" + key}, 401},
		"as a proxy's":           {[]string{"Proxy-Authorization: Bearer " + key}, 401},
		"long":                   {[]string{bearer + strings.Repeat("A", 30_000)}, 401},
		"a list in one header":   {[]string{agent + key + "," + other}, 401},
		"wrong beside no scheme": {[]string{"Authorization: x", agent + key}, 401},
	} {
		resp, text := g.do("GET", tools.BasePath+"/notes?limit=1", "", c.headers...)
		if resp.StatusCode != c.status {
			t.Errorf("%s: %s %s", name, resp.Status, text)
		}
		if c.status != 401 {
			continue
		}
		want := `Bearer realm="dtcgate"`
		if !slices.Contains([]string{"none", "empty bearer", "in a cookie", "as a proxy's"}, name) {
			want += `, error="invalid_token"`
		}
		var r tools.Refusal
		if err := json.Unmarshal([]byte(text), &r); err != nil || r.Code != tools.Unauthorized || resp.Header.Get("WWW-Authenticate") != want {
			t.Errorf("%s: %v %s", name, resp.Header, text)
		}
	}
	if resp, _ := g.do("GET", tools.BasePath+"/notes?key="+key+"&access_token="+key, ""); resp.StatusCode != 401 {
		t.Errorf("a key in the query opens: %s", resp.Status)
	}
	if log := g.log.String(); strings.Contains(log, key[8:]) || strings.Contains(log, gone[8:]) {
		t.Error("a secret is in the log")
	}
}

// The reason why a credential is refused is for the record; whoever sent it is told the same whatever it is.
func TestRefusedCredentialsAreRecordedAndAlike(t *testing.T) {
	g := newSQLiteRig(t)
	g.mint("gone", false, "orders:read")
	g.revoke("gone")
	answers := map[string]bool{}
	for _, header := range []string{"X-Nothing: 1", "X-Agent-Key: x", "X-Agent-Key: " + g.secrets["gone"]} {
		_, text := g.do("GET", tools.BasePath+"/notes", "", header)
		var r tools.Refusal
		g.must(json.Unmarshal([]byte(text), &r))
		answers[r.Message+r.Next] = true
	}
	if len(answers) != 1 {
		t.Errorf("the answers tell the reasons apart: %v", answers)
	}
	why := map[string]bool{}
	for _, e := range g.entries() {
		if e.Event == "auth.refused" {
			why[e.Reason] = true
		}
	}
	if len(why) != 3 {
		t.Errorf("recorded are %v", why)
	}
}
