package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/dtcgate/dtcgate/store"
)

const ourOrigin = "https://gate.example.com"

// A device is an authenticator with one key, and the browser that it is in (WebAuthn Level 3, 6.1 and 5.8.1).
type device struct {
	*testing.T
	key    *ecdsa.PrivateKey
	id     []byte
	user   string
	count  uint32
	origin string // of the page that asks
	host   string // that the key is for
	flags  byte
}

const (
	present  = 1 << 0
	verified = 1 << 2
	hasKey   = 1 << 6
)

func newDevice(t *testing.T) *device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	return &device{T: t, key: key, id: id, origin: ourOrigin, host: "gate.example.com", flags: present | verified}
}

func (d *device) marshal(v any, how func(any) ([]byte, error)) []byte {
	d.Helper()
	raw, err := how(v)
	if err != nil {
		d.Fatal(err)
	}
	return raw
}

// data is the authenticator data.
func (d *device) data(flags byte, more ...byte) []byte {
	d.count++
	sum := sha256.Sum256([]byte(d.host))
	return append(binary.BigEndian.AppendUint32(append(sum[:], flags), d.count), more...)
}

func (d *device) client(kind, challenge string) []byte {
	return d.marshal(map[string]any{"type": kind, "challenge": challenge, "origin": d.origin, "crossOrigin": false}, json.Marshal)
}

func (d *device) answer(response map[string]string) []byte {
	id := base64.RawURLEncoding.EncodeToString(d.id)
	return d.marshal(map[string]any{"id": id, "rawId": id, "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}}, json.Marshal)
}

// make answers a request for a new passkey.
func (d *device) make(c Ceremony) []byte {
	d.Helper()
	point, err := d.key.PublicKey.Bytes()
	if err != nil {
		d.Fatal(err)
	}
	cose := d.marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]}, cbor.Marshal)
	d.user = c.Person
	data := d.data(d.flags|hasKey, bytes.Join([][]byte{make([]byte, 16), binary.BigEndian.AppendUint16(nil, uint16(len(d.id))), d.id, cose}, nil)...)
	object := d.marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data}, cbor.Marshal)
	b64 := base64.RawURLEncoding.EncodeToString
	return d.answer(map[string]string{"clientDataJSON": b64(d.client("webauthn.create", c.Passkey.Challenge)), "attestationObject": b64(object)})
}

// sign answers a request to sign in.
func (d *device) sign(c Ceremony) []byte {
	d.Helper()
	data, client := d.data(d.flags), d.client("webauthn.get", c.Passkey.Challenge)
	sum := sha256.Sum256(client)
	sum = sha256.Sum256(append(bytes.Clone(data), sum[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, d.key, sum[:])
	if err != nil {
		d.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return d.answer(map[string]string{
		"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature), "userHandle": b64([]byte(d.user)),
	})
}

// register gives the lobby's person a passkey.
func (l *lobby) register(d *device) (err error) {
	l.Helper()
	return l.db.InTx(l.Context(), func(tx *store.Tx) error {
		p, err := Live(tx, l.person)
		if err != nil {
			return err
		}
		_, c, err := BeginPasskey(tx, ourOrigin, p)
		if err != nil {
			return err
		}
		_, err = AddPasskey(tx, c, p, "key", d.make(c))
		return err
	})
}

// ask begins to sign in with a passkey, in a time that the lobby's clock knows.
func (l *lobby) ask(person string) Ceremony {
	l.Helper()
	_, c, err := BeginSignIn(l.now, ourOrigin, person)
	if err != nil {
		l.Fatal(err)
	}
	return c
}

func (l *lobby) show(c Ceremony, response []byte) (s Session, err error) {
	err = l.db.InTx(l.Context(), func(tx *store.Tx) error {
		proof, err := ProveByPasskey(tx, c, response)
		if err != nil {
			return err
		}
		s, _, err = StartSession(tx, proof, "", "")
		return err
	})
	return s, err
}

func TestAPasskeySignsInItsPerson(t *testing.T) {
	inLobby(t, func(l *lobby) {
		d := newDevice(l.T)
		if err := l.register(d); err != nil {
			l.Fatal(err)
		}
		for range 3 {
			c := l.ask("")
			response := d.sign(c)
			if s, err := l.show(c, response); err != nil || s.Person != l.person || s.Method != ByPasskey || !s.StepUpAt.Equal(l.now) {
				l.Fatalf("%+v, %v", s, err)
			}
			if _, err := l.show(c, response); err == nil {
				l.Error("an answer counts twice")
			}
		}
		c := l.ask(l.person)
		if _, err := l.show(c, d.sign(c)); err != nil {
			l.Errorf("confirming: %v", err)
		}
		c = l.ask(l.add("noa"))
		if _, err := l.show(c, d.sign(c)); why(err) != "other person" {
			l.Errorf("confirming somebody else: %v", err)
		}
		l.do(func(tx *store.Tx) error {
			all, err := ListPasskeys(tx, l.shop, l.person)
			if len(all) != 1 || all[0].Name != "key" || !all[0].LastUsedAt.Equal(l.now) {
				l.Errorf("%+v", all)
			}
			if err := RemovePasskey(tx, "mer_other", l.person, all[0].ID); !errors.Is(err, store.ErrNotFound) {
				l.Errorf("another merchant removes it: %v", err)
			}
			return errors.Join(err, RemovePasskey(tx, l.shop, l.person, all[0].ID))
		})
		c = l.ask("")
		if _, err := l.show(c, d.sign(c)); why(err) != "unknown" {
			l.Errorf("a removed passkey: %v", err)
		}
	})
}

func TestAnswersOfPasskeysThatAreRefused(t *testing.T) {
	inLobby(t, func(l *lobby) {
		d := newDevice(l.T)
		if err := l.register(d); err != nil {
			l.Fatal(err)
		}
		foreign, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			l.Fatal(err)
		}
		for name, c := range map[string]struct {
			change func(*device, *Ceremony)
			why    string
		}{
			"for another challenge":        {func(_ *device, c *Ceremony) { c.Passkey.Challenge = l.ask("").Passkey.Challenge }, "signature"},
			"on another page":              {func(d *device, _ *Ceremony) { d.origin = "https://evil.example" }, "signature"},
			"on a neighbouring page":       {func(d *device, _ *Ceremony) { d.origin = "https://other.gate.example.com" }, "signature"},
			"on the same host without TLS": {func(d *device, _ *Ceremony) { d.origin = "http://gate.example.com" }, "signature"},
			"for another host":             {func(d *device, _ *Ceremony) { d.host = "evil.example" }, "signature"},
			"without looking who it is":    {func(d *device, _ *Ceremony) { d.flags = present }, "signature"},
			"with nobody there":            {func(d *device, _ *Ceremony) { d.flags = verified }, "signature"},
			"with another key":             {func(d *device, _ *Ceremony) { d.key = foreign }, "signature"},
			"of another credential":        {func(d *device, _ *Ceremony) { d.id = []byte("0123456789abcdef") }, "unknown"},
			"in another's name":            {func(d *device, _ *Ceremony) { d.user = l.add("noa" + store.NewID("x", l.now)) }, "unknown"},
			"with a counter set back":      {func(d *device, _ *Ceremony) { d.count = 0 }, "cloned"},
		} {
			copied, ceremony := *d, l.ask("")
			response := func() []byte {
				asked := ceremony
				session := *ceremony.Passkey
				asked.Passkey = &session
				c.change(&copied, &asked)
				return copied.sign(asked)
			}()
			if _, err := l.show(ceremony, response); why(err) != c.why {
				l.Errorf("%s: %v", name, err)
			}
		}
		if c := l.ask(""); true {
			if _, err := l.show(c, d.sign(c)); err != nil {
				l.Errorf("the right one: %v", err)
			}
		}
		l.do(func(tx *store.Tx) error { return RevokePerson(tx, l.shop, l.person) })
		c := l.ask("")
		if _, err := l.show(c, d.sign(c)); why(err) != "revoked" {
			l.Errorf("somebody who was disabled: %v", err)
		}
	})
}

// Two devices that hold one key are at one counter sooner or later; of two uses at once no more than one is let in.
func TestOneCounterIsGoodOnce(t *testing.T) {
	inLobby(t, func(l *lobby) {
		d := newDevice(l.T)
		if err := l.register(d); err != nil {
			l.Fatal(err)
		}
		var in atomic.Int64
		var all sync.WaitGroup
		for range 20 {
			c, copied := l.ask(""), *d
			response := copied.sign(c)
			all.Go(func() {
				switch _, err := l.show(c, response); {
				case err == nil:
					in.Add(1)
				case why(err) != "cloned":
					l.Error(err)
				}
			})
		}
		all.Wait()
		if in.Load() != 1 {
			l.Errorf("%d came in with one counter", in.Load())
		}
	})
}

func TestPasskeysThatAreNotTaken(t *testing.T) {
	inLobby(t, func(l *lobby) {
		for name, change := range map[string]func(*device){
			"on another page":           func(d *device) { d.origin = "https://evil.example" },
			"for another host":          func(d *device) { d.host = "example.com" },
			"without looking who it is": func(d *device) { d.flags = present },
		} {
			d := newDevice(l.T)
			change(d)
			if err := l.register(d); !errors.Is(err, ErrPasskey) {
				l.Errorf("%s: %v", name, err)
			}
		}
		d := newDevice(l.T)
		if err := l.register(d); err != nil {
			l.Fatal(err)
		}
		mia := l.person
		l.person = l.add("noa")
		if err := l.register(d); !errors.Is(err, ErrPasskey) {
			l.Errorf("a key of somebody else: %v", err)
		}
		l.person = mia
		late, begun := newDevice(l.T), Ceremony{}
		inTx(l.T, l.db, func(tx *store.Tx) error {
			p, err := Live(tx, l.person)
			if err == nil {
				_, begun, err = BeginPasskey(tx, ourOrigin, p)
			}
			return err
		})
		for range maxPasskeys - 1 {
			if err := l.register(newDevice(l.T)); err != nil {
				l.Fatal(err)
			}
		}
		if err := l.register(newDevice(l.T)); !errors.Is(err, ErrPasskey) {
			l.Errorf("one too many: %v", err)
		}
		err := l.db.InTx(l.Context(), func(tx *store.Tx) error {
			p, err := Live(tx, l.person)
			if err == nil {
				_, err = AddPasskey(tx, begun, p, "late", late.make(begun))
			}
			return err
		})
		if !errors.Is(err, ErrPasskey) {
			l.Errorf("one too many, begun in time: %v", err)
		}
	})
}

func TestWhereThereArePasskeys(t *testing.T) {
	for origin, want := range map[string]bool{
		"https://gate.example.com": true, "https://gate.example.com:8443": true, "http://localhost:8080": true,
		"http://127.0.0.1:8080": false, "http://[::1]:8080": false, "": false, "https://gate": false,
	} {
		if got := TakesPasskeys(origin); got != want {
			t.Errorf("%q: %t", origin, got)
		}
	}
}
