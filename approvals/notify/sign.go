package notify

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The headers of a message (Standard Webhooks, "Webhook headers").
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp" // unix seconds of the attempt
	headerSignature = "webhook-signature"
)

const (
	secretPrefix = "whsec_"
	secretSize   = 32 // bytes; the standard allows 24 to 64
)

// secrets are what an endpoint's messages are signed with: the present one and, while it is being rotated, the one before. They do not print.
type secrets struct {
	Now string `json:"now"`
	Old string `json:"old,omitempty"`
}

// Format keeps secrets out of every text that is made with fmt.
func (secrets) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secrets]")) }

func newSecret() string {
	raw := make([]byte, secretSize)
	_, _ = rand.Read(raw) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(raw)
}

func readSecrets(text []byte) (s secrets, err error) {
	if err := json.Unmarshal(text, &s); err != nil {
		return secrets{}, fmt.Errorf("reading the secrets of an endpoint: %w", err)
	}
	return s, nil
}

// sign gives the signature header: one signature for each secret, with a space between them, so that a receiver that knows only one of them
// is content.
func (s secrets) sign(id string, at time.Time, body []byte) (string, error) {
	var all []string
	for _, secret := range []string{s.Now, s.Old} {
		if secret == "" {
			continue
		}
		one, err := signature(secret, id, at, body)
		if err != nil {
			return "", err
		}
		all = append(all, one)
	}
	return strings.Join(all, " "), nil
}

// signature is version 1, the symmetric one: HMAC-SHA256 over id, time and body with a dot between them.
func signature(secret, id string, at time.Time, body []byte) (string, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil {
		return "", fmt.Errorf("the secret of an endpoint is not base64: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, unix(at))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
