package shop

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

// Kinds of mailing.
const (
	KindCampaign       = "campaign"
	KindRefundNotice   = "refund_notice"
	KindCancelNotice   = "cancel_notice"
	KindShipmentNotice = "shipment_notice"
	KindTicketReply    = "ticket_reply"
)

// A Carrier takes messages out of the database: the local one writes files and sends nothing.
//
// It hands over one batch at a time, as the file Dir/MERCHANT/MAILING-BATCH.jsonl with a line per customer, and only then
// marks the rows. The file's name and content depend on the rows alone, and it appears whole or not at all. So a crash
// between the file and the mark repeats nothing: the same file is put in its own place again. That holds for one Dir;
// servers that share a database must share it too, or only one of them may run a Carrier.
type Carrier struct {
	DB      *store.DB
	Dir     string      // made when it is first needed
	OnError func(error) // hears what went wrong; it is tried again. May be nil
}

// carryEvery is how often the Carrier looks for messages.
const carryEvery = 500 * time.Millisecond

// Run carries until ctx ends, beginning with what an earlier run left.
func (c *Carrier) Run(ctx context.Context) {
	again(ctx, carryEvery, func() error {
		_, err := c.CarryOnce(ctx)
		return err
	}, "carrying messages", c.OnError)
}

// again does something at once and then every so often until ctx ends. hear is told what went wrong; it may be nil.
func again(ctx context.Context, every time.Duration, do func() error, doing string, hear func(error)) {
	look := time.NewTicker(every)
	defer look.Stop()
	for {
		if err := do(); err != nil && ctx.Err() == nil && hear != nil {
			hear(fmt.Errorf("%s: %w", doing, err))
		}
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
	}
}

// CarryOnce hands over all that waits and says how many messages it was. A batch that cannot be carried holds up no
// other.
func (c *Carrier) CarryOnce(ctx context.Context) (carried int, err error) {
	batches, err := c.waiting(ctx)
	if err != nil {
		return 0, err
	}
	var failed []error
	for _, b := range batches {
		n, err := c.carry(ctx, b)
		carried += n
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", b.file(), err))
		}
	}
	return carried, errors.Join(failed...)
}

type batch struct {
	merchant, mailing string
	no                int64
}

func (b batch) file() string {
	return filepath.Join(b.merchant, fmt.Sprintf("%s-%d.jsonl", b.mailing, b.no))
}

// waiting gives the batches that are not handed over. Where all agents are frozen nothing leaves: what their calls have put here waits.
func (c *Carrier) waiting(ctx context.Context) (batches []batch, err error) {
	err = c.DB.Read(ctx, func(tx *store.Tx) error {
		batches, err = store.All(tx, func(r store.Row) (b batch, err error) {
			var oldest int64
			return b, r.Scan(&b.merchant, &b.mailing, &b.no, &oldest)
		}, `SELECT merchant_id, mailing_id, batch, MIN(created_at) AS oldest FROM deliveries d WHERE carried_at IS NULL
				AND NOT EXISTS (SELECT 1 FROM freezes f WHERE f.merchant_id = d.merchant_id AND f.subject_id = '' AND f.lifted_at IS NULL)
			GROUP BY merchant_id, mailing_id, batch ORDER BY oldest, mailing_id, batch`)
		return err
	})
	return batches, err
}

// A letter is one line of a file.
type letter struct {
	Merchant   string    `json:"merchant_id"`
	Mailing    string    `json:"mailing_id"`
	Batch      int64     `json:"batch"`
	Kind       string    `json:"kind"`
	Channel    string    `json:"channel"`
	CustomerNo string    `json:"customer_no"`
	To         string    `json:"to"`
	Subject    string    `json:"subject,omitempty"`
	Body       string    `json:"body"`
	CreatedAt  time.Time `json:"created_at"`

	waits bool
}

func (c *Carrier) carry(ctx context.Context, b batch) (int, error) {
	letters, err := c.letters(ctx, b)
	if err != nil {
		return 0, err
	}
	if len(letters) == 0 {
		return 0, errors.New("the mailing has no text")
	}
	if err := c.write(b, letters); err != nil {
		return 0, err
	}
	store.Reach(store.FileWritten)
	return c.mark(ctx, b, letters)
}

// letters gives the whole batch, also what is marked already: a file that is written again must not lose a line.
func (c *Carrier) letters(ctx context.Context, b batch) (letters []letter, err error) {
	err = c.DB.Read(ctx, func(tx *store.Tx) error {
		letters, err = store.All(tx, func(r store.Row) (letter, error) {
			l := letter{Merchant: b.merchant, Mailing: b.mailing, Batch: b.no}
			var carried time.Time
			err := r.Scan(&l.Kind, &l.Channel, &l.CustomerNo, &l.To, &l.Subject, &l.Body, store.At(&l.CreatedAt), store.At(&carried))
			l.waits = carried.IsZero()
			return l, err
		}, `SELECT m.kind, m.channel, d.customer_no, d.address, m.subject, m.body, d.created_at, d.carried_at
			FROM deliveries d JOIN mailings m ON m.merchant_id = d.merchant_id AND m.mailing_id = d.mailing_id
			WHERE d.merchant_id = $1 AND d.mailing_id = $2 AND d.batch = $3`, b.merchant, b.mailing, b.no)
		return err
	})
	slices.SortFunc(letters, func(x, y letter) int { return cmp.Compare(x.CustomerNo, y.CustomerNo) })
	return letters, err
}

// write puts the file into its place, whole and on the disk.
func (c *Carrier) write(b batch, letters []letter) error {
	if !filepath.IsLocal(b.file()) || filepath.Dir(b.file()) != b.merchant {
		return errors.New("the ids do not make a file name")
	}
	path := filepath.Join(c.Dir, b.file())
	var content bytes.Buffer
	lines := json.NewEncoder(&content)
	lines.SetEscapeHTML(false)
	for _, l := range letters {
		if err := lines.Encode(l); err != nil {
			return err
		}
	}
	return writeWhole(path, content.Bytes())
}

// writeWhole puts a file into its place, whole and on the disk, for nobody but ourselves to read.
func writeWhole(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".unfinished-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing of that name
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes a rename last through a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// mark notes what was handed over. Should the batch have grown meanwhile, nothing is marked and the next round takes it
// as it is then.
func (c *Carrier) mark(ctx context.Context, b batch, letters []letter) (int, error) {
	var marked int64
	err := c.DB.InTx(ctx, func(tx *store.Tx) (err error) {
		if err := lock(tx, b.merchant, "deliveries", "mailing_id = ? AND batch = ? AND carried_at IS NULL", b.mailing, b.no); err != nil {
			return err
		}
		marked, err = tx.Exec(`UPDATE deliveries SET carried_at = $1
			WHERE merchant_id = $2 AND mailing_id = $3 AND batch = $4 AND carried_at IS NULL`,
			store.Micros(tx.Now), b.merchant, b.mailing, b.no)
		if err == nil && marked > waiting(letters) {
			err = errors.New("the batch grew while it was carried")
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return int(marked), nil
}

func waiting(letters []letter) (n int64) {
	for _, l := range letters {
		if l.waits {
			n++
		}
	}
	return n
}
