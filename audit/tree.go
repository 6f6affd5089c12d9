package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/dtcgate/dtcgate/store"
)

// leaf is the hash by which an entry stands in the tree: RFC 6962's, over the id, a newline and the body as stored.
func leaf(id, body string) tlog.Hash {
	h, _ := leafIn(nil, id, body)
	return h
}

// leafIn is leaf with room to work in, which it gives back for the next one.
func leafIn(room []byte, id, body string) (tlog.Hash, []byte) {
	room = append(room[:0], 0x00) // a leaf and no node (RFC 6962, 2.1)
	room = append(room, id...)
	room = append(room, '\n')
	room = append(room, body...)
	return sha256.Sum256(room), room
}

// edge is the right edge of a tree: the last complete subtree of each level. It is all that growing a tree and
// computing its root need.
type edge struct {
	size int64
	last [64]tlog.Hash
}

// add appends a leaf and returns the hashes it completes, leaf first. They are good until the next leaf.
func (e *edge) add(leaf tlog.Hash) []tlog.Hash {
	level := 0
	for h := leaf; ; level++ {
		left := e.last[level]
		e.last[level] = h
		if e.size>>level&1 == 0 {
			break
		}
		h = tlog.NodeHash(left, h)
	}
	e.size++
	return e.last[:level+1]
}

// root joins the complete subtrees that make up the tree, from the smallest on the right to the largest. The root of no
// entries is the hash of nothing.
func (e *edge) root() tlog.Hash {
	root, joined := tlog.Hash(sha256.Sum256(nil)), false
	for level, left := range e.last {
		switch {
		case e.size>>level&1 == 0:
		case joined:
			root = tlog.NodeHash(left, root)
		default:
			root, joined = left, true
		}
	}
	return root
}

const hashDigits = 2 * tlog.HashSize

// appendRow adds the text of audit_tree.hashes to b.
func appendRow(b []byte, hashes []tlog.Hash) []byte {
	for _, h := range hashes {
		b = hex.AppendEncode(b, h[:])
	}
	return b
}

// row is the text of audit_tree.hashes.
func row(hashes []tlog.Hash) string {
	return string(appendRow(make([]byte, 0, hashDigits*len(hashes)), hashes))
}

// hashIn reads one hash of a row of audit_tree.
func hashIn(row string, level int) (h tlog.Hash, err error) {
	if len(row) < (level+1)*hashDigits {
		return h, fmt.Errorf("%w: its row of the tree is cut short", ErrTampered)
	}
	if _, err := hex.NewDecoder(strings.NewReader(row[level*hashDigits:])).Read(h[:]); err != nil {
		return h, fmt.Errorf("%w: its row of the tree: %w", ErrTampered, err)
	}
	return h, nil
}

// storedTree is the tree in the database, for who makes proofs. What it reads is not checked: a proof is.
type storedTree struct{ tx *store.Tx }

// ReadHashes makes storedTree a tlog.HashReader. A subtree's hash stands with the entry that completed it.
func (t storedTree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	if len(indexes) == 0 {
		return hashes, nil
	}
	rows, err := t.rows(indexes)
	if err != nil {
		return nil, err
	}
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		seq := (n + 1) << level
		if hashes[i], err = hashIn(rows[seq], level); err != nil {
			return nil, fmt.Errorf("entry %d: %w", seq, err)
		}
	}
	return hashes, nil
}

func (t storedTree) rows(indexes []int64) (map[int64]string, error) {
	numbers := make([]int64, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		numbers[i] = (n + 1) << level
	}
	type found struct {
		seq    int64
		hashes string
	}
	var args []any
	all, err := store.All(t.tx, func(r store.Row) (f found, err error) { return f, r.Scan(&f.seq, &f.hashes) },
		`SELECT seq, hashes FROM audit_tree WHERE seq IN (`+marks(&args, numbers...)+`)`, args...)
	if err != nil {
		return nil, fmt.Errorf("reading the tree: %w", err)
	}
	rows := make(map[int64]string, len(all))
	for _, f := range all {
		rows[f.seq] = f.hashes
	}
	return rows, nil
}

// loadEdge reads the edge of the stored tree of that size. Each bit of size is a complete subtree.
func loadEdge(tx *store.Tx, size int64) (edge, error) {
	e := edge{size: size}
	var levels []int
	var indexes []int64
	for level := range e.last {
		if size>>level&1 == 1 {
			levels, indexes = append(levels, level), append(indexes, tlog.StoredHashIndex(level, size>>level-1))
		}
	}
	hashes, err := storedTree{tx}.ReadHashes(indexes)
	if err != nil {
		return e, err
	}
	for i, level := range levels {
		e.last[level] = hashes[i]
	}
	return e, nil
}

func text(r store.Row) (string, error) {
	var s string
	err := r.Scan(&s)
	return s, err
}
