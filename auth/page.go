package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/dtcgate/dtcgate/store"
)

// ErrForeign is the answer to a sealed text that was not made here, or was made for something else.
var ErrForeign = errors.New("the text was not sealed for this")

// Seal encrypts text so that Unseal gives it back for the same binding only (AES-256-GCM, a random nonce of 96 bits). The key is the database's,
// so that every process on it can open what another has sealed.
func Seal(tx *store.Tx, text []byte, binding string) (string, error) {
	aead, err := pageCipher(tx)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return "", fmt.Errorf("sealing: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, text, []byte(binding))), nil
}

// Unseal gives back what was sealed for the binding. Anything else is ErrForeign.
func Unseal(tx *store.Tx, sealed, binding string) ([]byte, error) {
	aead, err := pageCipher(tx)
	if err != nil {
		return nil, err
	}
	raw, err := unbase64(sealed)
	if err != nil || len(raw) < aead.NonceSize() {
		return nil, ErrForeign
	}
	text, err := aead.Open(nil, raw[:aead.NonceSize()], raw[aead.NonceSize():], []byte(binding))
	if err != nil {
		return nil, ErrForeign
	}
	return text, nil
}

func pageCipher(tx *store.Tx) (cipher.AEAD, error) {
	var secret string
	if err := tx.QueryRow("SELECT secret FROM page_keys WHERE id = 'cursors'").Scan(&secret); err != nil {
		return nil, fmt.Errorf("reading the key of cursors: %w", err)
	}
	key, err := hex.DecodeString(secret)
	if err != nil {
		return nil, fmt.Errorf("reading the key of cursors: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("reading the key of cursors: %w", err)
	}
	return cipher.NewGCM(block)
}
