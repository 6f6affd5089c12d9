package notify

import (
	"context"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/store"
)

// The sender has the answer and dies before it is stored.
func TestAMessageIsSentAgainUnderItsIdAfterACrash(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.add(r.receiver.URL)
		r.asked()
		m, ok := r.claimed(t.Context(), "snd_dies")
		if !ok || !r.send(t.Context(), m).ok() {
			t.Fatal("nothing was sent")
		}
		r.forward(leaseTime - time.Second)
		if n := r.sendAll(); n != 0 {
			t.Error("it is sent again while the lease runs")
		}
		r.forward(time.Second)
		if n := r.sendAll(); n != 1 || r.states()[0] != "sent" {
			t.Errorf("%d sent; %v", n, r.states())
		}
		if got := r.receiver.deliveries(); len(got) != 2 || got[0].id != got[1].id {
			t.Errorf("arrived: %+v", got)
		}
		// The dead comes back: its answer changes nothing any more.
		if err := r.settle(t.Context(), m, answer{status: 500, problem: "status"}); err != nil || r.states()[0] != "sent" {
			t.Errorf("%v; %v", err, r.states())
		}
	})
}

func TestTwoSendersNeverSendOneMessageAtOnce(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.add(r.receiver.URL)
		const messages, workers = 24, 6
		for range messages {
			r.asked()
		}
		var mu sync.Mutex
		underWay, most := map[string]int{}, 0
		r.receiver.answers(func(_ http.ResponseWriter, q *http.Request, _ int) {
			id := q.Header.Get("webhook-id")
			mu.Lock()
			underWay[id]++
			if underWay[id] > 1 {
				t.Errorf("%s is sent by two at once", id)
			}
			most = max(most, len(underWay))
			mu.Unlock()
			for range 1000 { // let others in between
				runtime.Gosched()
			}
			mu.Lock()
			delete(underWay, id)
			mu.Unlock()
		})
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				for {
					if sent, err := r.Once(t.Context()); err != nil || !sent {
						if err != nil {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		all.Wait()
		r.sendAll()
		seen := map[string]int{}
		for _, d := range r.receiver.deliveries() {
			seen[d.id]++
		}
		if len(seen) != messages || len(r.receiver.deliveries()) != messages || most > perEndpoint {
			t.Errorf("%d messages in %d deliveries, %d under way at most", len(seen), len(r.receiver.deliveries()), most)
		}
	})
}

func TestWhatIsClaimedIsClaimedByOne(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.add(r.receiver.URL)
		r.asked()
		if _, ok := r.claimed(t.Context(), "snd_1"); !ok {
			t.Fatal("nothing to claim")
		}
		if m, ok := r.claimed(t.Context(), "snd_2"); ok {
			t.Errorf("%s is claimed twice", m.id)
		}
	})
}

func TestNewerStateTakesThePlaceOfOlder(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.add(r.receiver.URL, approvals.MessageRequested, approvals.MessageResolved)
		r.cancel(r.asked())
		if n := r.sendAll(); n != 1 || !slices.Equal(r.states(), []string{"superseded", "sent"}) {
			t.Errorf("%d sent; %v", n, r.states())
		}
		if got := r.receiver.deliveries()[0]; got.kind != approvals.MessageResolved || got.data.State != "cancelled" {
			t.Errorf("arrived: %s", got.body)
		}
	})
}

// A button that decides nothing any more is never shown: who wants to hear of new requests alone hears nothing of one that is over.
func TestARequestThatIsOverIsNotToldAsNew(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.add(r.receiver.URL, approvals.MessageRequested)
		r.cancel(r.asked())
		if n := r.sendAll(); n != 0 || !slices.Equal(r.states(), []string{"superseded"}) {
			t.Errorf("%d sent; %v", n, r.states())
		}
	})
}

// The receiver would see them in the wrong order otherwise: the older is under way, and slow.
func TestNothingAboutASubjectOvertakes(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.add(r.receiver.URL, approvals.MessageRequested, approvals.MessageResolved)
		q := r.asked()
		slow, _ := r.claimed(t.Context(), "snd_slow")
		r.cancel(q)
		if n := r.sendAll(); n != 0 {
			t.Errorf("%d overtake", n)
		}
		if err := r.settle(t.Context(), slow, answer{status: 500, problem: "status"}); err != nil {
			t.Fatal(err)
		}
		if n := r.sendAll(); n != 1 || !slices.Equal(r.states(), []string{"superseded", "sent"}) {
			t.Errorf("%d sent; %v", n, r.states())
		}
		if got := r.receiver.deliveries()[0]; got.id == slow.id {
			t.Error("a new state comes under an id that was tried with another")
		}
	})
}

func TestASlowEndpointHoldsUpNoOther(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.add(r.receiver.URL+"/slow", approvals.MessageRequested)
		for range 3 * perEndpoint {
			r.asked()
		}
		for i := range perEndpoint {
			if _, ok := r.claimed(t.Context(), "snd_x"); !ok {
				t.Fatalf("%d are claimed", i)
			}
		}
		if _, ok := r.claimed(t.Context(), "snd_x"); ok {
			t.Errorf("more than %d are under way", perEndpoint)
		}
		other := r.add(r.receiver.URL+"/quick", approvals.MessageRequested)
		r.asked()
		if m, ok := r.claimed(t.Context(), "snd_x"); !ok || m.endpoint.ID != other.ID {
			t.Error("the other endpoint waits")
		}
	})
}

// What cannot be made is tried again as what cannot be delivered, and does not stand in the way of what can.
func TestAMessageThatCannotBeMadeHoldsUpNoOther(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		bad := r.add(r.receiver.URL+"/sealed", approvals.MessageRequested)
		r.add(r.receiver.URL+"/open", approvals.MessageRequested)
		r.tx(func(tx *store.Tx) error {
			_, err := tx.Exec(`UPDATE vault_secrets SET ciphertext = 'x' WHERE id = $1`, bad.ID)
			return err
		})
		r.asked()
		if n := r.sendAll(); n != 2 || len(r.receiver.deliveries()) != 1 {
			t.Errorf("%d attempts, %d arrived", n, len(r.receiver.deliveries()))
		}
		if !slices.Equal(r.states(), []string{"waiting", "sent"}) {
			t.Errorf("%v", r.states())
		}
	})
}

func TestRotationSignsWithBothForAWhile(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		e := r.add(r.receiver.URL)
		var old, now string
		r.tx(func(tx *store.Tx) (err error) {
			s, err := r.secrets(tx, e)
			old = s.Now
			return err
		})
		r.tx(func(tx *store.Tx) (err error) {
			_, now, err = r.Rotate(tx, r.merchant, e.ID, time.Hour)
			return err
		})
		r.receiver.knows(now)
		var signatures []string
		r.receiver.answers(func(_ http.ResponseWriter, q *http.Request, n int) {
			body := []byte(r.receiver.got[n-1].body)
			signatures = append(signatures, q.Header.Get("webhook-signature"))
			if byOld := verified(old, body, q.Header); byOld != (n == 1) || !verified(now, body, q.Header) {
				t.Errorf("message %d: the old secret verifies: %v", n, byOld)
			}
		})
		r.asked()
		r.sendAll()
		r.forward(time.Hour)
		r.asked()
		r.sendAll()
		if len(signatures) != 2 || len(strings.Fields(signatures[0])) != 2 || len(strings.Fields(signatures[1])) != 1 {
			t.Errorf("%q", signatures)
		}
	})
}

func TestAPingSaysWhatCameBack(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		e := r.add(r.receiver.URL)
		for _, status := range []int{200, 500, 302} {
			r.receiver.status(status)
			var p Ping
			r.tx(func(tx *store.Tx) (err error) {
				p, err = r.Ping(tx, r.merchant, e.ID)
				return err
			})
			if pong := r.Send(t.Context(), p); pong.Status != status || pong.Delivered != (status == 200) {
				t.Errorf("%d: %+v", status, pong)
			}
		}
	})
}

func TestAMerchantHasFewEndpointsAndOldRowsAreForgotten(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		for range MaxEndpoints {
			r.add(r.receiver.URL)
		}
		r.tx(func(tx *store.Tx) error {
			if _, _, err := r.Add(tx, r.merchant, r.receiver.URL, nil, "operator:cli"); err == nil {
				t.Error("one too many is taken")
			}
			return nil
		})
		r.asked()
		r.sendAll()
		r.forward(forgetAfter)
		if err := r.forget(t.Context()); err != nil || len(r.states()) != 0 {
			t.Errorf("%v; %v", err, r.states())
		}
	})
}

func TestRunSendsAndEnds(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.add(r.receiver.URL)
		ctx, stop := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { r.Run(ctx) })
		r.asked()
		for r.recorded("channel.sent") == 0 && !t.Failed() {
			time.Sleep(time.Millisecond)
		}
		stop()
		all.Wait()
		if states := r.states(); states[0] != "sent" {
			t.Errorf("%v", states)
		}
	})
}

// The end of a message makes room for the next one to its endpoint, which does not wait until somebody looks again.
func TestTheNextMessageGoesOutWhenOneHasEnded(t *testing.T) {
	on(t, func(t *testing.T, r *rig) {
		r.look = time.Hour
		r.add(r.receiver.URL)
		const messages = 3 * perEndpoint
		arrived := make(chan struct{}, messages)
		full := make(chan struct{}) // the endpoint has all that it may have, and somebody has looked and found no more
		r.receiver.answers(func(http.ResponseWriter, *http.Request, int) { <-full; arrived <- struct{}{} })
		for range messages {
			r.asked()
		}
		var looks atomic.Int32
		watched := store.Watch(t.Context(), func(q string, _ []any) {
			if q == `SELECT e.id`+ready && looks.Add(1) == perEndpoint+1 {
				close(full)
			}
		})
		ctx, stop := context.WithCancel(watched)
		var all sync.WaitGroup
		all.Go(func() { r.Run(ctx) })
		late := time.After(20 * time.Second)
		for n := range messages {
			select {
			case <-arrived:
			case <-late:
				t.Fatalf("%d of %d were sent before anybody looked again", n, messages)
			}
		}
		stop()
		all.Wait()
		r.receiver.answers(nil)
		r.sendAll() // what had arrived and was not answered yet
		if sent := r.recorded("channel.sent"); sent != messages {
			t.Errorf("%d of %d were sent", sent, messages)
		}
	})
}
