package audit

import (
	"errors"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/dtcgate/dtcgate/store"
)

// A TreeHead is what a signed checkpoint says: the first Size entries have the root Root. The zero TreeHead is that of a record nobody has signed.
type TreeHead struct {
	Size int64     `json:"size"`
	Root string    `json:"root"` // base64
	At   time.Time `json:"at"`
	Note string    `json:"note"` // the checkpoint itself, with its signatures
}

// TreeHeadQuery gives the row of the last checkpoint, for ScanTreeHead. It is a text so that it can be asked of a file that is no open database.
const TreeHeadQuery = `SELECT note FROM audit_checkpoints ORDER BY size DESC LIMIT 1`

// ScanTreeHead reads the row of TreeHeadQuery. Nobody has checked the signature.
func ScanTreeHead(r store.Row) (TreeHead, error) {
	var signed string
	if err := r.Scan(&signed); err != nil {
		return TreeHead{}, err
	}
	text, _, _ := strings.Cut(signed, "\n\n")
	c, err := parseCheckpoint(text + "\n")
	if err != nil {
		return TreeHead{}, errors.New("the last checkpoint: " + err.Error())
	}
	return TreeHead{Size: c.size, Root: c.root.String(), At: c.at, Note: signed}, nil
}

// OpenTreeHead reads a checkpoint that was kept outside, if it is signed by a key of trusted.
func OpenTreeHead(signed string, trusted note.Verifiers) (TreeHead, error) {
	c, err := openCheckpoint(signed, trusted)
	if err != nil {
		return TreeHead{}, err
	}
	return TreeHead{Size: c.size, Root: c.root.String(), At: c.at, Note: signed}, nil
}
