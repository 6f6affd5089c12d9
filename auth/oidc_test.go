package auth

import (
	"errors"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// arrive signs in as an identity, in a ceremony of its own.
func (l *lobby) arrive(o *OIDC, id Identity, person string) (Proof, error) {
	return l.arriveIn(o, id, newCeremony(l.now, ToSignOIDC, "https://gate.example.com", person))
}

func (l *lobby) arriveIn(o *OIDC, id Identity, c Ceremony) (proof Proof, err error) {
	return proof, l.db.InTx(l.Context(), func(tx *store.Tx) error {
		if proof, err = o.Prove(tx, c, id); err != nil {
			return err
		}
		_, _, err = StartSession(tx, proof, "", "")
		return err
	})
}

func (l *lobby) email(person, address string) error {
	return l.db.InTx(l.Context(), func(tx *store.Tx) error { return SetEmail(tx, l.shop, person, address) })
}

func exampleProvider(t *testing.T) *OIDC {
	t.Helper()
	o, err := NewOIDC(OIDCConfig{Issuer: "https://login.example.com", ClientID: "dtcgate", Domains: []string{"example.com"}}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestAnAccountIsLinkedByAVerifiedAddressOnce(t *testing.T) {
	inLobby(t, func(l *lobby) {
		o := exampleProvider(l.T)
		if err := l.email(l.person, "Mia@Example.com"); err != nil {
			l.Fatal(err)
		}
		mia := Identity{Issuer: "https://login.example.com", Subject: "u1", Email: "mia@example.com"}
		for name, id := range map[string]Identity{
			"no address":      {Issuer: mia.Issuer, Subject: "u2"},
			"another address": {Issuer: mia.Issuer, Subject: "u2", Email: "noa@example.com"},
			"another domain":  {Issuer: mia.Issuer, Subject: "u2", Email: "mia@example.org"},
		} {
			if _, err := l.arrive(o, id, ""); why(err) != "unknown" {
				l.Errorf("%s: %v", name, err)
			}
		}
		if proof, err := l.arrive(o, mia, ""); err != nil || proof.Person.ID != l.person {
			l.Fatalf("%+v, %v", proof, err)
		}
		// From now on the account counts and not the address, which may be given to somebody else.
		mia.Email = ""
		if _, err := l.arrive(o, mia, ""); err != nil {
			l.Error(err)
		}
		heir := Identity{Issuer: mia.Issuer, Subject: "u2", Email: "mia@example.com"}
		if _, err := l.arrive(o, heir, ""); why(err) != "other account" {
			l.Errorf("who inherits the address: %v", err)
		}
		if err := l.email(l.person, "mia.new@example.com"); err != nil {
			l.Fatal(err)
		}
		if _, err := l.arrive(o, mia, ""); why(err) != "unknown" {
			l.Errorf("the account of an address that was withdrawn: %v", err)
		}
	})
}

func TestAnAddressOfTwoMerchantsIsNobodys(t *testing.T) {
	inLobby(t, func(l *lobby) {
		o := exampleProvider(l.T)
		err := l.email(l.person, "mia@example.com")
		l.do(func(tx *store.Tx) error {
			m, err := EnsureMerchant(tx, "other")
			if err != nil {
				return err
			}
			p, _, err := AddPerson(tx, m.ID, "mia", "admin")
			return errors.Join(err, SetEmail(tx, m.ID, p.ID, "mia@example.com"))
		})
		if err != nil {
			l.Fatal(err)
		}
		if proof, err := l.arrive(o, Identity{Issuer: "https://login.example.com", Subject: "u1", Email: "mia@example.com"}, ""); why(err) != "unknown" {
			l.Errorf("it is %+v, %v", proof.Person, err)
		}
		if err := l.email(l.add("noa"), "mia@example.com"); !errors.Is(err, ErrEmailTaken) {
			l.Errorf("two people of one merchant have one address: %v", err)
		}
	})
}

func TestACeremonyIsUsedOnceAndByWhomItIsFor(t *testing.T) {
	inLobby(t, func(l *lobby) {
		o := exampleProvider(l.T)
		if err := l.email(l.person, "mia@example.com"); err != nil {
			l.Fatal(err)
		}
		mia := Identity{Issuer: "https://login.example.com", Subject: "u1", Email: "mia@example.com"}
		c := newCeremony(l.now, ToSignOIDC, "https://gate.example.com", "")
		if _, err := l.arriveIn(o, mia, c); err != nil {
			l.Fatal(err)
		}
		if _, err := l.arriveIn(o, mia, c); why(err) != "used" {
			l.Errorf("the second time: %v", err)
		}
		if _, err := l.arrive(o, mia, l.add("noa")); why(err) != "other person" {
			l.Errorf("confirming somebody else: %v", err)
		}
	})
}

func TestSealedCeremonies(t *testing.T) {
	inLobby(t, func(l *lobby) {
		c := newCeremony(l.now, ToSignIn, "https://gate.example.com", l.person)
		var sealed string
		l.do(func(tx *store.Tx) (err error) {
			sealed, err = SealCeremony(tx, c)
			return err
		})
		open := func(sealed string, purpose Purpose) (got Ceremony, err error) {
			l.do(func(tx *store.Tx) error {
				got, err = OpenCeremony(tx, sealed, purpose)
				return nil
			})
			return got, err
		}
		if got, err := open(sealed, ToSignIn); err != nil || got.ID != c.ID || got.Person != l.person {
			l.Fatalf("%+v, %v", got, err)
		}
		for name, text := range map[string]string{"none": "", "no seal": "abc", "cut": sealed[:len(sealed)-2], "changed": "A" + sealed[1:]} {
			if _, err := open(text, ToSignIn); why(err) != "no ceremony" && text != sealed {
				l.Errorf("%s: %v", name, err)
			}
		}
		if _, err := open(sealed, ToRegister); why(err) != "no ceremony" {
			l.Errorf("for another purpose: %v", err)
		}
		l.now = l.now.Add(CeremonyTime)
		if _, err := open(sealed, ToSignIn); why(err) != "late" {
			l.Errorf("too late: %v", err)
		}
	})
}

func TestProvidersAreReachedOverHTTPS(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://login.example.com":             true,
		"https://login.example.com/realms/a":    true,
		"http://localhost:8080":                 true,
		"http://127.0.0.1:8080":                 true,
		"http://[::1]:8080":                     true,
		"http://login.example.com":              false,
		"http://localhost.example.com":          false,
		"javascript:alert(1)":                   false,
		"javascript://login.example.com/%0aa":   false,
		"data:text/html,x":                      false,
		"ftp://login.example.com":               false,
		"//login.example.com":                   false,
		"login.example.com":                     false,
		"":                                      false,
		"https://":                              false,
		"https://user:secret@login.example.com": false,
		"https://login.example.com#x":           false,
		" https://login.example.com":            false,
		"https://login.example.com\n":           false,
		"file:///etc/passwd":                    false,
		"https://10.0.0.1":                      false,
		"https://169.254.169.254":               false,
	} {
		_, err := NewOIDC(OIDCConfig{Issuer: address, ClientID: "dtcgate"}, time.Now)
		if (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
	if checkEndpoint("http://localhost/authorize", false) == nil || checkEndpoint("https://localhost/authorize", false) == nil {
		t.Error("a provider elsewhere sends people to this machine")
	}
}

func TestAddresses(t *testing.T) {
	for given, want := range map[string]string{
		"mia@example.com": "mia@example.com", "Mia.B+c@Example.COM": "mia.b+c@example.com",
		"": "", "mia": "", "@example.com": "", "mia@": "", "mia@example": "", "mia@@example.com": "", "mia@ex ample.com": "",
		"<mia@example.com>": "", "mia@example.com, noa@example.com": "", "mia@example.com\n": "", "mıa@example.com": "", "mia@example.\u212Aom": "",
		`"mia"@example.com`: "", "mia@[127.0.0.1]": "", "mia@example..com": "", "mia@example.com.": "",
	} {
		if got, err := ParseEmail(given); got != want || (err == nil) != (want != "") {
			t.Errorf("%q became %q, %v", given, got, err)
		}
	}
}
