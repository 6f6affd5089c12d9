package vault

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// tokens are what a provider gave. They do not print.
type tokens struct {
	Access  string `json:"access"`
	Refresh string `json:"refresh,omitempty"`
}

// Format keeps tokens out of every text that is made with fmt.
func (tokens) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[tokens]")) }

// binding names what a connection's tokens belong to, as AES-GCM's associated data. JSON keeps the parts apart whatever
// is in them.
func (c Connection) binding() []byte {
	return binding("tokens", c.Merchant, c.Person, c.Provider, c.ID, fmt.Sprint(c.Version))
}

func binding(parts ...string) []byte {
	b, _ := json.Marshal(parts) // strings cannot fail
	return b
}

func (r *ring) seal(text, bound []byte) (string, error) {
	raw, err := r.aead.Encrypt(text, bound)
	if err != nil {
		return "", fmt.Errorf("sealing: %w", err)
	}
	return base64.RawStdEncoding.EncodeToString(raw), nil
}

func (r *ring) unseal(sealed string, bound []byte) ([]byte, error) {
	raw, err := base64.RawStdEncoding.DecodeString(sealed)
	if err != nil {
		return nil, ErrSealed
	}
	text, err := r.aead.Decrypt(raw, bound)
	if err != nil {
		return nil, ErrSealed
	}
	return text, nil
}

// seal puts tokens into c as its row will have them.
func (c *Connection) seal(r *ring, t tokens) error {
	text, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("sealing: %w", err)
	}
	c.KeyID = r.primary
	c.sealed, err = r.seal(text, c.binding())
	return err
}

// open gives c's tokens.
func (c Connection) open(k *Keys) (t tokens, err error) {
	r, err := k.with(c.KeyID)
	if err != nil {
		return t, err
	}
	text, err := r.unseal(c.sealed, c.binding())
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return tokens{}, ErrSealed
	}
	return t, nil
}
