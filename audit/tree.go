package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/dtcgate/dtcgate/store"
)

// leaf is the hash by which an entry stands in the tree: RFC 6962's, over the id, a newline and the body as stored.
func leaf(id, body string) tlog.Hash {
	data := make([]byte, 0, len(id)+1+len(body))
	data = append(data, id...)
	data = append(data, '\n')
	data = append(data, body...)
	return tlog.RecordHash(data)
}

// edge is the right edge of a tree: the last complete subtree of each level. It is all that growing a tree and
// computing its root need.
type edge struct {
	size int64
	last [64]tlog.Hash
}

// add appends a leaf and returns the hashes it completes, leaf first.
func (e *edge) add(leaf tlog.Hash) ([]tlog.Hash, error) {
	hashes, err := tlog.StoredHashesForRecordHash(e.size, leaf, e)
	if err != nil {
		return nil, err
	}
	copy(e.last[:], hashes)
	e.size++
	return hashes, nil
}

func (e *edge) root() (tlog.Hash, error) { return tlog.TreeHash(e.size, e) }

// ReadHashes makes edge a tlog.HashReader.
func (e *edge) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		if n != e.size>>level-1 {
			return nil, fmt.Errorf("hash %d of level %d is not on the edge of a tree of %d", n, level, e.size)
		}
		hashes[i] = e.last[level]
	}
	return hashes, nil
}

// row is the text of audit_tree.hashes.
func row(hashes []tlog.Hash) string {
	b := make([]byte, 0, 2*tlog.HashSize*len(hashes))
	for _, h := range hashes {
		b = hex.AppendEncode(b, h[:])
	}
	return string(b)
}

// leafOf is the leaf in a text of audit_tree.hashes.
func leafOf(hashes string) (leaf tlog.Hash, err error) {
	if len(hashes) < 2*tlog.HashSize {
		return leaf, errors.New("its hash is gone from the tree")
	}
	_, err = hex.Decode(leaf[:], []byte(hashes[:2*tlog.HashSize]))
	return leaf, err
}

// loadEdge reads the edge of the stored tree of that size. Each bit of size is a complete subtree; its hash stands with
// the entry that completed it.
func loadEdge(tx *store.Tx, size int64) (edge, error) {
	e := edge{size: size}
	for level := range e.last {
		if size>>level&1 == 0 {
			continue
		}
		seq := size >> level << level
		hashes, err := store.One(tx, text, `SELECT hashes FROM audit_tree WHERE seq = $1`, seq)
		if err != nil {
			return e, fmt.Errorf("reading the tree at entry %d: %w", seq, err)
		}
		digits := 2 * tlog.HashSize
		if len(hashes) < (level+1)*digits {
			return e, fmt.Errorf("%w: the tree at entry %d is cut short", ErrTampered, seq)
		}
		if _, err := hex.NewDecoder(strings.NewReader(hashes[level*digits:])).Read(e.last[level][:]); err != nil {
			return e, fmt.Errorf("%w: the tree at entry %d: %w", ErrTampered, seq, err)
		}
	}
	return e, nil
}

func text(r store.Row) (string, error) {
	var s string
	err := r.Scan(&s)
	return s, err
}
