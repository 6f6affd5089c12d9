package auth

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// A lobby is a merchant with one person at the door.
type lobby struct {
	*testing.T
	db     *store.DB
	now    time.Time
	shop   string
	person string
}

func inLobby(t *testing.T, test func(l *lobby)) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		l := &lobby{T: t, db: db, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
		db.Now = func() time.Time { return l.now }
		l.do(func(tx *store.Tx) error {
			m, err := EnsureMerchant(tx, "demo")
			l.shop = m.ID
			return err
		})
		l.person = l.add("mia")
		test(l)
	})
}

func (l *lobby) do(fn func(*store.Tx) error) { l.Helper(); inTx(l.T, l.db, fn) }

func (l *lobby) add(name string) (id string) {
	l.Helper()
	l.do(func(tx *store.Tx) error {
		p, _, err := AddPerson(tx, l.shop, name, "manager")
		id = p.ID
		return err
	})
	return id
}

func (l *lobby) link(person string, ttl time.Duration) (secret string) {
	l.Helper()
	l.do(func(tx *store.Tx) (err error) {
		secret, _, err = MintLink(tx, l.shop, person, ttl)
		return err
	})
	return secret
}

// come signs in by a link in a browser that holds a session's secret, or "".
func (l *lobby) come(link, old string) (s Session, secret string, err error) {
	err = l.db.InTx(l.Context(), func(tx *store.Tx) error {
		proof, err := ProveByLink(tx, link)
		if err != nil {
			return err
		}
		s, secret, err = StartSession(tx, proof, "Browser/1.0", old)
		return err
	})
	return s, secret, err
}

func (l *lobby) signIn(person, old string) (Session, string) {
	l.Helper()
	s, secret, err := l.come(l.link(person, 0), old)
	if err != nil {
		l.Fatal(err)
	}
	return s, secret
}

func (l *lobby) opens(secret string) (p Principal, err error) {
	l.Helper()
	l.do(func(tx *store.Tx) error {
		p, _, err = AuthenticateSession(tx, secret)
		return nil
	})
	return p, err
}

func TestALinkSignsInOnceHoweverManyTry(t *testing.T) {
	inLobby(t, func(l *lobby) {
		link := l.link(l.person, 0)
		var in, used atomic.Int64
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				switch _, _, err := l.come(link, ""); {
				case err == nil:
					in.Add(1)
				case why(err) == "used":
					used.Add(1)
				default:
					l.Error(err)
				}
			})
		}
		all.Wait()
		if in.Load() != 1 || used.Load() != 49 {
			l.Errorf("%d came in, %d found it used", in.Load(), used.Load())
		}
	})
}

func TestALinkThatIsNoLongerGood(t *testing.T) {
	inLobby(t, func(l *lobby) {
		first := l.link(l.person, 0)
		second := l.link(l.person, time.Hour)
		long := l.link(l.add("noa"), MaxLinkTime)
		gone := l.add("leaver")
		left := l.link(gone, 2*time.Hour)
		l.do(func(tx *store.Tx) error { return RevokePerson(tx, l.shop, gone) })
		_, session := l.signIn(l.add("kim"), "")
		l.now = l.now.Add(time.Hour)
		for link, reason := range map[string]string{
			first:                     "unknown", // a newer one took its place
			second:                    "expired",
			left:                      "revoked",
			"":                        "malformed",
			second[:len(second)-1]:    "malformed",
			secret.New(secret.Link):   "unknown",
			secret.New(secret.Person): "malformed",
			session:                   "malformed",
		} {
			if _, _, err := l.come(link, ""); why(err) != reason {
				l.Errorf("%s: %v", reason, err)
			}
		}
		if _, _, err := l.come(long, ""); err != nil {
			l.Error(err)
		}
		l.do(func(tx *store.Tx) error {
			for _, c := range [][2]string{{"mer_other", l.person}, {l.shop, "mia"}, {l.shop, gone}, {l.shop, ""}} {
				if _, _, err := MintLink(tx, c[0], c[1], 0); !errors.Is(err, ErrUnknownCredential) {
					l.Errorf("%v: %v", c, err)
				}
			}
			for _, ttl := range []time.Duration{-time.Hour, time.Second, MaxLinkTime + 1} {
				if _, _, err := MintLink(tx, l.shop, l.person, ttl); err == nil {
					l.Errorf("a link for %s was made", ttl)
				}
			}
			return nil
		})
	})
}

func TestASessionEnds(t *testing.T) {
	inLobby(t, func(l *lobby) {
		for reason, end := range map[string]func(Session){
			"idle":    func(Session) { l.now = l.now.Add(SessionIdle) },
			"revoked": func(s Session) { l.do(func(tx *store.Tx) error { return RevokeSession(tx, l.shop, s.Person, s.ID) }) },
			"expired": func(s Session) {
				for range 15 { // used all the time
					l.now = l.now.Add(SessionIdle - time.Minute)
					l.do(func(tx *store.Tx) error { return SessionSeen(tx, s.ID) })
				}
			},
		} {
			s, secret := l.signIn(l.person, "")
			l.now = l.now.Add(SessionIdle - time.Second)
			p, err := l.opens(secret)
			if err != nil || p.ID != l.person || p.Session != s.ID || !p.StepUpAt.Equal(s.CreatedAt) || !p.Has(ApprovalsResolve) {
				l.Fatalf("%s: %+v, %v", reason, p, err)
			}
			end(s)
			if _, err := l.opens(secret); why(err) != reason {
				l.Errorf("%s: %v", reason, err)
			}
			l.do(func(tx *store.Tx) error { return SessionSeen(tx, s.ID) })
			if _, err := l.opens(secret); why(err) != reason {
				l.Errorf("a request brings a session back that is %s: %v", reason, err)
			}
			l.do(func(tx *store.Tx) error {
				if _, err := Hold(tx, p); why(err) != reason {
					l.Errorf("a session that is %s can still change something: %v", reason, err)
				}
				return nil
			})
		}
	})
}

func TestWhoIsDisabledIsSignedOutAtOnce(t *testing.T) {
	inLobby(t, func(l *lobby) {
		_, secret := l.signIn(l.person, "")
		l.do(func(tx *store.Tx) error { return RevokePerson(tx, l.shop, l.person) })
		if _, err := l.opens(secret); why(err) != "revoked" {
			l.Error(err)
		}
		// Somebody who is named as the one who left was does not get their session.
		l.do(func(tx *store.Tx) error { _, _, err := AddPerson(tx, l.shop, "mia", "admin"); return err })
		if p, err := l.opens(secret); err == nil {
			l.Errorf("it opens %+v", p)
		}
	})
}

func TestSigningInNeverKeepsWhatTheBrowserHeld(t *testing.T) {
	inLobby(t, func(l *lobby) {
		_, mias := l.signIn(l.person, "")
		other := l.add("noa")
		for _, held := range []string{mias, "planted", secret.New(secret.Session), ""} {
			_, fresh := l.signIn(other, held)
			if fresh == held {
				l.Error("the secret stayed")
			}
			if _, err := l.opens(held); err == nil {
				l.Errorf("what the browser held opens something: %q", held)
			}
			if p, err := l.opens(fresh); err != nil || p.ID != other {
				l.Errorf("%+v, %v", p, err)
			}
		}
	})
}

func TestSessionsAreEndedByTheirOwnersAndTheirMerchant(t *testing.T) {
	inLobby(t, func(l *lobby) {
		s, secret := l.signIn(l.person, "")
		noa := l.add("noa")
		_, hers := l.signIn(noa, "")
		l.do(func(tx *store.Tx) error {
			for _, c := range [][3]string{{l.shop, noa, s.ID}, {"mer_other", l.person, s.ID}, {"mer_other", "", s.ID}, {l.shop, l.person, "ses_none"}} {
				if err := RevokeSession(tx, c[0], c[1], c[2]); !errors.Is(err, store.ErrNotFound) {
					l.Errorf("%v: %v", c, err)
				}
			}
			if n, err := RevokeSessions(tx, "mer_other", l.person, ""); n != 0 || err != nil {
				l.Errorf("another merchant ended %d: %v", n, err)
			}
			return nil
		})
		kept, _ := l.signIn(l.person, "")
		l.do(func(tx *store.Tx) error {
			if n, err := RevokeSessions(tx, l.shop, l.person, kept.ID); n != 1 || err != nil {
				l.Errorf("ended %d: %v", n, err)
			}
			all, err := ListSessions(tx, l.shop, "", "", 10)
			if len(all) != 3 || all[0].ID != kept.ID {
				l.Errorf("listed %+v", all)
			}
			rest, err2 := ListSessions(tx, l.shop, l.person, kept.ID, 10)
			if len(rest) != 1 || rest[0].ID != s.ID || rest[0].State(tx.Now) != "revoked" {
				l.Errorf("listed %+v", rest)
			}
			return errors.Join(err, err2)
		})
		if _, err := l.opens(secret); why(err) != "revoked" {
			l.Error(err)
		}
		if _, err := l.opens(hers); err != nil {
			l.Error(err)
		}
	})
}

func TestSessionsOfAPersonAreBounded(t *testing.T) {
	inLobby(t, func(l *lobby) {
		_, oldest := l.signIn(l.person, "")
		for range maxKept + 5 {
			l.now = l.now.Add(time.Second)
			l.signIn(l.person, "")
		}
		if _, err := l.opens(oldest); err == nil {
			l.Error("the oldest is still open")
		}
		live := 0
		l.do(func(tx *store.Tx) error {
			all, err := ListSessions(tx, l.shop, l.person, "", 1000)
			for _, s := range all {
				if s.State(tx.Now) == "live" {
					live++
				}
			}
			if len(all) != maxKept || live != maxSessions {
				l.Errorf("%d sessions, %d of them live", len(all), live)
			}
			return err
		})
	})
}

func TestAgentTextIsCutAndPrintable(t *testing.T) {
	for given, want := range map[string]string{
		"Mozilla/5.0":             "Mozilla/5.0",
		"a\r\nb\x00\x1b[31m":      "a  b  [31m",
		"\xff\xfe":                " ",
		"a\u202eb":                "a b",
		strings.Repeat("é", 1000): strings.Repeat("é", maxAgentText/2) + "…",
	} {
		if got := agentText(given); got != want {
			t.Errorf("%q became %q", given, got)
		}
	}
}

func TestSecretsOfSessionsAndLinksAreNotStored(t *testing.T) {
	inLobby(t, func(l *lobby) {
		link := l.link(l.person, 0)
		_, cookie, err := l.come(link, "")
		if err != nil {
			l.Fatal(err)
		}
		l.do(func(tx *store.Tx) error {
			for q, plain := range map[string]string{`SELECT secret_sha256 FROM sessions`: cookie, `SELECT secret_sha256 FROM sign_in_links`: link} {
				var sum string
				if err := tx.QueryRow(q).Scan(&sum); err != nil || sum != secret.Hash(plain) {
					l.Errorf("%s: %q, %v", q, sum, err)
				}
			}
			return nil
		})
		for _, s := range []string{cookie, link} { // they open nothing but what they are for
			if _, err := authenticate(l.T, l.db, s); why(err) != "malformed" {
				l.Errorf("as a token it is %v", err)
			}
		}
	})
}
