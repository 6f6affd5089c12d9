//go:build !race

package server

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/vault"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
	"github.com/dtcgate/dtcgate/tools/dtc"
)

// Two merchants share the database: ours, with the demo shop, keys, people and a call that waits, and a stranger with an empty shop.
// The stranger asks every route about what is ours.

// A probe is a request of the stranger's. {{name}} in its path and body is something of ours the first time, and of nobody's the
// second: both are to be answered alike, after the same statements.
type probe struct {
	by     string // agent, asking (an agent whose calls are parked), person, browser (the person signed in); "": nobody
	method string
	path   string
	body   string
}

// probes are what the stranger asks the routes that are no tool's. A route without an entry fails the test: say here how one who
// belongs elsewhere would ask it. Entries of routes that this server does not have are not asked.
var probes = map[string][]probe{
	"GET /healthz":   {{}},
	"GET /readyz":    {{}},
	"POST /mcp":      mcpProbes,
	"POST /mcp/key":  mcpProbes,
	"GET /approvals": {{by: "person"}, {by: "person", path: "/approvals?all=true"}, {by: "agent"}},
	"GET /approvals/{id}": {
		{by: "person", path: "/approvals/{{approval}}"}, {by: "person", path: "/approvals/{{job}}"}, {by: "agent", path: "/approvals/{{approval}}"},
	},
	"POST /approvals/{id}/resolve": {
		{by: "person", path: "/approvals/{{approval}}/resolve", body: `{"decision":"approve"}`},
		{by: "person", path: "/approvals/{{job}}/resolve", body: `{"decision":"deny","reason":"no"}`},
		{by: "person", path: "/approvals/{{approval}}/resolve", body: `{"decision":"approve","seen_sha256":"0000-0000-0000"}`},
		{by: "agent", path: "/approvals/{{approval}}/resolve", body: `{"decision":"approve"}`},
	},
	"POST /approvals/{id}/withdraw": {
		{by: "person", path: "/approvals/{{approval}}/withdraw", body: `{}`}, {by: "agent", path: "/approvals/{{job}}/withdraw", body: `{}`},
	},
	"POST /approvals/{id}/cancel": {
		{by: "person", path: "/approvals/{{approval}}/cancel", body: `{"reason":"to see"}`}, {by: "agent", path: "/approvals/{{job}}/cancel", body: `{}`},
	},
	"GET /approvals/report": {{by: "person"}, {by: "person", path: "/approvals/report?days=90"}, {by: "agent"}},
	"GET /approvals/grants": {{by: "person"}, {by: "person", path: "/approvals/grants?all=true"}, {by: "agent"}},
	"POST /approvals/grants": {
		{by: "person", body: `{"from":"{{approval}}","count":2,"until":"2099-01-01T00:00:00Z","note":"to see"}`},
		{by: "person", body: `{"from":"{{job}}","count":2,"until":"2099-01-01T00:00:00Z","note":"to see"}`},
	},
	"GET /approvals/grants/{grant}":    {{by: "person", path: "/approvals/grants/{{grant}}"}, {by: "agent", path: "/approvals/grants/{{grant}}"}},
	"DELETE /approvals/grants/{grant}": {{by: "person", path: "/approvals/grants/{{grant}}"}, {by: "agent", path: "/approvals/grants/{{grant}}"}},
	"GET /delegations":                 {{by: "person"}, {by: "agent"}},
	"POST /delegations": {
		{by: "person", body: `{"deputy":"{{person}}","until":"2099-01-01T00:00:00Z"}`},
		{by: "person", body: `{"deputy":"stranger","absent":"{{person}}","until":"2099-01-01T00:00:00Z"}`},
		{by: "agent", body: `{"deputy":"{{person}}","until":"2099-01-01T00:00:00Z"}`},
	},
	"DELETE /delegations/{id}": {{by: "person", path: "/delegations/{{delegation}}"}, {by: "agent", path: "/delegations/{{delegation}}"}},
	"POST /jobs/{id}/reconcile": {
		{by: "person", path: "/jobs/{{job}}/reconcile", body: `{"outcome":"happened","reason":"to see"}`},
		{by: "agent", path: "/jobs/{{job}}/reconcile", body: `{"outcome":"happened","reason":"to see"}`},
	},
	"GET /subtokens":         {{by: "agent"}},
	"DELETE /subtokens/{id}": {{by: "agent", path: "/subtokens/{{sub}}"}},

	"GET /api/v1/admin/v1/subtokens":                         {{by: "person"}, {by: "agent"}},
	"DELETE /api/v1/admin/v1/subtokens/{id}":                 {{by: "person", path: "/api/v1/admin/v1/subtokens/{{sub}}"}},
	"GET /api/v1/admin/v1/keys":                              {{by: "person"}, {by: "agent"}},
	"POST /api/v1/admin/v1/keys":                             {{by: "person", body: `{"name":"a key","scopes":["orders:read"],"owner_id":"{{person}}"}`}},
	"GET /api/v1/admin/v1/keys/{id}":                         {{by: "person", path: "/api/v1/admin/v1/keys/{{key}}"}},
	"PATCH /api/v1/admin/v1/keys/{id}":                       {{by: "person", path: "/api/v1/admin/v1/keys/{{key}}", body: `{"name":"mine"}`}},
	"DELETE /api/v1/admin/v1/keys/{id}":                      {{by: "person", path: "/api/v1/admin/v1/keys/{{key}}"}},
	"POST /api/v1/admin/v1/keys/{id}/rotate":                 {{by: "person", path: "/api/v1/admin/v1/keys/{{key}}/rotate", body: `{}`}},
	"GET /api/v1/admin/v1/people":                            {{by: "person"}, {by: "agent"}},
	"POST /api/v1/admin/v1/people":                           {{by: "person", body: `{"name":"somebody","roles":["{{role}}"]}`}},
	"PATCH /api/v1/admin/v1/people/{id}":                     {{by: "person", path: "/api/v1/admin/v1/people/{{person}}", body: `{"roles":["manager"]}`}},
	"POST /api/v1/admin/v1/people/{id}/link":                 {{by: "person", path: "/api/v1/admin/v1/people/{{person}}/link", body: `{}`}},
	"POST /api/v1/admin/v1/people/{id}/token":                {{by: "person", path: "/api/v1/admin/v1/people/{{person}}/token", body: `{}`}},
	"DELETE /api/v1/admin/v1/people/{id}":                    {{by: "person", path: "/api/v1/admin/v1/people/{{person}}"}},
	"GET /api/v1/admin/v1/people/{id}/sessions":              {{by: "person", path: "/api/v1/admin/v1/people/{{person}}/sessions"}},
	"DELETE /api/v1/admin/v1/people/{id}/sessions":           {{by: "person", path: "/api/v1/admin/v1/people/{{person}}/sessions"}},
	"DELETE /api/v1/admin/v1/people/{id}/sessions/{session}": {{by: "person", path: "/api/v1/admin/v1/people/{{person}}/sessions/{{session}}"}},
	"GET /api/v1/admin/v1/policy":                            {{by: "person"}, {by: "agent"}},
	"GET /api/v1/admin/v1/policy/versions":                   {{by: "person"}, {by: "agent"}},
	"GET /api/v1/admin/v1/policy/schema":                     {{by: "person"}, {by: "agent"}},
	"POST /api/v1/admin/v1/policy/check":                     {{by: "person", body: `{"source":"language: 1\n"}`}, {by: "agent", body: `{"source":"language: 1\n"}`}},
	"POST /api/v1/admin/v1/policy/replay":                    {{by: "person", body: `{"source":"language: 9\n"}`}, {by: "agent", body: `{"source":"language: 9\n"}`}},
	"GET /api/v1/admin/v1/policy/replay/{id}":                {{by: "person", path: "/api/v1/admin/v1/policy/replay/{{replay}}"}, {by: "agent", path: "/api/v1/admin/v1/policy/replay/x"}},
	"GET /api/v1/admin/v1/policy/shadow":                     {{by: "person"}, {by: "agent"}},
	"PUT /api/v1/admin/v1/policy/shadow":                     {{by: "person", body: `{"source":"language: 9\n","note":"mine"}`}, {by: "agent", body: `{"source":"language: 9\n","note":"mine"}`}},
	"DELETE /api/v1/admin/v1/policy/shadow":                  {{by: "person"}, {by: "agent"}},
	"POST /api/v1/admin/v1/policy/publish":                   {{by: "person", body: `{"source":"language: 9\n","note":"mine"}`}, {by: "agent", body: `{"source":"language: 9\n","note":"mine"}`}},
	"POST /api/v1/admin/v1/policy/explain":                   {{by: "person", body: `{"key":"{{key}}","tool":"dtc_search_orders","arguments":{}}`}, {by: "agent", body: `{"key":"{{key}}","tool":"dtc_search_orders","arguments":{}}`}},
	"GET /api/v1/admin/v1/roles":                             {{by: "person"}, {by: "agent"}},
	"PUT /api/v1/admin/v1/roles/{name}":                      {{by: "person", path: "/api/v1/admin/v1/roles/night-shift", body: `{"scopes":["orders:read"]}`}},
	"DELETE /api/v1/admin/v1/roles/{name}":                   {{by: "person", path: "/api/v1/admin/v1/roles/{{role}}"}},
	"GET /api/v1/admin/v1/policy/versions/{n}":               {{by: "person", path: "/api/v1/admin/v1/policy/versions/{{version}}"}},
	"GET /api/v1/admin/v1/trust":                             {{by: "person"}, {by: "agent"}},
	"GET /api/v1/admin/v1/trust/{id}":                        {{by: "person", path: "/api/v1/admin/v1/trust/{{key}}"}},
	"GET /api/v1/admin/v1/trust/{id}/history":                {{by: "person", path: "/api/v1/admin/v1/trust/{{key}}/history"}},
	"GET /api/v1/admin/v1/people/{id}/links":                 {{by: "person", path: "/api/v1/admin/v1/people/{{person}}/links"}},
	"DELETE /api/v1/admin/v1/people/{id}/links/{link}":       {{by: "person", path: "/api/v1/admin/v1/people/{{person}}/links/{{link}}"}},
	"GET /api/v1/admin/v1/webhooks":                          {{by: "person"}, {by: "agent"}},
	"POST /api/v1/admin/v1/webhooks":                         {{by: "person", body: `{"url":"ftp://hooks.example.com/{{webhook}}"}`}, {by: "agent", body: `{"url":"https://hooks.example.com"}`}},
	"POST /api/v1/admin/v1/webhooks/{id}/rotate":             {{by: "person", path: "/api/v1/admin/v1/webhooks/{{webhook}}/rotate", body: `{}`}},
	"POST /api/v1/admin/v1/webhooks/{id}/test":               {{by: "person", path: "/api/v1/admin/v1/webhooks/{{webhook}}/test"}},
	"DELETE /api/v1/admin/v1/webhooks/{id}":                  {{by: "person", path: "/api/v1/admin/v1/webhooks/{{webhook}}"}},
	"POST /api/v1/admin/v1/trust/{id}/feedback":              {{by: "person", path: "/api/v1/admin/v1/trust/{{key}}/feedback", body: `{"score":-1,"note":"to see"}`}},

	"GET /api/v1/admin/v1/freezes": {{by: "person"}, {by: "agent"}},
	"POST /api/v1/admin/v1/freezes": {
		{by: "person", body: `{"subject_id":"{{key}}","reason":"to see"}`},
		{by: "person", body: `{"subject_id":"{{person}}","reason":"to see"}`},
		{by: "agent", body: `{"subject_id":"{{key}}","reason":"to see"}`},
	},
	"POST /api/v1/admin/v1/freezes/{id}/lift": {
		{by: "person", path: "/api/v1/admin/v1/freezes/{{freeze}}/lift", body: `{"reason":"to see"}`},
		{by: "agent", path: "/api/v1/admin/v1/freezes/{{freeze}}/lift", body: `{"reason":"to see"}`},
	},

	"GET /web/people.css":             {{}},
	"GET /web/people.js":              {{}},
	"GET /web/live.js":                {{}},
	"GET /events":                     {{}},
	"GET /sign-in":                    {{}},
	"GET /sign-in/link":               {{}, {path: "/sign-in/link?token=nobodys"}},
	"POST /sign-in/link":              {{body: `{"token":"nobodys"}`}},
	"POST /sign-in/passkey/options":   {{}},
	"POST /sign-in/passkey":           {{body: `{}`}},
	"GET /sign-in/oidc":               {{}},
	"GET /sign-in/oidc/callback":      {{}},
	"GET /me":                         {{by: "browser"}},
	"POST /me/sign-out":               {{}},
	"POST /me/sessions/{id}/revoke":   {{by: "browser", path: "/me/sessions/{{session}}/revoke"}},
	"POST /me/sessions/revoke-others": {{by: "browser"}},
	"POST /me/passkeys/options":       {{by: "browser"}},
	"POST /me/passkeys":               {{by: "browser", body: `{}`}},
	"POST /me/links":                  {{}},
	"POST /me/deputies":               {{}},
	"POST /me/deputies/{id}/remove":   {{by: "browser", path: "/me/deputies/{{delegation}}/remove"}},
	"POST /me/links/{id}/remove":      {{by: "browser", path: "/me/links/{{link}}/remove"}},
	"POST /me/passkeys/{id}/remove":   {{by: "browser", path: "/me/passkeys/{{passkey}}/remove"}},

	"GET /connect":                             {{by: "person"}},
	"GET /connect/{provider}":                  {{by: "agent", path: "/connect/acme"}},
	"GET /connect/{provider}/callback":         {{by: "person", path: "/connect/acme/callback?state=nobodys&code=c"}},
	"GET /api/v1/admin/v1/connections":         {{by: "person"}, {by: "agent"}},
	"DELETE /api/v1/admin/v1/connections/{id}": {{by: "person", path: "/api/v1/admin/v1/connections/{{connection}}"}},

	"POST /tools/{name}":   {{by: "agent", path: "/tools/dtc_nothing", body: `{}`}},
	"GET /exports/{token}": {{path: "/exports/exp_nobodys"}}, // the token is the whole credential, whoever has it
}

// pageProbes are those of people's pages, whose paths are also some under tools.BasePath.
var pageProbes = map[string][]probe{
	"GET /{$}":                      {{by: "browser", path: "/"}},
	"GET /approvals":                {{by: "browser"}},
	"GET /approvals/{id}":           {{by: "browser", path: "/approvals/{{approval}}"}},
	"GET /approvals/{id}/{act}":     {{by: "browser", path: "/approvals/apr_nothing/vote"}},
	"POST /approvals/{id}/vote":     {{by: "browser", path: "/approvals/{{approval}}/vote"}}, // with a form of its own: TestAnotherMerchantsRequestIsNotThere
	"POST /approvals/{id}/withdraw": {{by: "browser", path: "/approvals/{{approval}}/withdraw"}},
	"POST /approvals/{id}/cancel":   {{by: "browser", path: "/approvals/{{approval}}/cancel"}},
	"POST /approvals/{id}/undo":     {{by: "browser", path: "/approvals/{{approval}}/undo"}},
	"GET /jobs":                     {{by: "browser"}},
	"GET /jobs/{id}":                {{by: "browser", path: "/jobs/{{job}}"}},
	"POST /jobs/{id}/reconcile":     {{by: "browser", path: "/jobs/{{job}}/reconcile"}},
	"GET /freeze":                   {{by: "browser"}},
	"POST /freeze":                  {{by: "browser"}},
	"POST /freeze/{id}/lift":        {{by: "browser", path: "/freeze/{{freeze}}/lift"}},
}

var mcpProbes = []probe{
	{by: "agent", body: `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`},
	{by: "agent", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"dtc_get_order","arguments":{"order_no":"{{order_no}}"}}}`},
	{by: "agent", body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"dtc_get_job","arguments":{"job_id":"{{job}}"}}}`},
}

// otherwise are what the stranger asks tools whose examples are about no single thing.
var otherwise = map[string][]string{
	"dtc_request_action": {
		`{"action":"payments:refund","target":"order:71996","arguments":{"expected_version":1,"amount":{"amount_minor":100,"currency":"GBP"},"cause":"goodwill"},"idempotency_key":"k1","reason":"to see"}`,
		`{"action":"shipping:create_label","target":"order:71996","arguments":{"carrier":"dpd","weight_grams":500,"max_cost":{"amount_minor":9000,"currency":"GBP"}},"idempotency_key":"k2","reason":"to see"}`,
		`{"action":"warehouse:recall_lot","target":"variant:40010B","arguments":{"max_pieces":1000,"reason_code":"quality"},"idempotency_key":"k3","reason":"to see"}`,
	},
	"dtc_get_tickets": {`{"queue":"returns","status":"open"}`, `{"ticket_id":"{{ticket_id}}"}`},
	"dtc_get_job":     {`{"limit":5}`, `{"job_id":"{{job_id}}"}`},
}

// A street is a rig on which two merchants live.
type street struct {
	*rig
	stranger string
	keys     map[string]string // secrets of the stranger's, by who asks
	ours     map[string]string // ids by name
}

// ourPolicy is one whose text is known again.
var ourPolicy = policytest.Open + "environment: street-of-ours\n"

func newStreet(t *testing.T, db *store.DB) *street {
	s := &street{rig: newRig(t, db, tools.NewRegistry(dtc.Tools()...)), keys: map[string]string{}, ours: map[string]string{}}
	s.mintKey(auth.Key{Name: "our bot", Scopes: auth.AgentScopes, Actions: []string{"*"}, Ceiling: auth.MaxLevel})
	s.mintKey(auth.Key{Name: "our asking bot", Scopes: auth.AgentScopes, Actions: []string{"*"}, Ceiling: auth.MaxLevel, RequiresApproval: true})
	s.person("our owner")
	s.connects()
	s.publish(ourPolicy)
	s.ours["version"] = "2" // the stranger has one
	s.must(db.InTx(t.Context(), func(tx *store.Tx) error {
		m, err := auth.EnsureMerchant(tx, "Stranger")
		if err != nil {
			return err
		}
		s.stranger = m.ID
		if err := policytest.Install(tx, m.ID); err != nil {
			return err
		}
		for who, asks := range map[string]bool{"agent": false, "asking": true} {
			k := auth.Key{Merchant: m.ID, Name: who, Profile: "admin", Scopes: auth.AgentScopes, Actions: []string{"*"}, Ceiling: auth.MaxLevel, RequiresApproval: asks}
			if _, s.keys[who], err = auth.MintKey(tx, k); err != nil {
				return err
			}
		}
		person, token, err := auth.AddPerson(tx, m.ID, "stranger", "manager", "admin")
		if err != nil {
			return err
		}
		s.keys["person"] = token
		if _, s.keys["browser"], err = newSession(tx, m.ID, person.ID); err != nil {
			return err
		}
		if s.ours["session"], _, err = newSession(tx, s.store, s.ids["our owner"]); err != nil {
			return err
		}
		s.ours["role"], s.ours["sub"] = "our-role", store.NewID("sub", tx.Now)
		s.ours["passkey"], s.ours["connection"] = store.NewID("pky", tx.Now), store.NewID("con", tx.Now)
		if _, err := tx.Exec(`INSERT INTO roles (merchant_id, name, scopes) VALUES ($1, $2, '[]')`, s.store, s.ours["role"]); err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO sub_tokens (id, merchant_id, parent_id, name, audience, secret_sha256, hint, scopes, actions, tools, resources, networks,
				ceiling, per_minute, burst, depth, created_at, expires_at)
			VALUES ($1, $2, $3, 'our sub-token', '', '', '', '[]', '[]', '[]', '[]', '[]', 'L7', 0, 0, 0, $4, $4)`,
			s.ours["sub"], s.store, s.ids["our bot"], store.Micros(tx.Now.AddDate(1, 0, 0)))
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO passkeys (id, merchant_id, person_id, credential_id, name, record, sign_count, created_at)
			VALUES ($1, $2, $3, 'ours', 'phone-of-ours', '{}', 0, 1)`, s.ours["passkey"], s.store, s.ids["our owner"])
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO connections (id, merchant_id, person_id, provider, state, account, scopes, ciphertext, key_id, version, created_at, updated_at)
			VALUES ($1, $2, $3, 'acme', 'connected', 'account-of-ours', '[]', '', '', 1, 1, 1)`, s.ours["connection"], s.store, s.ids["our owner"])
		if err != nil {
			return err
		}
		s.ours["delegation"] = store.NewID("dlg", tx.Now)
		if _, err := tx.Exec(`INSERT INTO delegations (id, merchant_id, absent_id, deputy_id, starts_at, ends_at, made_by, created_at)
			VALUES ($1, $2, $3, $3, 1, $4, 'operator', 1)`, s.ours["delegation"], s.store, s.ids["our owner"], store.Micros(tx.Now.AddDate(1, 0, 0))); err != nil {
			return err
		}
		s.ours["webhook"], s.ours["link"] = store.NewID("whk", tx.Now), store.NewID("plk", tx.Now)
		_, err = tx.Exec(`INSERT INTO webhook_endpoints (id, merchant_id, url, types, created_by, created_at)
			VALUES ($1, $2, 'https://hook-of-ours.example.com', ' job.updated ', '', 1)`, s.ours["webhook"], s.store)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO person_links (id, merchant_id, key_id, external_id, person_id, created_by, created_at)
			VALUES ($1, $2, $3, 'id-of-ours', $4, '', 1)`, s.ours["link"], s.store, s.ids["our bot"], s.ids["our owner"])
		if err != nil {
			return err
		}
		s.ours["delegation"] = store.NewID("dlg", tx.Now)
		_, err = tx.Exec(`INSERT INTO delegations (id, merchant_id, absent_id, deputy_id, starts_at, ends_at, made_by, created_at)
			VALUES ($1, $2, $3, $3, 1, $4, '', 1)`, s.ours["delegation"], s.store, s.ids["our owner"], store.Micros(tx.Now.AddDate(1, 0, 0)))
		if err != nil {
			return err
		}
		s.ours["grant"] = store.NewID("gr", tx.Now)
		_, err = tx.Exec(`INSERT INTO grants (id, merchant_id, approval_id, agent_id, tool, resource, template, sha256, until_at, max_uses, max_money_minor,
				max_customers, made_by, created_at) VALUES ($1, $2, 'apr_of_ours', $3, 'dtc_refund', '', '', '', $4, 1, 0, 0, '', 1)`,
			s.ours["grant"], s.store, s.ids["our bot"], store.Micros(tx.Now.AddDate(1, 0, 0)))
		if err != nil {
			return err
		}
		s.ours["freeze"] = store.NewID("frz", tx.Now)
		_, err = tx.Exec(`INSERT INTO freezes (id, merchant_id, subject_id, reason, frozen_by, frozen_at, lift_reason, lifted_by)
			VALUES ($1, $2, 'sub_of_ours', 'freeze-of-ours', '', 1, '', '')`, s.ours["freeze"], s.store)
		if err != nil {
			return err
		}
		s.ours["replay"] = store.NewID("rpl", tx.Now)
		_, err = tx.Exec(`INSERT INTO policy_replays (id, merchant_id, asked_by, status, why, report, created_at, alive_at)
			VALUES ($1, $2, 'replay-of-ours', 'done', '', '{}', 1, 1)`, s.ours["replay"], s.store)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO shops (merchant_id, currency, source, seed, attribution, shifted_weeks, data_until, loaded_at)
			SELECT $1, currency, source, seed, attribution, shifted_weeks, data_until, loaded_at FROM shops`, m.ID)
		return err
	}))
	s.live()
	return s
}

// connects makes the server one on which people can connect outside systems too.
func (s *street) connects() {
	keys, err := vault.OpenKeys("", s.TempDir()+"/vault.key")
	s.must(err)
	v, err := vault.New(vault.Config{DB: s.db, Keys: keys, PublicURL: publicURL, Providers: []vault.Provider{{
		Name: "acme", Title: "Acme", AuthorizeURL: "https://acme.example/authorize", TokenURL: "https://acme.example/token", ClientID: "c", Auth: "none",
	}}})
	s.must(err)
	s.server, err = New(Config{
		Gate: s.gate, Tools: s.server.tools, DB: s.db, Log: s.server.log, Version: "test", Networks: s.server.networks, PublicURL: publicURL, Vault: v,
	})
	s.must(err)
}

// newSession gives a new session of a person, and its secret.
func newSession(tx *store.Tx, merchant, person string) (id, secret string, err error) {
	link, _, err := auth.MintLink(tx, merchant, person, 0)
	if err != nil {
		return "", "", err
	}
	proof, err := auth.ProveByLink(tx, link)
	if err != nil {
		return "", "", err
	}
	session, secret, err := auth.StartSession(tx, proof, "", "")
	return session.ID, secret, err
}

// live does what a merchant does who is at work, and notes what came of it.
func (s *street) live() {
	s.Helper()
	for _, c := range []struct{ key, tool, id string }{
		{"our asking bot", "dtc_publish_page", "job_id"}, {"our bot", "dtc_create_campaign", "undo_id"}, {"our bot", "dtc_add_order_note", ""},
	} {
		tool, _ := s.server.tools.Find(c.tool)
		var r struct {
			JobID    string `json:"job_id"`
			UndoID   string `json:"undo_id"`
			Approval struct {
				ID string `json:"approval_id"`
			} `json:"approval"`
		}
		resp, text := s.do("POST", tools.BasePath+"/tools/"+c.tool, tool.Example, jsonBody, "X-Agent-Key: "+s.secrets[c.key])
		if s.must(json.Unmarshal([]byte(text), &r)); resp.StatusCode >= 300 {
			s.Fatalf("%s: %s", c.tool, text)
		}
		switch c.id {
		case "job_id":
			s.ours["job_id"], s.ours["job"], s.ours["approval"] = r.JobID, r.JobID, r.Approval.ID
		case "undo_id":
			s.ours["undo_id"] = r.UndoID
		}
	}
	s.ours["order_no"], s.ours["key"], s.ours["person"] = "70002", s.ids["our bot"], s.ids["our owner"]
	s.must(s.db.Read(s.Context(), func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT MIN(ticket_id) FROM tickets WHERE merchant_id = $1`, s.store).Scan(ptr(s.ours, "ticket_id"))
	}))
}

// ptr scans into a map.
func ptr(into map[string]string, name string) *entry { return &entry{into, name} }

type entry struct {
	into map[string]string
	name string
}

// Scan implements sql.Scanner.
func (e *entry) Scan(v any) error {
	e.into[e.name], _ = v.(string)
	return nil
}

// nobodys is an id like ours that nobody has.
func nobodys(id string) string {
	n := min(5, len(id))
	return id[:len(id)-n] + strings.Repeat("9", n)
}

func TestNothingOfAnotherMerchantIsTold(t *testing.T) {
	storetest.EachFilled(t, "demo", fillDemo, func(t *testing.T, db *store.DB) {
		db.Now = storyTime()
		s := newStreet(t, db)
		marks := s.marks()
		var lists []probe
		for _, pattern := range s.server.routes {
			for _, p := range s.probesOf(pattern) {
				a := s.ask(p, func(name string) string { return s.ours[name] })
				s.clean(p, a, marks)
				switch {
				case strings.Contains(p.path+p.body, "{{"):
					s.alike(p, a)
				case p.method == "GET":
					lists = append(lists, p)
				}
			}
		}
		s.unmoved(lists)
	})
}

// alike asks for what is nobody's, which must be refused as what is ours was.
func (s *street) alike(p probe, ours told) {
	s.Helper()
	none := s.ask(p, func(name string) string { return nobodys(s.ours[name]) })
	if diff := cmp.Diff(none, ours, cmp.AllowUnexported(told{})); diff != "" {
		s.Errorf("%s %s %s: what is nobody's and what is another merchant's differ:\n%s", p.by, p.method, p.path, diff)
	}
	if ours.status < 400 && !strings.Contains(ours.body, `"isError":true`) {
		s.Errorf("%s %s %s is answered %d: %s", p.by, p.method, p.path, ours.status, ours.body)
	}
}

// unmoved asks for lists and sums before and after more is done by us: nothing of it is counted for the stranger.
func (s *street) unmoved(lists []probe) {
	s.Helper()
	before := map[probe]string{}
	for _, p := range lists {
		before[p] = s.ask(p, nil).body
	}
	s.live()
	for p, was := range before {
		if is := s.ask(p, nil).body; is != was {
			s.Errorf("%s %s was answered\n%s\nand after more was done by another merchant\n%s", p.by, p.path, was, is)
		}
	}
	if len(before) < 15 {
		s.Errorf("only %d lists were compared", len(before))
	}
}

// probesOf gives what the stranger asks a route.
func (s *street) probesOf(pattern string) []probe {
	method, path, _ := strings.Cut(pattern, " ")
	short := strings.TrimPrefix(path, tools.BasePath)
	found := slices.Clone(probes[method+" "+short])
	if asked, ok := pageProbes[pattern]; ok {
		found = slices.Clone(asked)
	}
	for i := range found {
		p := &found[i]
		if p.path == "" {
			p.path = short
		}
		if p.method = method; short != path {
			p.path = tools.BasePath + p.path
		}
	}
	for _, t := range s.server.tools.All() {
		for _, route := range t.Routes {
			if route.Method == method && route.Path == short {
				found = append(found, s.toolProbes(t, route)...)
			}
		}
	}
	if len(found) == 0 {
		s.Errorf("nobody has said how a stranger would ask %s: add it to probes", pattern)
	}
	return found
}

// toolProbes ask a tool over its route and by its name, for its example, about something of ours where it is about one thing.
func (s *street) toolProbes(t *tools.Tool, route tools.Route) (all []probe) {
	bodies := otherwise[t.Name]
	if bodies == nil {
		bodies = []string{t.Example}
	}
	for _, body := range bodies {
		body, path := s.placed(t, body, route.Path)
		for _, by := range []string{"agent", "asking"} {
			all = append(all, probe{by, "POST", tools.BasePath + "/tools/" + t.Name, body})
			if len(bodies) == 1 || strings.Contains(path, "{{") == strings.Contains(body, "{{") {
				all = append(all, probe{by, route.Method, tools.BasePath + path, body})
			}
		}
	}
	return all
}

// placed puts places for ids into a tool's arguments and its route, and notes what of ours goes there.
func (s *street) placed(t *tools.Tool, body, path string) (string, string) {
	var args map[string]any
	s.must(json.Unmarshal([]byte(body), &args))
	names := placeholders(path)
	if i := strings.LastIndex(t.Resource, "/"); i >= 0 {
		names = append(names, t.Resource[i+1:])
	}
	at := map[string]string{}
	for _, name := range names {
		at[name] = "{{" + name + "}}"
		if id, ok := valueOf(args, name); ok && !strings.HasPrefix(id, "{{") {
			at[name] = "{{" + id + "}}"
			s.ours[id] = id
			body = strings.ReplaceAll(body, `"`+id+`"`, `"`+at[name]+`"`)
		}
	}
	return body, placeholder.ReplaceAllStringFunc(path, func(in string) string { return at[strings.Trim(in, "{}")] })
}

// valueOf finds an argument of that name, however deep.
func valueOf(v any, name string) (string, bool) {
	switch v := v.(type) {
	case map[string]any:
		if s, ok := v[name].(string); ok {
			return s, true
		}
		for _, e := range v {
			if s, ok := valueOf(e, name); ok {
				return s, true
			}
		}
	case []any:
		for _, e := range v {
			if s, ok := valueOf(e, name); ok {
				return s, true
			}
		}
	}
	return "", false
}

// told is what came of a probe: the answer, and the statements that were run for it.
type told struct {
	status     int
	body       string
	statements []string
}

var (
	inBraces = regexp.MustCompile(`\{\{([^{}]+)\}\}`)
	changing = regexp.MustCompile(`(call|job|apr|und|cmp|seg|dsc)_[0-9A-Z]{26}|\d{4}-\d\d-\d\dT[0-9:.]+Z`)
)

func (s *street) ask(p probe, id func(name string) string) (a told) {
	s.Helper()
	fill := func(text string) string {
		return inBraces.ReplaceAllStringFunc(text, func(in string) string { return id(strings.Trim(in, "{}")) })
	}
	if p.by == "agent" || p.by == "asking" { // kept in memory from then on (auth.Known), so that who asks first does not read more
		_, err := s.gate.Authenticate(s.Context(), s.keys[p.by], "127.0.0.1")
		s.must(err)
	}
	ctx := store.Watch(s.Context(), func(q string, _ []any) { a.statements = append(a.statements, q) })
	r := httptest.NewRequestWithContext(ctx, p.method, fill(p.path), strings.NewReader(fill(p.body)))
	r.RemoteAddr = "127.0.0.1:50000"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	switch p.by {
	case "":
	case "browser":
		r.AddCookie(&http.Cookie{Name: sessionCookie, Value: s.keys[p.by]})
	default:
		r.Header.Set("Authorization", "Bearer "+s.keys[p.by])
	}
	w := httptest.NewRecorder()
	s.server.ServeHTTP(w, r)
	a.status, a.body = w.Code, changing.ReplaceAllString(w.Body.String(), "…")
	return a
}

// marks are texts that stand for something of ours.
func (s *street) marks() (all []string) {
	s.Helper()
	all = append(all, s.store, rigMerchant, "our bot", "our asking bot", "our owner", "our sub-token", "phone-of-ours", "account-of-ours", "street-of-ours", "replay-of-ours", "freeze-of-ours", "hook-of-ours", "id-of-ours")
	for _, name := range []string{"role", "sub", "session", "passkey", "connection", "webhook", "link", "delegation", "grant", "freeze"} {
		all = append(all, s.ours[name])
	}
	s.must(s.db.Read(s.Context(), func(tx *store.Tx) error {
		for _, q := range []string{
			`SELECT id FROM agent_keys WHERE merchant_id = $1`, `SELECT id FROM people WHERE merchant_id = $1`, `SELECT id FROM jobs WHERE merchant_id = $1`,
			`SELECT id FROM approvals WHERE merchant_id = $1`, `SELECT id FROM effects WHERE merchant_id = $1`, `SELECT campaign_id FROM campaigns WHERE merchant_id = $1`,
			`SELECT segment_id FROM segments WHERE merchant_id = $1`, `SELECT ticket_id FROM tickets WHERE merchant_id = $1`,
			`SELECT ad_account_id FROM ad_accounts WHERE merchant_id = $1`, `SELECT title FROM products WHERE merchant_id = $1`,
		} {
			ids, err := store.All(tx, func(r store.Row) (id string, err error) { return id, r.Scan(&id) }, q, s.store)
			if err != nil {
				return err
			}
			all = append(all, ids...)
		}
		return nil
	}))
	return all
}

// clean reports whatever of ours stands in an answer.
func (s *street) clean(p probe, a told, marks []string) {
	s.Helper()
	for _, mark := range marks {
		if strings.Contains(a.body, mark) {
			s.Errorf("%s %s %s is told of %q: %d %s", p.by, p.method, p.path, mark, a.status, a.body)
			return
		}
	}
}
