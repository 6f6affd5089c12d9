package vault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// T102: two replicas find the same token at its end, hundreds of times. The provider ends the grant when a refresh token is
// used twice, so one race lost would show for good.
func TestReplicasThatRefreshAtOnceLoseNoRefreshToken(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			dsn := storetest.DSN(t, engine)
			r := &rig{t: t, as: newAuthServer(t), clock: &clock{}, path: filepath.Join(t.TempDir(), "vault.key")}
			p := r.as.describes(t, "acme")
			var replicas [2]*Vault
			for i := range replicas {
				db := storetest.Open(t, dsn)
				db.Now = r.now
				replicas[i] = r.process(db, p)
				replicas[i].look = 2 * time.Millisecond
			}
			r.Vault = replicas[0]
			r.person = someone(t, r.db, "shop", "ann")
			c := r.connect(r.person)
			races := refreshRaces(t)
			for race := range races {
				r.forward(time.Hour)
				var access [2]string
				var both errgroup.Group
				for i, v := range replicas {
					both.Go(func() (err error) {
						access[i], _, err = v.Token(t.Context(), r.person.Merchant, r.person.ID, "acme")
						return err
					})
				}
				if err := both.Wait(); err != nil {
					t.Fatalf("race %d: %v", race, err)
				}
				if access[0] != access[1] || !r.as.good(access[0]) {
					t.Fatalf("race %d: two tokens, or one that is not good", race)
				}
			}
			asked, reused := r.as.counts()
			if row := r.row(c.ID); reused != 0 || asked != 1+races || row.State != Connected || row.Version != int64(1+races) {
				t.Errorf("%d questions, %d refresh tokens used twice; the connection is %s at version %d", asked, reused, row.State, row.Version)
			}
		})
	}
}

// refreshRaces is how many times two replicas refresh at once: DTCGATE_TEST_REFRESH_RACES, or 200.
func refreshRaces(t *testing.T) int {
	t.Helper()
	if testing.Short() {
		return 50
	}
	set := os.Getenv("DTCGATE_TEST_REFRESH_RACES")
	if set == "" {
		return 200
	}
	n, err := strconv.Atoi(set)
	if err != nil || n < 1 {
		t.Fatalf("DTCGATE_TEST_REFRESH_RACES is %q; expected: a number above 0", set)
	}
	return n
}

// T27: what is asked for at the same time by different people of different merchants is never mixed up.
func TestPeopleInParallelNeverGetEachOthersTokens(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		other := newAuthServer(t)
		v := r.process(r.db, r.as.describes(t, "acme"), other.describes(t, "bolt"))
		servers := map[string]*authServer{"acme": r.as, "bolt": other}
		people := []struct{ merchant, name string }{{"shop", "bea"}, {"shop", "cid"}, {"other", "dan"}, {"third", "eve"}}
		var calls []func() error
		for _, who := range people {
			p := someone(t, r.db, who.merchant, who.name)
			for name, server := range servers {
				user := who.name + "@" + name
				address, err := v.Begin(t.Context(), by(p), name)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := v.Finish(t.Context(), by(p), name, server.visit(address, user)); err != nil {
					t.Fatal(err)
				}
				calls = append(calls, func() error {
					access, _, err := v.Token(t.Context(), p.Merchant, p.ID, name)
					if err == nil && !strings.HasPrefix(access, planted+"-access-"+user+"-") {
						err = fmt.Errorf("%s was given %q", user, access)
					}
					return err
				})
			}
		}
		var all errgroup.Group
		for worker := range 32 {
			all.Go(func() error {
				for i := range 250 {
					if err := calls[(worker+i)%len(calls)](); err != nil {
						return err
					}
					if i%50 == worker%50 && worker%8 == 0 { // a few times all tokens end while they are asked for
						r.forward(time.Hour)
					}
				}
				return nil
			})
		}
		if err := all.Wait(); err != nil {
			t.Error(err)
		}
		for name, s := range servers {
			if asked, reused := s.counts(); reused > 0 || asked < 5 {
				t.Errorf("%s: %d questions, %d refresh tokens used twice", name, asked, reused)
			}
		}
	})
}

func TestNoTransactionIsOpenWhileAProviderIsAsked(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		written := 0
		r.as.meanwhile(func() { // on SQLite this waits for every other transaction
			if err := r.db.Ping(t.Context()); err != nil {
				t.Error(err)
			}
			written++
		})
		r.connect(r.person)
		r.forward(time.Hour)
		if _, err := r.token(); err != nil || written != 2 {
			t.Errorf("%d questions: %v", written, err)
		}
	})
}

func TestTheAnswerIsKeptWhenWhoAskedHasGone(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		c := r.connect(r.person)
		r.forward(time.Hour)
		ctx, leave := contextOf(t)
		r.as.meanwhile(leave)
		if _, _, err := r.Token(ctx, r.person.Merchant, r.person.ID, "acme"); err == nil {
			t.Error("the caller left and was answered")
		}
		r.as.meanwhile(nil)
		r.drain()
		if row := r.row(c.ID); row.Version != 2 || row.Attempts != 0 {
			t.Errorf("version %d after %d failures: %s", row.Version, row.Attempts, row.LastError)
		}
	})
}

func TestAnAnswerIsStoredWhenTheDatabaseIsBack(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		tries := 0
		err := r.persist(t.Context(), func(*store.Tx) error {
			if tries++; tries < 3 {
				return fmt.Errorf("%w (a test)", store.ErrUnavailable)
			}
			return nil
		})
		if err != nil || tries != 3 {
			t.Errorf("%d tries: %v", tries, err)
		}
	})
}

// A crash between the provider's answer and our commit: the provider has replaced the refresh token, and we have the old one.
func TestALostAnswerBreaksTheConnectionAndIsNotTriedForEver(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		c := r.connect(r.person)
		r.forward(time.Hour)
		r.as.answers(func(w http.ResponseWriter, req *http.Request) bool {
			r.as.client(req)
			r.as.fromRefresh(discard{}, req)
			panic(http.ErrAbortHandler)
		})
		f := (*Failure)(nil)
		if _, err := r.token(); !errors.As(err, &f) || f.Code != failReach {
			t.Fatal(err)
		}
		r.as.answers(nil)
		r.forward(time.Minute)
		if _, err := r.token(); !errors.Is(err, ErrBroken) {
			t.Fatal(err)
		}
		before, _ := r.as.counts()
		for range 100 {
			if _, err := r.token(); !errors.Is(err, ErrBroken) {
				t.Fatal(err)
			}
			r.pass(t.Context())
			r.forward(time.Hour)
		}
		if after, _ := r.as.counts(); after != before {
			t.Errorf("a broken connection was tried %d times more", after-before)
		}
		row := r.row(c.ID)
		if row.State != Broken || row.LastError != failGrant || row.sealed != "" {
			t.Errorf("%s: %s", row.State, row.LastError)
		}
		want := []string{"connection.made", "connection.refresh_failed unreachable", "connection.broken invalid_grant"}
		if diff := cmp.Diff(want, r.recorded()); diff != "" {
			t.Error(diff)
		}
		r.connect(signIn(t, r.db, r.person))
		if access, err := r.token(); err != nil || !r.as.good(access) {
			t.Errorf("after connecting again: %v", err)
		}
	})
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

func TestAProviderThatFailsIsAskedEverLessOften(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		c := r.connect(r.person)
		r.forward(time.Hour)
		status := http.StatusServiceUnavailable
		r.as.answers(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", "120")
			refuse(w, status, planted)
			return true
		})
		for failures := int64(1); failures <= 14; failures++ {
			if _, err := r.token(); err == nil || strings.Contains(err.Error(), planted) {
				t.Fatalf("failure %d: %v", failures, err)
			}
			before, _ := r.as.counts()
			for range 20 {
				_, _ = r.token()
				r.pass(t.Context())
			}
			if after, _ := r.as.counts(); after != before {
				t.Fatalf("after failure %d it was asked %d times within the pause", failures, after-before)
			}
			row := r.row(c.ID)
			wait := row.RefreshAt.Sub(r.now())
			least := min(max(firstPause<<(failures-1), 2*time.Minute), maxPause) - 10*time.Second
			if row.Attempts != failures || wait < least || wait > maxPause*5/4 {
				t.Errorf("after failure %d, %d on record, it waits %s", failures, row.Attempts, wait)
			}
			r.forward(wait + time.Second)
		}
		r.as.answers(nil)
		if access, err := r.token(); err != nil || !r.as.good(access) {
			t.Error(err)
		}
		if row := r.row(c.ID); row.Attempts != 0 || row.LastError != "" || row.State != Connected {
			t.Errorf("%+v", row)
		}
	})
}

func TestATokenThatIsGoodIsHandedOutWhileTheProviderIsAway(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		r.connect(r.person)
		first, _ := r.token()
		r.as.answers(func(w http.ResponseWriter, _ *http.Request) bool { refuse(w, 500, ""); return true })
		r.forward(time.Hour - margin/2)
		if access, err := r.token(); err != nil || access != first {
			t.Errorf("%q %v", access, err)
		}
		r.forward(margin)
		if _, err := r.token(); err == nil {
			t.Error("a token that has ended was handed out")
		}
	})
}

func TestRunRefreshesBeforeTheEnd(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		defer storetest.NothingLeft(t)()
		c := r.connect(r.person)
		r.pass(t.Context())
		if asked, _ := r.as.counts(); asked != 1 {
			t.Error("renewed long before its time")
		}
		if ahead := c.ExpiresAt.Sub(c.RefreshAt); ahead < defaultAhead || ahead > defaultAhead*3/2 {
			t.Errorf("it would be renewed %s before its end", ahead)
		}
		r.forward(c.RefreshAt.Sub(r.now()) + time.Second)
		ctx, stop := contextOf(t)
		r.as.meanwhile(stop) // Run ends while the provider is asked, and stores the answer all the same
		r.Run(ctx)
		if row := r.row(c.ID); row.Version != 2 || !row.ExpiresAt.After(c.ExpiresAt) {
			t.Errorf("version %d, until %s", row.Version, row.ExpiresAt)
		}
		r.as.CloseClientConnections()
		r.providers["acme"].client.CloseIdleConnections()
	})
}

func TestRunDoesAwayWithWhatIsOld(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		count := func(table string) (n int) {
			err := r.db.Read(t.Context(), func(tx *store.Tx) error { return tx.QueryRow(`SELECT COUNT(*) FROM ` + table).Scan(&n) })
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		for range 5 {
			if _, err := r.Begin(t.Context(), by(r.person), "acme"); err != nil {
				t.Fatal(err)
			}
		}
		if n := count("connection_ceremonies"); n != 1 {
			t.Errorf("one session has %d ceremonies", n)
		}
		c := r.connect(r.person)
		if _, err := r.Revoke(t.Context(), by(r.person), c.ID); err != nil {
			t.Fatal(err)
		}
		r.forward(ceremonyTime)
		r.pass(t.Context())
		if n, kept := count("connection_ceremonies"), count("connections"); n != 0 || kept != 1 {
			t.Errorf("%d ceremonies, %d connections", n, kept)
		}
		r.forward(keepEnds)
		r.pass(t.Context())
		if kept := count("connections"); kept != 0 {
			t.Errorf("%d connections", kept)
		}
	})
}

func TestARevokedConnectionGivesNoToken(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		c := r.connect(r.person)
		foreign := someone(t, r.db, "other shop", "eve")
		if _, err := r.Revoke(t.Context(), by(foreign), c.ID); !errors.Is(err, ErrNotConnected) {
			t.Errorf("another merchant's person: %v", err)
		}
		if _, err := r.token(); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Revoke(t.Context(), by(r.person), c.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := r.token(); !errors.Is(err, ErrNotConnected) {
			t.Error(err)
		}
		if _, err := r.Revoke(t.Context(), by(r.person), c.ID); !errors.Is(err, ErrNotConnected) {
			t.Errorf("twice: %v", err)
		}
		if len(r.as.revoked) != 1 || !strings.HasPrefix(r.as.revoked[0], planted+"-refresh-ann-") {
			t.Errorf("the provider was told of %d", len(r.as.revoked))
		}
		if row := r.row(c.ID); row.sealed != "" {
			t.Error("tokens are kept")
		}
	})
}

func TestARevocationDuringARefreshWins(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		c := r.connect(r.person)
		r.forward(time.Hour)
		r.as.forgives = true
		r.as.meanwhile(func() {
			r.as.meanwhile(nil)
			if _, err := r.Revoke(t.Context(), by(r.person), c.ID); err != nil {
				t.Error(err)
			}
		})
		if _, err := r.token(); !errors.Is(err, ErrNotConnected) {
			t.Error(err)
		}
		if row := r.row(c.ID); row.State != Revoked || row.sealed != "" {
			t.Errorf("%s", row.State)
		}
		if len(r.as.revoked) != 2 { // what was there, and what came
			t.Errorf("the provider was told of %d", len(r.as.revoked))
		}
	})
}

func TestAProviderThatCannotBeToldIsOnRecord(t *testing.T) {
	on(t, func(_ *authServer, p *Provider) { p.RevokeURL = p.TokenURL + "/nowhere" }, func(t *testing.T, r *rig) {
		c := r.connect(r.person)
		if _, err := r.Revoke(t.Context(), by(r.person), c.ID); err != nil {
			t.Fatal(err)
		}
		want := []string{"connection.made", "connection.revoked", "connection.revoke_failed refused"}
		if diff := cmp.Diff(want, r.recorded()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNobodyGetsTheTokensOfAnotherPersonOrMerchant(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		r.connect(r.person)
		mate, foreign := someone(t, r.db, "shop", "bob"), someone(t, r.db, "other shop", "ann")
		for name, ask := range map[string][3]string{
			"another person":                       {r.person.Merchant, mate.ID, "acme"},
			"another merchant":                     {foreign.Merchant, foreign.ID, "acme"},
			"the person, under another merchant":   {foreign.Merchant, r.person.ID, "acme"},
			"another's person, under the merchant": {r.person.Merchant, foreign.ID, "acme"},
			"nobody":                               {r.person.Merchant, "", "acme"},
		} {
			if access, _, err := r.Token(t.Context(), ask[0], ask[1], ask[2]); !errors.Is(err, ErrNotConnected) || access != "" {
				t.Errorf("%s: %q %v", name, access, err)
			}
		}
		if _, _, err := r.Token(t.Context(), r.person.Merchant, r.person.ID, "nobody"); !errors.Is(err, ErrUnknownProvider) {
			t.Error(err)
		}
	})
}

// A commit can reach the database although its connection broke, so that it is tried again: what came is stored once, and is not
// taken for the tokens of a connection that has ended.
func TestAnAnswerThatIsStoredAlreadyIsNotGivenBack(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		c := r.connect(r.person)
		r.forward(time.Hour)
		l, err := r.lease(t.Context(), r.row(c.ID))
		if err != nil {
			t.Fatal(err)
		}
		g, err := r.ask(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.store(t.Context(), l, g); err != nil {
			t.Fatal(err)
		}
		if _, err := r.store(t.Context(), l, g); !errors.Is(err, errTaken) {
			t.Errorf("stored twice: %v", err)
		}
		r.drop(t.Context(), l, g)
		if access, err := r.token(); err != nil || !r.as.good(access) || len(r.as.revoked) != 0 {
			t.Errorf("%v, %d revoked", err, len(r.as.revoked))
		}
	})
}

func TestAPersonWhoGoesDuringARefreshGetsNoToken(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		r.connect(r.person)
		r.forward(time.Hour)
		r.as.meanwhile(func() { r.goes(r.person) })
		if access, err := r.token(); !errors.Is(err, ErrNotConnected) || access != "" {
			t.Errorf("%q %v", access, err)
		}
	})
}

func TestTheConnectionsOfAPersonWhoIsGoneEnd(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		c := r.connect(r.person)
		r.goes(r.person)
		if _, err := r.token(); !errors.Is(err, ErrNotConnected) {
			t.Errorf("at once: %v", err)
		}
		r.forward(time.Hour)
		r.pass(t.Context())
		if row := r.row(c.ID); row.State != Revoked || row.sealed != "" || len(r.as.revoked) != 1 {
			t.Errorf("%s, the provider was told of %d", row.State, len(r.as.revoked))
		}
	})
}

func TestAProviderThatIsNoLongerConfiguredIsLeftAlone(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		c := r.connect(r.person)
		r.forward(time.Hour)
		bare := r.process(r.db)
		bare.pass(t.Context())
		if row := r.row(c.ID); row.State != Connected || row.LastError != failProvider || row.Attempts != 1 {
			t.Errorf("%+v", row)
		}
		r.forward(time.Hour)
		if access, err := r.token(); err != nil || !r.as.good(access) {
			t.Errorf("configured again: %v", err)
		}
	})
}

func TestTokensWithoutAnEndOrARefreshAreTakenAsTheyAre(t *testing.T) {
	on(t, func(s *authServer, _ *Provider) { s.lifetime = 0 }, func(t *testing.T, r *rig) {
		c := r.connect(r.person)
		if c.ExpiresAt.IsZero() || c.RefreshAt.IsZero() {
			t.Error("a token that can be renewed never is")
		}
	})
	on(t, nil, func(t *testing.T, r *rig) {
		address, err := r.Begin(t.Context(), by(r.person), "acme")
		if err != nil {
			t.Fatal(err)
		}
		a := r.as.visit(address, "ann")
		r.as.answers(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"access_token":"only","token_type":"bearer","expires_in":60}`))
			return true
		})
		c, err := r.Finish(t.Context(), by(r.person), "acme", a)
		if err != nil || !c.RefreshAt.IsZero() {
			t.Fatal(c.RefreshAt, err)
		}
		r.forward(time.Hour)
		asked, _ := r.as.counts()
		if _, err := r.token(); !errors.Is(err, ErrBroken) {
			t.Error(err)
		}
		if again, _ := r.as.counts(); again != asked {
			t.Error("the provider was asked without a refresh token")
		}
	})
}

func TestTheTimeOfARefreshLiesInTheLifeOfTheToken(t *testing.T) {
	now := time.Now()
	p := &provider{Provider: Provider{RefreshAhead: defaultAhead}}
	var early []time.Duration
	for range 10_000 {
		life := time.Duration(1 + rand.N(2*int64(time.Hour)))
		expires, refresh := p.times(now, granted{tokens: tokens{Refresh: "r"}, lifetime: life})
		if !expires.Equal(now.Add(life)) || refresh.Before(now.Add(life/4)) || refresh.After(expires) {
			t.Fatalf("of %s it is renewed after %s", life, refresh.Sub(now))
		}
		early = append(early, expires.Sub(refresh))
	}
	if slices.Min(early) == slices.Max(early) {
		t.Error("all are renewed together")
	}
}

func TestAProvidersMoodIsReadAsAWordOfOurs(t *testing.T) {
	on(t, nil, func(t *testing.T, r *rig) {
		for _, c := range []struct {
			status int
			code   string
			want   string
		}{
			{400, "invalid_grant", "invalid_grant"},
			{401, "invalid_client", "invalid_client"},
			{500, "invalid_grant", "server_error"}, // a server in trouble decides nothing
			{429, "invalid_grant", "rate_limited"},
			{400, planted, "refused"},
			{302, "", "refused"},
			{307, "", "refused"}, // a redirect that would take the refresh token along
		} {
			row := r.connect(r.person)
			r.forward(time.Hour)
			seen := 0
			r.as.answers(func(w http.ResponseWriter, _ *http.Request) bool {
				seen++
				w.Header().Set("Location", r.as.URL+"/token") // would get client secret and refresh token, if followed
				refuse(w, c.status, c.code)
				return true
			})
			_, _ = r.token()
			r.as.answers(nil)
			if got := r.row(row.ID); got.LastError != c.want || seen != 1 {
				t.Errorf("%d %s: %q after %d questions", c.status, c.code, got.LastError, seen)
			}
		}
	})
}
