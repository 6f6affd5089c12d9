package notify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dtcgate/dtcgate/store"
)

const (
	senders   = 64                     // messages under way at a time, in one process
	lookEvery = 300 * time.Millisecond // how often is looked for what is due
	tidyEvery = time.Minute            // how often what is old is forgotten
	backOff   = 2 * time.Second        // after the database could not be asked
	lastTime  = 5 * time.Second        // for storing what came of a message when the process ends
)

// Run sends what is due until ctx ends. It may run in any number of processes. A message that is under way when ctx ends is given up, and
// sent again when it is due.
func (w *Webhooks) Run(ctx context.Context) {
	slots, ended := make(chan struct{}, senders), make(chan struct{}, 1)
	var all sync.WaitGroup
	defer all.Wait()
	tidied := time.Time{}
	for ctx.Err() == nil {
		if w.DB.Now().Sub(tidied) >= tidyEvery {
			tidied = w.DB.Now()
			w.hear("forgetting old messages", w.forget(ctx))
		}
		wait := w.look
		if err := w.launch(ctx, slots, ended, &all); err != nil {
			w.hear("looking for messages", err)
			wait = backOff
		}
		select {
		case <-ctx.Done():
		case <-ended: // its endpoint may be sent another one, which waited for this
		case <-time.After(wait):
		}
	}
}

// launch begins to send all that is due, as far as there are slots, and tells when one has ended.
func (w *Webhooks) launch(ctx context.Context, slots, ended chan struct{}, all *sync.WaitGroup) error {
	for {
		found, err := w.due(ctx)
		if err != nil || !found {
			return err
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		m, ok, err := w.claim(ctx, store.NewID("snd", w.DB.Now()))
		if err != nil || !ok {
			<-slots
			return err
		}
		all.Go(func() {
			w.hear("sending", w.attempt(ctx, m))
			<-slots
			select {
			case ended <- struct{}{}:
			default:
			}
		})
	}
}

// Once claims and sends one message, and reports whether there was one.
func (w *Webhooks) Once(ctx context.Context) (bool, error) {
	m, ok, err := w.claim(ctx, store.NewID("snd", w.DB.Now()))
	if err != nil || !ok {
		return false, err
	}
	return true, w.attempt(ctx, m)
}

// attempt sends a message that is claimed, and stores what came of it. When the process is ending there is no answer, and nothing to store
// but that the message may be taken up at once.
func (w *Webhooks) attempt(ctx context.Context, m message) error {
	store.Reach(store.MessageClaimed)
	a := w.send(ctx, m)
	store.Reach(store.MessageSent)
	w.attempts.count(a)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	if ctx.Err() != nil && a.status == 0 {
		return w.release(last, m)
	}
	return w.settle(last, m, a)
}

// release gives back a message that was not sent to its end.
func (w *Webhooks) release(ctx context.Context, m message) error {
	return w.DB.InTx(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(`UPDATE outbox SET lease_owner = '', lease_until = NULL WHERE endpoint_id = $1 AND id = $2 AND state = 'waiting' AND lease_owner = $3`,
			m.endpoint.ID, m.id, m.owner)
		return err
	})
}

func (w *Webhooks) hear(doing string, err error) {
	if err != nil && w.OnError != nil && !errors.Is(err, context.Canceled) {
		w.OnError(fmt.Errorf("%s: %w", doing, err))
	}
}
