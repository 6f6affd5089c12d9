package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/lease"
)

const (
	// batchSize bounds a sequencing transaction, and so how long it keeps others from writing to SQLite: about 10 ms.
	batchSize = 512
	interval  = 200 * time.Millisecond // between passes: how long an entry stands outside the tree
	maxPause  = 10 * time.Second       // between passes that fail
	leaseTime = 2 * time.Second        // how long entries wait for another process when the sequencing one dies
	lastPass  = 5 * time.Second        // time for the pass at the end
)

// Bell is told (store.Tx.Tell) when entries got their numbers.
const Bell = "record"

// Config is what a Log needs.
type Config struct {
	DB          *store.DB
	Signer      note.Signer // see LoadOrCreateSigner
	VerifierKey string      // the signer's public key
	OnError     func(error) // told of each failed pass; without it Run ends at the first
}

// Log is the sequencer of a database's audit record.
type Log struct {
	db      *store.DB
	signer  note.Signer
	key     string
	onError func(error)
	lease   *lease.Lease

	mu        sync.Mutex // one pass at a time; guards what follows
	published bool       // key is in audit_keys
}

// New returns a sequencer that does nothing until Sequence or Run is called.
func New(c Config) *Log {
	return &Log{
		db: c.DB, signer: c.Signer, key: c.VerifierKey, onError: c.OnError,
		lease: lease.New(leaseName, store.NewID("seq", c.DB.Now()), leaseTime, c.DB.Now),
	}
}

// Run sequences several times a second until ctx ends, then once more, and gives the lease up. A failing pass is
// repeated after ever longer pauses. The error is that of the last pass.
func (l *Log) Run(ctx context.Context) error {
	for pause := interval; ; {
		select {
		case <-ctx.Done():
			return l.finish(ctx)
		case <-time.After(pause):
		}
		_, err := l.Sequence(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			pause = interval
		case l.onError == nil:
			return err
		default:
			l.onError(err)
			pause = min(2*pause, maxPause)
		}
	}
}

func (l *Log) finish(ended context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ended), lastPass)
	defer cancel()
	if _, err := l.Sequence(ctx); err != nil {
		return err
	}
	return l.db.InTx(ctx, l.lease.GiveUp)
}

// Sequence numbers all pending entries, adds them to the tree and signs checkpoints. It returns how many entries that
// were; none while another process holds the lease.
func (l *Log) Sequence(ctx context.Context) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for total := 0; ; {
		b, err := l.plan(ctx)
		if err == nil && b != nil {
			store.Reach(store.NumbersPlanned)
			err = l.commit(ctx, b)
		}
		if errors.Is(err, errOther) || (err == nil && b == nil) {
			return total, nil
		}
		if err != nil {
			return total, fmt.Errorf("sequencing audit entries: %w", err)
		}
		total += len(b.ids)
		if len(b.ids) < batchSize {
			return total, nil
		}
	}
}

// errOther says that another sequencer is at work: it holds the lease or took the numbers first.
var errOther = errors.New("another process is sequencing")

// batch is a growth of the tree, computed but not yet stored.
type batch struct {
	first int64    // number of the first entry
	ids   []string // entries, in order
	trees []string // their rows of audit_tree
	head  checkpoint
	note  string // head, signed
}

// plan reads what is pending and computes the tree grown by it, or returns nil when nothing is. It does so on a
// snapshot, outside the writers' way: entries never change, and whether the tree has grown meanwhile is for commit to
// find out.
func (l *Log) plan(ctx context.Context) (*batch, error) {
	var b *batch
	err := l.db.Read(ctx, func(tx *store.Tx) (err error) {
		b, err = l.planIn(tx)
		return err
	})
	if err != nil || b == nil {
		return nil, err
	}
	b.note, err = b.head.sign(l.signer)
	return b, err
}

func (l *Log) planIn(tx *store.Tx) (*batch, error) {
	pending, err := store.All(tx, scanWaiting, pendingQuery, "", batchSize)
	if err != nil || len(pending) == 0 {
		return nil, err
	}
	if err := l.yield(tx); err != nil {
		return nil, err
	}
	tree, last, err := l.signedTree(tx)
	if err != nil {
		return nil, err
	}
	b, err := grow(tree, pending)
	if err != nil {
		return nil, err
	}
	b.head.origin, b.head.previous, b.head.at = l.signer.Name(), last.size, tx.Now
	return b, nil
}

// pendingQuery keeps pending rows whose entry is gone or numbered already: neither can come about by itself. Ids are in
// order of time, and of cause within a process. Subqueries, because PostgreSQL would rather scan a whole table to join
// it to a pending one that had more rows when it last looked.
const pendingQuery = `SELECT p.entry_id,
		(SELECT e.body FROM audit_entries e WHERE e.id = p.entry_id),
		(SELECT s.seq FROM audit_sequence s WHERE s.entry_id = p.entry_id)
	FROM (SELECT entry_id FROM audit_pending WHERE entry_id > $1 ORDER BY entry_id LIMIT $2) p
	ORDER BY p.entry_id`

type waiting struct {
	id   string
	body sql.NullString
	seq  sql.NullInt64
}

func scanWaiting(r store.Row) (waiting, error) {
	var w waiting
	err := r.Scan(&w.id, &w.body, &w.seq)
	return w, err
}

// signedTree returns the stored tree's edge and its checkpoint, after checking that the one is what the other signed:
// to grow a tree is to vouch for all of it.
func (l *Log) signedTree(tx *store.Tx) (edge, checkpoint, error) {
	size, err := store.One(tx, number, `SELECT COALESCE(MAX(seq), 0) FROM audit_sequence`)
	if err != nil {
		return edge{}, checkpoint{}, err
	}
	head, err := l.lastCheckpoint(tx)
	if size == 0 && errors.Is(err, store.ErrNotFound) {
		return edge{}, checkpoint{}, nil
	}
	if err != nil {
		return edge{}, checkpoint{}, err
	}
	tree, err := loadEdge(tx, size)
	if err != nil {
		return edge{}, checkpoint{}, err
	}
	if head.size != size || head.root != tree.root() {
		err = fmt.Errorf("%w: the tree of %d entries is not that of checkpoint %d", ErrTampered, size, head.size)
	}
	return tree, head, err
}

// lastCheckpoint takes keys from the table too, for other replicas may have their own. Verify knows better which to
// trust.
func (l *Log) lastCheckpoint(tx *store.Tx) (checkpoint, error) {
	last, err := store.One(tx, scanStored, `SELECT size, note, at FROM audit_checkpoints ORDER BY size DESC LIMIT 1`)
	if err != nil {
		return checkpoint{}, fmt.Errorf("reading the last checkpoint: %w", err)
	}
	keys, err := Keys(tx)
	if err != nil {
		return checkpoint{}, err
	}
	verifiers, err := Verifiers(append(keys, l.key)...)
	if err != nil {
		return checkpoint{}, err
	}
	head, err := last.open(verifiers)
	if err != nil {
		err = fmt.Errorf("%w: checkpoint %d: %w", ErrTampered, last.size, err)
	}
	return head, err
}

func number(r store.Row) (int64, error) {
	var n int64
	err := r.Scan(&n)
	return n, err
}

// grow adds pending entries to the tree.
func grow(tree edge, pending []waiting) (*batch, error) {
	b := &batch{first: tree.size + 1, ids: make([]string, 0, len(pending)), trees: make([]string, 0, len(pending))}
	var hash tlog.Hash
	var room []byte
	for _, w := range pending {
		if !w.body.Valid || w.seq.Valid {
			return nil, fmt.Errorf("%w: pending entry %s is gone or has a number", ErrTampered, w.id)
		}
		hash, room = leafIn(room, w.id, w.body.String)
		b.ids, b.trees = append(b.ids, w.id), append(b.trees, row(tree.add(hash)))
	}
	b.head.size, b.head.root = tree.size, tree.root()
	return b, nil
}

// commit stores a batch, all of it or nothing. Of two batches planned on the same tree one is stored: both begin with
// the same number, and the insert of that one row decides.
func (l *Log) commit(ctx context.Context, b *batch) error {
	err := l.db.InTx(ctx, func(tx *store.Tx) error {
		if err := l.takeLease(tx); err != nil {
			return err
		}
		n, err := tx.Exec(`INSERT INTO audit_sequence (seq, entry_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`, b.first, b.ids[0])
		if err != nil {
			return err
		}
		if n == 0 {
			return errOther
		}
		store.Reach(store.NumbersTaken)
		if err := l.publish(tx); err != nil {
			return err
		}
		tx.Tell(Bell)
		return b.insert(tx)
	})
	l.published = l.published || err == nil
	return err
}

// insert stores all but the batch's first number, which is taken already.
func (b *batch) insert(tx *store.Tx) error {
	var numbers, trees [][]any
	for i, id := range b.ids {
		seq := b.first + int64(i)
		numbers = append(numbers, []any{seq, id})
		trees = append(trees, []any{seq, b.trees[i]})
	}
	if err := tx.Insert("audit_sequence", []string{"seq", "entry_id"}, numbers[1:]); err != nil {
		return err
	}
	if err := tx.Insert("audit_tree", []string{"seq", "hashes"}, trees); err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO audit_checkpoints (size, note, at) VALUES ($1, $2, $3)`,
		b.head.size, b.note, b.head.at.UnixMicro()); err != nil {
		return err
	}
	// The range alone would take entries along that were committed since with an id from before.
	n, err := tx.Exec(`DELETE FROM audit_pending WHERE entry_id >= $1 AND entry_id <= $2
		AND EXISTS (SELECT 1 FROM audit_sequence s WHERE s.entry_id = audit_pending.entry_id AND s.seq >= $3)`,
		b.ids[0], b.ids[len(b.ids)-1], b.first)
	if err == nil && n != int64(len(b.ids)) {
		err = fmt.Errorf("%w: %d entries are numbered and %d were pending", ErrTampered, len(b.ids), n)
	}
	return err
}

// publish puts the public key where Keys finds it, once.
func (l *Log) publish(tx *store.Tx) error {
	if l.published {
		return nil
	}
	_, err := tx.Exec(`INSERT INTO audit_keys (key, at) VALUES ($1, $2) ON CONFLICT DO NOTHING`, l.key, tx.Now.UnixMicro())
	return err
}

// leaseName names the sequencer's lease. It only saves the work of planning what another commits.
const leaseName = "audit.sequencer"

// yield returns errOther while another process holds the lease.
func (l *Log) yield(tx *store.Tx) error { return unlessFree(l.lease.Free(tx)) }

func (l *Log) takeLease(tx *store.Tx) error { return unlessFree(l.lease.Take(tx)) }

func unlessFree(free bool, err error) error {
	if err == nil && !free {
		err = errOther
	}
	return err
}
