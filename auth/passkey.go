package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/dtcgate/dtcgate/store"
)

// maxPasskeys bounds a person's passkeys.
const maxPasskeys = 20

// ErrPasskey says that a browser's answer is not that of a new passkey for this person and this page.
var ErrPasskey = errors.New("the passkey was not accepted")

// A Passkey is a key pair on a person's device. Only the public half is here.
type Passkey struct {
	ID         string    `json:"id"`
	Merchant   string    `json:"merchant_id"`
	Person     string    `json:"person_id"`
	Name       string    `json:"name"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"`
}

// relyingParty gives what passkeys are bound to: the host of a page's origin, and that origin alone (W3C WebAuthn Level 3, 7.2). An IP address
// has none.
func relyingParty(origin string) (*webauthn.WebAuthn, error) {
	u, err := url.Parse(origin)
	if err != nil {
		return nil, err
	}
	return webauthn.New(&webauthn.Config{
		RPID: u.Hostname(), RPDisplayName: "dtcgate", RPOrigins: []string{origin},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey:      protocol.ResidentKeyRequirementRequired, // so that nobody has to say who they are
			UserVerification: protocol.VerificationRequired,           // a passkey is all that is asked for, so it has to be two factors
		},
	})
}

// TakesPasskeys reports whether a page of that origin can have passkeys.
func TakesPasskeys(origin string) bool {
	_, err := relyingParty(origin)
	return err == nil && protocol.ValidateRPID(hostOf(origin)) == nil
}

func hostOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// passkeyAlgorithms are what a new passkey may sign with.
var passkeyAlgorithms = []protocol.CredentialParameter{
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgES256},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgEdDSA},
	{Type: protocol.PublicKeyCredentialType, Algorithm: webauthncose.AlgRS256},
}

// holder is a person as webauthn wants to know one. The user handle is the person's id: opaque, and no secret.
type holder struct {
	Principal
	keys []webauthn.Credential
}

func (h holder) WebAuthnID() []byte                         { return []byte(h.ID) }
func (h holder) WebAuthnName() string                       { return h.Name }
func (h holder) WebAuthnDisplayName() string                { return h.Name }
func (h holder) WebAuthnCredentials() []webauthn.Credential { return h.keys }

// room refuses one passkey more than a person may have.
func (h holder) room() error {
	if len(h.keys) >= maxPasskeys {
		return fmt.Errorf("%w: you have %d; remove one first", ErrPasskey, len(h.keys))
	}
	return nil
}

// BeginPasskey gives what p's browser needs to make a passkey, as the JSON of PublicKeyCredentialCreationOptions.
func BeginPasskey(tx *store.Tx, origin string, p Principal) (json.RawMessage, Ceremony, error) {
	rp, err := relyingParty(origin)
	if err != nil {
		return nil, Ceremony{}, err
	}
	h, err := holderOf(tx, p)
	if err != nil {
		return nil, Ceremony{}, err
	}
	if err := h.room(); err != nil {
		return nil, Ceremony{}, err
	}
	options, session, err := rp.BeginRegistration(h, webauthn.WithCredentialParameters(passkeyAlgorithms),
		webauthn.WithExclusions(webauthn.Credentials(h.keys).CredentialDescriptors()))
	if err != nil {
		return nil, Ceremony{}, fmt.Errorf("beginning a passkey: %w", err)
	}
	c := newCeremony(tx.Now, ToRegister, origin, p.ID)
	c.Passkey = session
	raw, err := json.Marshal(options.Response)
	return raw, c, err
}

// AddPasskey stores the passkey that p's browser made.
func AddPasskey(tx *store.Tx, c Ceremony, p Principal, name string, response []byte) (Passkey, error) {
	if err := checkName(name); err != nil {
		return Passkey{}, err
	}
	if c.Passkey == nil || c.Person != p.ID {
		return Passkey{}, ErrPasskey
	}
	made, err := created(c, p, response)
	if err != nil {
		return Passkey{}, err
	}
	if err := c.end(tx); err != nil {
		return Passkey{}, err
	}
	h, err := holderOf(tx, p) // again: several may have begun while there was room for one
	if err == nil {
		err = h.room()
	}
	if err != nil {
		return Passkey{}, err
	}
	k := Passkey{ID: store.NewID("pk", tx.Now), Merchant: p.Merchant, Person: p.ID, Name: name, CreatedAt: tx.Now}
	record, err := json.Marshal(made)
	if err != nil {
		return Passkey{}, fmt.Errorf("writing the passkey: %w", err)
	}
	n, err := tx.Exec(`INSERT INTO passkeys (id, merchant_id, person_id, credential_id, name, record, sign_count, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
		k.ID, k.Merchant, k.Person, credentialID(made.ID), k.Name, string(record), int64(made.Authenticator.SignCount), store.Micros(k.CreatedAt))
	if err != nil {
		return Passkey{}, fmt.Errorf("storing the passkey: %w", err)
	}
	if n == 0 {
		return Passkey{}, ErrPasskey // somebody has this credential
	}
	return k, nil
}

func created(c Ceremony, p Principal, response []byte) (*webauthn.Credential, error) {
	rp, err := relyingParty(c.Origin)
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return nil, ErrPasskey
	}
	made, err := rp.CreateCredential(holder{Principal: p}, *c.Passkey, parsed)
	if err != nil {
		return nil, ErrPasskey
	}
	return made, nil
}

// BeginSignIn gives what a browser needs to ask for a passkey, as the JSON of PublicKeyCredentialRequestOptions. person is who has to answer, ""
// for anybody.
func BeginSignIn(now time.Time, origin, person string) (json.RawMessage, Ceremony, error) {
	rp, err := relyingParty(origin)
	if err != nil {
		return nil, Ceremony{}, err
	}
	options, session, err := rp.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return nil, Ceremony{}, fmt.Errorf("asking for a passkey: %w", err)
	}
	c := newCeremony(now, ToSignIn, origin, person)
	c.Passkey = session
	raw, err := json.Marshal(options.Response)
	return raw, c, err
}

// ProveByPasskey gives the person whose passkey signed. An answer that proves nobody is *Refused; so is one whose counter did not go on,
// since then two devices hold the key (WebAuthn Level 3, 6.1.1).
func ProveByPasskey(tx *store.Tx, c Ceremony, response []byte) (Proof, error) {
	if c.Passkey == nil {
		return Proof{}, &Refused{Why: "no ceremony"}
	}
	rp, err := relyingParty(c.Origin)
	if err != nil {
		return Proof{}, err
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return Proof{}, &Refused{Why: "malformed"}
	}
	var failed error // of the lookup; the library keeps only its text
	user, key, err := rp.ValidatePasskeyLogin(func(credential, handle []byte) (webauthn.User, error) {
		h, err := owner(tx, credential, handle)
		failed = err
		return h, err
	}, *c.Passkey, parsed)
	if failed != nil {
		return Proof{}, failed
	}
	if err != nil {
		return Proof{}, &Refused{Why: "signature"}
	}
	p := user.(holder).Principal
	use := func(tx *store.Tx) error {
		if err := noteUse(tx, p, key); err != nil {
			return err
		}
		return c.end(tx)
	}
	return Proof{Person: p, How: ByPasskey, At: tx.Now, use: use}, c.admits(p)
}

// owner finds the person of a credential and of the user handle that came with it, who have to be one.
func owner(tx *store.Tx, credential, handle []byte) (holder, error) {
	var person string
	err := tx.QueryRow(`SELECT person_id FROM passkeys WHERE credential_id = $1`, credentialID(credential)).Scan(&person)
	if errors.Is(err, store.ErrNotFound) || err == nil && person != string(handle) {
		return holder{}, &Refused{Why: "unknown"}
	}
	if err != nil {
		return holder{}, fmt.Errorf("reading the passkey: %w", err)
	}
	p, err := Live(tx, person)
	if err != nil {
		return holder{}, err
	}
	return holderOf(tx, p)
}

// noteUse keeps the counter of a passkey that was used. Of two uses with one counter the UPDATE lets one through.
func noteUse(tx *store.Tx, p Principal, key *webauthn.Credential) error {
	cloned := &Refused{Why: "cloned", Who: "person:" + p.ID, Merchant: p.Merchant}
	if key.Authenticator.CloneWarning {
		return cloned
	}
	record, err := json.Marshal(key)
	if err != nil {
		return fmt.Errorf("writing the passkey: %w", err)
	}
	count := int64(key.Authenticator.SignCount)
	n, err := tx.Exec(`UPDATE passkeys SET record = $1, sign_count = $2, last_used_at = $3
		WHERE credential_id = $4 AND (sign_count < $2 OR $2 = 0 AND sign_count = 0)`,
		string(record), count, store.Micros(tx.Now), credentialID(key.ID))
	if err != nil {
		return fmt.Errorf("noting the use of a passkey: %w", err)
	}
	if n == 0 {
		return cloned
	}
	return nil
}

// ListPasskeys gives a person's passkeys, oldest first.
func ListPasskeys(tx *store.Tx, merchant, person string) ([]Passkey, error) {
	return store.All(tx, func(r store.Row) (k Passkey, err error) {
		return k, r.Scan(&k.ID, &k.Merchant, &k.Person, &k.Name, store.At(&k.CreatedAt), store.At(&k.LastUsedAt))
	}, `SELECT id, merchant_id, person_id, name, created_at, last_used_at FROM passkeys WHERE merchant_id = $1 AND person_id = $2 ORDER BY id`,
		merchant, person)
}

// RemovePasskey forgets a person's passkey. It answers store.ErrNotFound for one that is not there or is somebody else's.
func RemovePasskey(tx *store.Tx, merchant, person, id string) error {
	n, err := tx.Exec(`DELETE FROM passkeys WHERE id = $1 AND merchant_id = $2 AND person_id = $3`, id, merchant, person)
	if err == nil && n == 0 {
		err = store.ErrNotFound
	}
	return err
}

func holderOf(tx *store.Tx, p Principal) (holder, error) {
	keys, err := store.All(tx, func(r store.Row) (k webauthn.Credential, err error) {
		var record string
		if err := r.Scan(&record); err != nil {
			return k, err
		}
		return k, json.Unmarshal([]byte(record), &k)
	}, `SELECT record FROM passkeys WHERE merchant_id = $1 AND person_id = $2 ORDER BY id`, p.Merchant, p.ID)
	if err != nil {
		return holder{}, fmt.Errorf("reading passkeys: %w", err)
	}
	return holder{Principal: p, keys: keys}, nil
}

func credentialID(id []byte) string { return base64.RawURLEncoding.EncodeToString(id) }
