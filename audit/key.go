package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/store"
)

// LoadOrCreateSigner returns the signer kept in a file and its public key, and makes both when there is no file. The
// name is the log's: it is signed into every checkpoint, and a file of another name is refused. Processes that share
// a database should share the key.
func LoadOrCreateSigner(path, name string) (signer note.Signer, verifierKey string, err error) {
	signer, verifierKey, err = LoadSigner(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createKey(path, name); err != nil {
			return nil, "", fmt.Errorf("making the audit signing key: %w", err)
		}
		signer, verifierKey, err = LoadSigner(path)
	}
	if err != nil {
		return nil, "", err
	}
	if signer.Name() != name {
		return nil, "", fmt.Errorf("audit signing key %s belongs to log %q, not %q", path, signer.Name(), name)
	}
	return signer, verifierKey, nil
}

// LoadSigner returns the signer kept in a file and its public key. The error wraps fs.ErrNotExist when there is none.
func LoadSigner(path string) (signer note.Signer, verifierKey string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("reading the audit signing key: %w", err)
	}
	secret := strings.TrimSpace(string(b))
	signer, err = note.NewSigner(secret)
	if err != nil {
		return nil, "", fmt.Errorf("audit signing key %s is damaged; restore it from a backup: %w", path, err)
	}
	verifierKey, err = publicKey(signer.Name(), secret)
	if err != nil {
		return nil, "", fmt.Errorf("audit signing key %s: %w", path, err)
	}
	return signer, verifierKey, nil
}

// publicKey derives the verifier key from a note signer's secret, PRIVATE+KEY+name+hash+base64(algorithm, seed). The
// note package does so only when it makes a key.
func publicKey(name, secret string) (string, error) {
	fields := strings.SplitN(secret, "+", 5) // the base64 may hold a + of its own
	b, err := base64.StdEncoding.DecodeString(fields[len(fields)-1])
	if err != nil || len(b) != 1+ed25519.SeedSize {
		return "", errors.New("not an Ed25519 key")
	}
	public := ed25519.NewKeyFromSeed(b[1:]).Public().(ed25519.PublicKey)
	return note.NewEd25519VerifierKey(name, public)
}

// createKey writes a new key. A file that another process made meanwhile is left alone: linking a finished file, unlike
// writing in place, shows nobody half a key and replaces none.
func createKey(path, name string) error {
	secret, _, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return err
	}
	if _, err := note.NewSigner(secret); err != nil {
		return fmt.Errorf("a log's name has no spaces and no plus sign; this is %q", name)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(secret + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Verifiers reads public keys as LoadSigner and Keys give them.
func Verifiers(keys ...string) (note.Verifiers, error) {
	keys = slices.Compact(slices.Sorted(slices.Values(keys))) // a list that has a key twice knows it not at all
	list := make([]note.Verifier, len(keys))
	for i, key := range keys {
		v, err := note.NewVerifier(key)
		if err != nil {
			return nil, fmt.Errorf("audit public key %q: %w", key, err)
		}
		list[i] = v
	}
	return note.VerifierList(list...), nil
}

// Keys returns the public keys that have signed this log, by its own account: whoever owns the database could add one.
func Keys(tx *store.Tx) ([]string, error) {
	keys, err := store.All(tx, text, `SELECT key FROM audit_keys ORDER BY at, key`)
	if err != nil {
		return nil, fmt.Errorf("reading audit keys: %w", err)
	}
	return keys, nil
}
