package vault

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecuresecretdataaccess"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/secretdata"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// KeyVariable is the environment variable that master keys may stand in.
const KeyVariable = "DTCGATE_VAULT_KEY"

// Keys are the master keys: a short list of 256-bit keys in base64, one a line in a file, or separated by commas in the
// environment. The first seals, all open. A file that changes is read again, so that a running server follows a rotation.
//
// RotateKey puts a new key in front and seals everything under it. It keeps the one before until the next rotation, because
// a server may be about to store what it has sealed with it; Run seals such a straggler anew.
type Keys struct {
	path string // "" when they came from the environment

	mu   sync.Mutex
	read [sha256.Size]byte // of the text that ring was made from
	ring *ring
}

// ring is the keys at one time, ready for use.
type ring struct {
	aead    tink.AEAD
	primary string
	ids     []string
}

const (
	keySize = 32
	maxKeys = 16
	heading = "# Master keys of the vault: the first seals, all open. Keep a copy, apart from those of the database.\n"
)

// OpenKeys takes the keys from text when there is any, as the environment has them, and otherwise from the file at path,
// which is made with a new key when it is not there.
func OpenKeys(text, path string) (*Keys, error) {
	if text != "" {
		r, err := newRing(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", KeyVariable, err)
		}
		return &Keys{ring: r}, nil
	}
	k := &Keys{path: path}
	_, err := k.now()
	if errors.Is(err, fs.ErrNotExist) {
		if err := createKeyFile(path); err != nil {
			return nil, fmt.Errorf("making the vault's key: %w", err)
		}
		_, err = k.now()
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// now gives the keys as the file has them now. It is asked before anything is sealed.
func (k *Keys) now() (*ring, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.path == "" {
		return k.ring, nil
	}
	text, err := readKeyFile(k.path)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(text))
	if k.ring != nil && sum == k.read {
		return k.ring, nil
	}
	r, err := newRing(text)
	if err != nil {
		return nil, fmt.Errorf("the vault's key file %s: %w", k.path, err)
	}
	k.read, k.ring = sum, r
	return r, nil
}

// with gives keys that hold the named one, if the file has it.
func (k *Keys) with(id string) (*ring, error) {
	k.mu.Lock()
	r := k.ring
	k.mu.Unlock()
	if slices.Contains(r.ids, id) {
		return r, nil
	}
	r, err := k.now()
	if err == nil && !slices.Contains(r.ids, id) {
		err = ErrSealed
	}
	return r, err
}

func readKeyFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("reading the vault's key: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("everybody on this machine may use the vault's key: chmod 600 %s", path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the vault's key: %w", err)
	}
	return string(raw), nil
}

// parseKeys reads the keys of a text, the first first. No error repeats any of it.
func parseKeys(text string) ([][]byte, error) {
	var keys [][]byte
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		for _, field := range strings.FieldsFunc(line, func(r rune) bool { return r == ',' || r <= ' ' }) {
			key, err := base64.StdEncoding.DecodeString(field)
			if err != nil || len(key) != keySize {
				return nil, fmt.Errorf("key %d is not %d bytes in base64: make one with `openssl rand -base64 %d`", len(keys)+1, keySize, keySize)
			}
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 || len(keys) > maxKeys {
		return nil, fmt.Errorf("there are %d keys; 1 to %d are allowed", len(keys), maxKeys)
	}
	return keys, nil
}

func newRing(text string) (*ring, error) {
	keys, err := parseKeys(text)
	if err != nil {
		return nil, err
	}
	params, err := aesgcm.NewParameters(aesgcm.ParametersOpts{
		KeySizeInBytes: keySize, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantTink,
	})
	if err != nil {
		return nil, err
	}
	set, r := keyset.NewManager(), &ring{}
	for _, raw := range keys {
		number := keyNumber(raw)
		key, err := aesgcm.NewKey(secretdata.NewBytesFromData(raw, insecuresecretdataaccess.Token{}), number, params)
		if err != nil {
			return nil, err
		}
		if _, err := set.AddKey(key); err != nil {
			return nil, errors.New("a key is there twice")
		}
		r.ids = append(r.ids, keyID(number))
	}
	if err := set.SetPrimary(keyNumber(keys[0])); err != nil {
		return nil, err
	}
	handle, err := set.Handle()
	if err != nil {
		return nil, err
	}
	r.primary = r.ids[0]
	r.aead, err = aead.New(handle)
	return r, err
}

// keyNumber names a key in what it seals. It is made from the key, so that a list of keys needs no names.
func keyNumber(raw []byte) uint32 {
	sum := sha256.Sum256(append([]byte("dtcgate vault key\x00"), raw...))
	return binary.BigEndian.Uint32(sum[:])
}

func keyID(number uint32) string { return fmt.Sprintf("%08x", number) }

func newKey() string {
	raw := make([]byte, keySize)
	_, _ = rand.Read(raw) // never fails
	return base64.StdEncoding.EncodeToString(raw)
}

// createKeyFile writes a first key. A file that another process made meanwhile is left alone.
func createKeyFile(path string) error {
	return writeKeyFile(path, heading+newKey()+"\n", func(made string) error {
		if err := os.Link(made, path); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

// writeKeyFile writes a file beside path, whole and on disk, and has place put it there.
func writeKeyFile(path, text string, place func(made string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := place(f.Name()); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
