package vault

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
)

func TestAPersonConnectsAndTokensAreHandedOut(t *testing.T) {
	for _, style := range []string{"basic", "post", "none"} {
		t.Run(style, func(t *testing.T) {
			on(t, func(s *authServer, p *Provider) {
				s.auth, p.Auth = style, style
				s.resource, p.Resource = "https://api.example/", "https://api.example/"
				if style == "none" {
					p.ClientSecretEnv = ""
				}
			}, func(t *testing.T, r *rig) {
				c := r.connect(r.person)
				if c.State != Connected || c.Account != "Account of ann" || !slices.Equal(c.Scopes, []string{"ads.read", "ads.write"}) {
					t.Errorf("connected as %+v", c)
				}
				first, err := r.token()
				if err != nil || !r.as.good(first) {
					t.Fatalf("the first token is %q: %v", first, err)
				}
				if again, _ := r.token(); again != first {
					t.Error("a token that is good was replaced")
				}
				r.forward(time.Hour)
				second, err := r.token()
				if err != nil || second == first || !r.as.good(second) {
					t.Errorf("after an hour the token is %q: %v", second, err)
				}
				if diff := cmp.Diff([]string{"connection.made"}, r.recorded()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestConnectingAgainEndsTheEarlierConnection(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		first, second := r.connect(r.person), r.connect(r.person)
		if was := r.row(first.ID); was.State != Revoked || was.sealed != "" {
			t.Errorf("the first is %s", was.State)
		}
		access, err := r.token()
		if err != nil || !r.as.good(access) || second.ID == first.ID {
			t.Errorf("%q %v", access, err)
		}
		if len(r.as.revoked) != 0 { // it would end the new one at providers that know one grant for a user
			t.Error("the provider was told")
		}
	})
}

// T2: the state is single-use, lives ten minutes, and is good for the session in which it was given out.
func TestAStateIsGoodOnceAndForOneSession(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		begin := func() Answer {
			r.person = r.confirmed(r.person)
			address, err := r.Begin(t.Context(), by(r.person), "acme")
			if err != nil {
				t.Fatal(err)
			}
			return r.as.visit(address, "ann")
		}
		other, sameElsewhere := someone(t, r.db, "shop", "bob"), signIn(t, r.db, r.person)
		foreign := someone(t, r.db, "other shop", "ann")
		token := r.person
		token.Session = ""
		for name, finish := range map[string]func() (Connection, error){
			"reused": func() (Connection, error) {
				a := begin()
				if _, err := r.Finish(t.Context(), by(r.person), "acme", a); err != nil {
					t.Fatal(err)
				}
				return r.Finish(t.Context(), by(r.person), "acme", a)
			},
			"missing": func() (Connection, error) {
				a := begin()
				a.State = ""
				return r.Finish(t.Context(), by(r.person), "acme", a)
			},
			"never given out": func() (Connection, error) {
				a := begin()
				a.State = strings.ToLower(a.State)
				return r.Finish(t.Context(), by(r.person), "acme", a)
			},
			"another person's":    func() (Connection, error) { return r.Finish(t.Context(), by(other), "acme", begin()) },
			"another merchant's":  func() (Connection, error) { return r.Finish(t.Context(), by(foreign), "acme", begin()) },
			"another session's":   func() (Connection, error) { return r.Finish(t.Context(), by(sameElsewhere), "acme", begin()) },
			"without any session": func() (Connection, error) { return r.Finish(t.Context(), by(token), "acme", begin()) },
			"replaced by a later one": func() (Connection, error) {
				a := begin()
				begin()
				return r.Finish(t.Context(), by(r.person), "acme", a)
			},
			"expired": func() (Connection, error) {
				a := begin()
				r.forward(ceremonyTime)
				return r.Finish(t.Context(), by(r.person), "acme", a)
			},
			"burnt by somebody else's try": func() (Connection, error) {
				a := begin()
				_, _ = r.Finish(t.Context(), by(other), "acme", a)
				return r.Finish(t.Context(), by(r.person), "acme", a)
			},
		} {
			before, _ := r.as.counts()
			_, err := finish()
			if rejected := (*Rejected)(nil); !errors.As(err, &rejected) || rejected.Why != RejectState {
				t.Errorf("%s: %v", name, err)
			}
			if after, _ := r.as.counts(); after > before+1 || (name != "reused" && after > before) {
				t.Errorf("%s: the code went to the provider", name)
			}
		}
		a := begin() // before by(r.person): it may sign in anew
		if _, err := r.Finish(t.Context(), by(r.person), "acme", a); err != nil {
			t.Errorf("a good one after all these: %v", err)
		}
	})
}

// T4: an answer of one authorization server is not taken for another's.
func TestAnAnswerOfAnotherIssuerIsRejected(t *testing.T) {
	const issuer = "https://login.example"
	on(t, nil, func(t *testing.T, r *rig) {
		for _, c := range []struct{ configured, sent, why string }{
			{issuer, issuer, ""},
			{issuer, "", RejectIssuer},
			{issuer, "https://evil.example", RejectIssuer},
			{issuer, issuer + "/", RejectIssuer}, // RFC 9207: simple string comparison
			{"", issuer, RejectIssuer},           // and one that was not expected is not taken unread
			{"", "", ""},
		} {
			p := r.as.describes(t, "acme")
			p.Issuer = c.configured
			v := r.process(r.db, p)
			address, err := v.Begin(t.Context(), by(r.person), "acme")
			if err != nil {
				t.Fatal(err)
			}
			a := r.as.visit(address, "ann")
			a.Issuer = c.sent
			_, err = v.Finish(t.Context(), by(r.person), "acme", a)
			if rejected := (*Rejected)(nil); (c.why == "") != (err == nil) || (err != nil && (!errors.As(err, &rejected) || rejected.Why != c.why)) {
				t.Errorf("%q instead of %q: %v", c.sent, c.configured, err)
			}
		}
	})
}

func TestAnAnswerToOneProviderIsNotTakenByAnother(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		a, b := r.as.describes(t, "acme"), newAuthServer(t).describes(t, "bolt")
		v := r.process(r.db, a, b)
		address, err := v.Begin(t.Context(), by(r.person), "acme")
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Finish(t.Context(), by(r.person), "bolt", r.as.visit(address, "ann"))
		if rejected := (*Rejected)(nil); !errors.As(err, &rejected) || rejected.Why != RejectState {
			t.Error(err)
		}
	})
}

func TestARefusalByTheProviderIsOnRecordWithoutItsText(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		address, err := r.Begin(t.Context(), by(r.person), "acme")
		if err != nil {
			t.Fatal(err)
		}
		a := r.as.visit(address, "ann")
		a.Code, a.Error = "", planted+" denied <script>"
		_, err = r.Finish(t.Context(), by(r.person), "acme", a)
		if err == nil || strings.Contains(err.Error(), planted) {
			t.Errorf("answered %v", err)
		}
		address, _ = r.Begin(t.Context(), by(r.person), "acme")
		a = r.as.visit(address, "ann")
		a.Code += "x"
		_, err = r.Finish(t.Context(), by(r.person), "acme", a)
		if rejected := (*Rejected)(nil); !errors.As(err, &rejected) || rejected.Why != "exchange: invalid_grant" {
			t.Errorf("a wrong code: %v", err)
		}
		want := []string{"connection.refused denied", "connection.refused exchange: invalid_grant"}
		if diff := cmp.Diff(want, r.recorded()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOnlyPeopleWhoAreSignedInConnect(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		token, key := r.person, r.person
		token.Session, key.Kind = "", auth.KindKey
		for name, p := range map[string]auth.Principal{"a person's token": token, "an agent": key} {
			if _, err := r.Begin(t.Context(), by(p), "acme"); !errors.Is(err, ErrNoSession) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := r.Begin(t.Context(), by(r.person), "nobody"); !errors.Is(err, ErrUnknownProvider) {
			t.Error(err)
		}
	})
}

func TestAPersonWhoWentWhileAtTheProviderGetsNothing(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		address, err := r.Begin(t.Context(), by(r.person), "acme")
		if err != nil {
			t.Fatal(err)
		}
		r.as.meanwhile(func() { r.goes(r.person) })
		if _, err := r.Finish(t.Context(), by(r.person), "acme", r.as.visit(address, "ann")); err == nil {
			t.Fatal("somebody who is gone was connected")
		}
		if len(r.as.revoked) != 1 {
			t.Error("the grant stays at the provider")
		}
	})
}

// goes ends a person's standing.
func (r *rig) goes(p auth.Principal) {
	err := r.db.InTx(r.t.Context(), func(tx *store.Tx) error { return auth.RevokePerson(tx, p.Merchant, p.ID) })
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		r.t.Error(err)
	}
}

func TestAnswersThatAreNotTokensAreNotKept(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		for name, body := range map[string]string{
			"a line end in a token":   `{"access_token":"a\r\nX-Evil: 1","token_type":"bearer"}`,
			"another type":            `{"access_token":"a","token_type":"mac"}`,
			"no token":                `{"token_type":"bearer"}`,
			"not JSON":                `<html>PLANTED`,
			"a token without end":     `{"access_token":"` + strings.Repeat("a", maxToken+1) + `","token_type":"bearer"}`,
			"an answer without end":   `{"access_token":"a","token_type":"bearer","x":"` + strings.Repeat("a", maxAnswer) + `"}`,
			"a scope that is none":    `{"access_token":"a","token_type":"bearer","scope":"a\u0001"}`,
			"scopes without end":      `{"access_token":"a","token_type":"bearer","scope":"` + strings.Repeat("a ", maxScopes+1) + `"}`,
			"an unorthodox 200 error": `{"error":"PLANTED","error_description":"PLANTED"}`,
		} {
			r.as.answers(nil)
			address, err := r.Begin(t.Context(), by(r.person), "acme")
			if err != nil {
				t.Fatal(err)
			}
			a := r.as.visit(address, "ann")
			r.as.answers(func(w http.ResponseWriter, _ *http.Request) bool {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(body))
				return true
			})
			_, err = r.Finish(t.Context(), by(r.person), "acme", a)
			if rejected := (*Rejected)(nil); !errors.As(err, &rejected) || strings.Contains(err.Error(), planted) {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := r.token(); !errors.Is(err, ErrNotConnected) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
