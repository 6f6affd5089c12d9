package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/dtcgate/dtcgate/store"
)

// ErrTampered is wrapped by the sequencer's errors when the stored record contradicts itself. It then numbers nothing
// more: a signature must not cover what Verify would reject.
var ErrTampered = errors.New("the audit record has been tampered with; run audit verify")

// checkpoint is a signed statement of the tree's root at a size. The text that is signed is a c2sp.org/tlog-checkpoint
// with one extension line, which links each checkpoint to the one before: none can be taken out unseen.
type checkpoint struct {
	origin   string // name of the log, and of its key
	size     int64
	root     tlog.Hash
	previous int64 // size of the checkpoint before; 0 at the first
	at       time.Time
}

func (c checkpoint) String() string {
	return fmt.Sprintf("%s\n%d\n%s\nprevious %d at %d\n", c.origin, c.size, c.root, c.previous, c.at.UnixMicro())
}

// maxSize is more entries than a log can have; the tree's arithmetic is good up to it.
const maxSize = 1 << 52

// parseCheckpoint reads the text of a note. It is strict: only what String writes is read.
func parseCheckpoint(text string) (checkpoint, error) {
	var c checkpoint
	var root string
	var micros int64
	origin, rest, _ := strings.Cut(text, "\n")
	if _, err := fmt.Sscanf(rest, "%d\n%s\nprevious %d at %d\n", &c.size, &root, &c.previous, &micros); err != nil {
		return c, errors.New("its text is not a checkpoint's")
	}
	c.origin, c.at = origin, time.UnixMicro(micros).UTC()
	var err error
	if c.root, err = tlog.ParseHash(root); err != nil || c.String() != text || c.previous < 0 || c.size <= c.previous || c.size > maxSize {
		return c, errors.New("its text is not a checkpoint's")
	}
	return c, nil
}

func (c checkpoint) sign(signer note.Signer) (string, error) {
	signed, err := note.Sign(&note.Note{Text: c.String()}, signer)
	if err != nil {
		return "", fmt.Errorf("signing a checkpoint: %w", err)
	}
	return string(signed), nil
}

// openCheckpoint checks a signed checkpoint's signature and reads it. Signatures by unknown keys beside a known one are
// ignored, so that a copy kept elsewhere may carry a witness's.
func openCheckpoint(signed string, verifiers note.Verifiers) (checkpoint, error) {
	n, err := note.Open([]byte(signed), verifiers)
	if err != nil {
		return checkpoint{}, errors.New(strings.TrimPrefix(err.Error(), "note: "))
	}
	c, err := parseCheckpoint(n.Text)
	if err == nil && c.origin != n.Sigs[0].Name {
		err = fmt.Errorf("the key of log %q signed for log %q", n.Sigs[0].Name, c.origin)
	}
	return c, err
}

// stored is a row of audit_checkpoints.
type stored struct {
	size int64
	note string
	at   time.Time
}

func scanStored(r store.Row) (stored, error) {
	var s stored
	err := r.Scan(&s.size, &s.note, store.At(&s.at))
	return s, err
}

// open is openCheckpoint for the row this program wrote: not a byte may differ from what it would write again.
func (s stored) open(verifiers note.Verifiers) (checkpoint, error) {
	c, err := openCheckpoint(s.note, verifiers)
	if err != nil {
		return c, err
	}
	if c.size != s.size || !c.at.Equal(s.at) {
		return c, errors.New("its columns differ from what was signed")
	}
	if s.note != canonical(s.note) {
		return c, errors.New("its signature is not as it was written")
	}
	return c, nil
}

// A Checkpoint is a signed root as it leaves the house.
type Checkpoint struct {
	Size int64     `json:"size"` // how many entries it covers
	At   time.Time `json:"at"`
	Note string    `json:"note"` // a c2sp.org/tlog-checkpoint in the form of a signed note
}

// LastCheckpoint gives the newest checkpoint, or store.ErrNotFound when none was signed yet.
func LastCheckpoint(tx *store.Tx) (Checkpoint, error) {
	return storedCheckpoint(tx, `ORDER BY size DESC LIMIT 1`)
}

// FirstCheckpoint gives the oldest checkpoint, or store.ErrNotFound.
func FirstCheckpoint(tx *store.Tx) (Checkpoint, error) {
	return storedCheckpoint(tx, `ORDER BY size LIMIT 1`)
}

// CheckpointOf gives the checkpoint of that many entries, or store.ErrNotFound.
func CheckpointOf(tx *store.Tx, size int64) (Checkpoint, error) {
	return storedCheckpoint(tx, `WHERE size = $1`, size)
}

// CheckpointAfter gives the first checkpoint of more entries than that, or store.ErrNotFound.
func CheckpointAfter(tx *store.Tx, size int64) (Checkpoint, error) {
	return storedCheckpoint(tx, `WHERE size > $1 ORDER BY size LIMIT 1`, size)
}

func storedCheckpoint(tx *store.Tx, which string, args ...any) (Checkpoint, error) {
	s, err := store.One(tx, scanStored, `SELECT size, note, at FROM audit_checkpoints `+which, args...)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("reading a checkpoint: %w", err)
	}
	return Checkpoint{s.size, s.at, s.note}, nil
}

// OpenCheckpoint checks a checkpoint's signature and reads it.
func OpenCheckpoint(note string, trusted note.Verifiers) (Checkpoint, error) {
	c, err := openCheckpoint(note, trusted)
	return Checkpoint{c.size, c.at, note}, err
}

// KeyOf names the key that signed a note, by the name and the hash that stand before each signature: the first two parts of
// the public key, with a plus sign between. It is empty for what is no signed note. It says nothing about who signed.
func KeyOf(signed string) string {
	_, err := note.Open([]byte(signed), note.VerifierList())
	if unknown := (*note.UnverifiedNoteError)(nil); errors.As(err, &unknown) {
		s := unknown.Note.UnverifiedSigs[0]
		return fmt.Sprintf("%s+%08x", s.Name, s.Hash)
	}
	return ""
}

// canonical rewrites a note's signature. Base64 leaves bits of its last character unused, and a note may repeat
// signatures: both can change without making the note invalid.
func canonical(signed string) string {
	text, signature, _ := strings.Cut(signed, "\n\n")
	name, b64, _ := strings.Cut(strings.TrimPrefix(signature, "— "), " ")
	b, _ := base64.StdEncoding.DecodeString(strings.TrimSuffix(b64, "\n"))
	return text + "\n\n— " + name + " " + base64.StdEncoding.EncodeToString(b) + "\n"
}
