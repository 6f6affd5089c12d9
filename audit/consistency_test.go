package audit

import (
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// fullSize is how many of something a test does: a few, or as many as an environment variable says.
func fullSize(t testing.TB, variable string, few int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return few
	}
	n, err := strconv.Atoi(text)
	fatalIf(t, err)
	return n
}

// rfcConsistency checks a consistency proof as RFC 9162, 2.1.4.2 says it step by step: a second implementation, with
// nothing in common with the one that is used.
func rfcConsistency(first, second int64, firstHash, secondHash tlog.Hash, path []tlog.Hash) bool {
	if first == second {
		return len(path) == 0 && firstHash == secondHash
	}
	if first&(first-1) == 0 { // step 2: an exact power of 2
		path = append([]tlog.Hash{firstHash}, path...)
	}
	if len(path) == 0 { // step 1
		return false
	}
	fn, sn := first-1, second-1 // step 3
	for fn&1 == 1 {             // step 4
		fn, sn = fn>>1, sn>>1
	}
	fr, sr := path[0], path[0] // step 5
	for _, c := range path[1:] {
		if sn == 0 {
			return false
		}
		if fn&1 == 1 || fn == sn {
			fr, sr = tlog.NodeHash(c, fr), tlog.NodeHash(c, sr)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			sr = tlog.NodeHash(sr, c)
		}
		fn, sn = fn>>1, sn>>1
	}
	return fr == firstHash && sr == secondHash && sn == 0 // step 7
}

// rfcInclusion is RFC 9162, 2.1.3.2.
func rfcInclusion(index, size int64, leaf, root tlog.Hash, path []tlog.Hash) bool {
	if index >= size {
		return false
	}
	fn, sn, r := index, size-1, leaf
	for _, p := range path {
		if sn == 0 {
			return false
		}
		if fn&1 == 1 || fn == sn {
			r = tlog.NodeHash(p, r)
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			r = tlog.NodeHash(r, p)
		}
		fn, sn = fn>>1, sn>>1
	}
	return sn == 0 && r == root
}

// memoryTree is a tree as audit_tree has it: row i is what entry i+1 completed. roots are those of all its sizes.
type memoryTree struct {
	leaves, roots []tlog.Hash
	rows          []string
}

func newMemoryTree(n int) (m memoryTree) {
	var e edge
	for i := range n {
		l := leaf("aud", strconv.Itoa(i))
		m.leaves = append(m.leaves, l)
		m.rows = append(m.rows, row(e.add(l)))
		m.roots = append(m.roots, e.root())
	}
	return m
}

func (m memoryTree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		h, err := hashIn(m.rows[(n+1)<<level-1], level)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, h)
	}
	return hashes, nil
}

// agree proves that n entries became size, and holds the proof to both implementations; then a bit of it is changed.
func (m memoryTree) agree(t *testing.T, n, size int64, r *rand.Rand) {
	t.Helper()
	from, to := m.roots[n-1], m.roots[size-1]
	proof, err := tlog.ProveTree(size, n, m)
	fatalIf(t, err)
	if err := tlog.CheckTree(proof, size, to, n, from); err != nil || !rfcConsistency(n, size, from, to, proof) {
		t.Fatalf("from %d to %d: the library says %v, RFC 9162 something else", n, size, err)
	}
	m.differ(t, proof, func(p []tlog.Hash) (bool, bool) {
		return tlog.CheckTree(p, size, to, n, from) == nil, rfcConsistency(n, size, from, to, p)
	}, r)
}

// differ changes a bit of a proof, and has both implementations refuse it.
func (m memoryTree) differ(t *testing.T, proof []tlog.Hash, check func([]tlog.Hash) (bool, bool), r *rand.Rand) {
	t.Helper()
	if len(proof) == 0 {
		return
	}
	changed := append([]tlog.Hash{}, proof...)
	changed[r.IntN(len(changed))][r.IntN(tlog.HashSize)] ^= 1 << r.IntN(8)
	for _, p := range [][]tlog.Hash{changed, proof[1:], append(changed[:0:0], append(proof, proof[0])...)} {
		if library, rfc := check(p); library || rfc {
			t.Fatalf("a changed proof holds: to the library %v, to RFC 9162 %v", library, rfc)
		}
	}
}

func (m memoryTree) includes(t *testing.T, index, size int64, r *rand.Rand) {
	t.Helper()
	leaf, root := m.leaves[index], m.roots[size-1]
	proof, err := tlog.ProveRecord(size, index, m)
	fatalIf(t, err)
	check := func(p []tlog.Hash) (bool, bool) {
		return tlog.CheckRecord(p, size, root, index, leaf) == nil, rfcInclusion(index, size, leaf, root, p)
	}
	if library, rfc := check(proof); !library || !rfc {
		t.Fatalf("entry %d of %d: the library says %v, RFC 9162 %v", index, size, library, rfc)
	}
	m.differ(t, proof, check, r)
}

// TestTwoImplementationsAgreeOnAllProofsOfSmallTrees takes all pairs of sizes up to 300.
func TestTwoImplementationsAgreeOnAllProofsOfSmallTrees(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	m := newMemoryTree(300)
	for size := int64(1); size <= 300; size++ {
		for n := int64(1); n <= size; n++ {
			m.agree(t, n, size, r)
			m.includes(t, n-1, size, r)
		}
	}
}

// TestTwoImplementationsAgreeOnProofsOfLargeTrees takes random pairs; DTCGATE_TEST_PROOFS=100000 is the full size.
func TestTwoImplementationsAgreeOnProofsOfLargeTrees(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	m := newMemoryTree(1 << 17)
	for range fullSize(t, "DTCGATE_TEST_PROOFS", 2_000) {
		size := 1 + r.Int64N(1<<17)
		n := 1 + r.Int64N(size)
		m.agree(t, n, size, r)
		m.includes(t, n-1, size, r)
	}
}

// allNotes are the stored checkpoints, oldest first.
func allNotes(t testing.TB, db *store.DB) (notes []string) {
	t.Helper()
	fatalIf(t, db.Read(t.Context(), func(tx *store.Tx) (err error) {
		notes, err = store.All(tx, text, `SELECT note FROM audit_checkpoints ORDER BY size`)
		return err
	}))
	return notes
}

func TestAnyTwoCheckpointsAreProvedToBeOfOneRecord(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVictim(t, db)
		notes := allNotes(t, db)
		fatalIf(t, db.Read(t.Context(), func(tx *store.Tx) error {
			for i := range notes {
				for j := range notes {
					c, err := ProveConsistency(tx, notes[i], notes[j], v.verifiers)
					if err != nil {
						return err
					}
					file, err := Write(c)
					fatalIf(t, err)
					read, err := Read(file)
					fatalIf(t, err)
					proved, err := read.(Consistency).Check(v.verifiers)
					if err != nil || proved.Old.Note != notes[min(i, j)] || proved.New.Note != notes[max(i, j)] {
						t.Errorf("%d and %d: %v, between %d and %d", i, j, err, proved.Old.Size, proved.New.Size)
					}
				}
			}
			return nil
		}))
	})
}

// TestConsistencyNamesTheCheckpointThatDoesNotFit has the whole record computed anew with the stolen key.
func TestConsistencyNamesTheCheckpointThatDoesNotFit(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVictim(t, db)
		was := allNotes(t, db)
		inTx(t, db, both(exec(`UPDATE audit_entries SET body = REPLACE(body, '"status":"done"', '"status":"gone"') WHERE id = '`+v.ids[24]+`'`),
			rebuild, resignAll(v.log.signer)))
		last := allNotes(t, db)[passes-1]
		for i, old := range was {
			err := db.Read(t.Context(), func(tx *store.Tx) error {
				_, err := ProveConsistency(tx, old, last, v.verifiers)
				return err
			})
			misfit := (*Misfit)(nil)
			if fits := i < 6; fits != (err == nil) { // entry 25 is of the seventh pass
				t.Errorf("checkpoint %d: %v", i, err)
			} else if err != nil && (!errors.As(err, &misfit) || !errors.Is(err, ErrTampered) || misfit.Size != checkpointAt(int64((i+1)*(i+2)/2))) {
				t.Errorf("checkpoint %d: %v", i, err)
			}
		}
		inTx(t, db, cut("entries", "values", "sequence", "tree", "checkpoints"))
		err := db.Read(t.Context(), func(tx *store.Tx) error {
			_, err := ProveConsistency(tx, was[passes-1], was[0], v.verifiers)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "the record ends after entry 45") {
			t.Errorf("after the tail was cut: %v", err)
		}
	})
}

func TestAChangedConsistencyDoesNotHold(t *testing.T) {
	db := storetest.New(t, "sqlite")
	v := newVictim(t, db)
	notes := allNotes(t, db)
	for what, change := range map[string]func(*Consistency){
		"the new one first":    func(c *Consistency) { c.Old, c.New = c.New, c.Old },
		"another old one":      func(c *Consistency) { c.Old = notes[4] },
		"a changed hash":       func(c *Consistency) { c.Proof[1][3] ^= 4 },
		"a hash less":          func(c *Consistency) { c.Proof = c.Proof[1:] },
		"another size":         func(c *Consistency) { c.Old = strings.Replace(c.Old, "\n10\n", "\n11\n", 1) },
		"a broken signature":   func(c *Consistency) { c.New = c.New[:len(c.New)-9] + "AAAAAAA=\n" },
		"the same proof twice": func(c *Consistency) { c.Proof = append(c.Proof, c.Proof...) },
	} {
		var c Consistency
		fatalIf(t, db.Read(t.Context(), func(tx *store.Tx) (err error) {
			c, err = ProveConsistency(tx, notes[3], notes[9], v.verifiers)
			return err
		}))
		change(&c)
		if _, err := c.Check(v.verifiers); err == nil {
			t.Errorf("%s: it holds", what)
		}
	}
}

// FuzzConsistency holds the checker of proofs to RFC 9162's, for sizes and hashes of the fuzzer's choice.
func FuzzConsistency(f *testing.F) {
	m := newMemoryTree(40)
	for _, pair := range [][2]int64{{1, 1}, {1, 2}, {3, 7}, {6, 8}, {8, 40}, {31, 33}} {
		proof, err := tlog.ProveTree(pair[1], pair[0], m)
		fatalIf(f, err)
		f.Add(pair[0], pair[1], flat(m.roots[pair[0]-1], m.roots[pair[1]-1]), flat(proof...))
	}
	f.Fuzz(func(t *testing.T, n, size int64, roots, path []byte) {
		if n < 1 || size < n || size > maxSize || len(roots) != 2*tlog.HashSize || len(path)%tlog.HashSize != 0 {
			return
		}
		ends, proof := unflat(roots), unflat(path)
		library := tlog.CheckTree(proof, size, ends[1], n, ends[0]) == nil
		if rfc := rfcConsistency(n, size, ends[0], ends[1], proof); library != rfc {
			t.Errorf("from %d to %d with %d hashes: the library says %v, RFC 9162 %v", n, size, len(proof), library, rfc)
		}
	})
}

func flat(hashes ...tlog.Hash) (b []byte) {
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

func unflat(b []byte) (hashes []tlog.Hash) {
	for ; len(b) >= tlog.HashSize; b = b[tlog.HashSize:] {
		hashes = append(hashes, tlog.Hash(b[:tlog.HashSize]))
	}
	return hashes
}

// FuzzCheckpoint holds that a checkpoint that can be read is written back as it was, and is one that a log can have.
func FuzzCheckpoint(f *testing.F) {
	for _, seed := range []checkpoint{{"dtcgate", 5, tlog.Hash{1}, 3, time.UnixMicro(1_790_000_000_000_000)}, {"a b", 1, tlog.Hash{}, 0, time.UnixMicro(0)}} {
		f.Add(seed.String())
	}
	f.Add("dtcgate\n+5\n" + tlog.Hash{}.String() + "\nprevious 3 at 7\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCheckpoint(text)
		if err == nil && (c.String() != text || c.size < 1 || c.size > maxSize || c.previous >= c.size) {
			t.Errorf("%q was read as %+v", text, c)
		}
	})
}
