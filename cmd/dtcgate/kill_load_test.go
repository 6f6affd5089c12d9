package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/dtcgate/dtcgate/tools"
)

// A caller asks one thing after the other, until an answer does not come.
type caller struct {
	*party
	name  string // makes its idempotency keys its own
	book  *ledger
	rng   *rand.Rand
	shop  *stock
	turns []turn
	over  *atomic.Bool // no more turns are taken; nil: never
	alone bool         // nobody decides about what it parks

	wire   *wire
	keys   int
	writes []*call  // done or parked
	drafts []string // campaigns that were not sent yet
	jobs   []string
	asked  []*call  // what was parked, in words that can be used again
	said   []string // jobs to which a person said yes and that waited still
	lost   *call    // asked and not answered; it is asked again as soon as there is a server

	pace <-chan time.Time // of all callers together; nil: as fast as answers come
}

// A turn is something that callers do, so many times in a hundred. It reports whether every answer came.
type turn struct {
	weight int
	take   func(*caller) bool
}

var agentTurns = []turn{
	{24, (*caller).read},
	{4, (*caller).useMinted},
	{10, (*caller).createCampaign},
	{12, (*caller).sendCampaign},
	{16, (*caller).refund},
	{14, (*caller).pay},
	{5, (*caller).discount},
	{5, (*caller).cancel},
	{5, (*caller).repeat},
	{3, (*caller).askAgain},
	{2, (*caller).blunder},
}

var waiterTurns = []turn{{100, (*caller).wait}}

// work takes turns until the server does not answer any more.
func (k *caller) work(w *wire) {
	k.wire = w
	if k.lost != nil && !k.send(k.lost) {
		return
	}
	for k.turn() {
	}
}

func (k *caller) turn() bool {
	if k.over != nil && k.over.Load() {
		return false
	}
	n := k.rng.IntN(100)
	for _, t := range k.turns {
		if n -= t.weight; n < 0 {
			return t.take(k)
		}
	}
	return true
}

// ask puts a call into the ledger and then sends it.
func (k *caller) ask(c *call) bool {
	if c.who == nil {
		c.who = k.party
	}
	k.book.add(c)
	return k.send(c)
}

func (k *caller) send(c *call) bool {
	if k.pace != nil {
		<-k.pace
	}
	if err := k.wire.send(c); err != nil {
		k.lost = c
		if !k.wire.dying.Load() {
			k.book.complain("no answer from a living server: %v: %v", c, err)
		}
		return false
	}
	k.lost = nil
	k.wire.once.Do(func() { close(k.wire.works) })
	k.note(c)
	return true
}

// note learns from an answer.
func (k *caller) note(c *call) {
	k.book.acknowledge(c)
	if c.late && c.ok() {
		k.book.complain("C5: its key was revoked before it was sent: %v", c)
	}
	if c.code == string(tools.Internal) || c.code == string(tools.Unavailable) && !k.wire.dying.Load() {
		k.book.complain("a healthy server answered: %v", c)
	}
	if c.person() {
		k.noteSaid(c)
	}
	if !c.ok() || c.key == "" {
		return
	}
	r := c.result()
	k.writes = append(k.writes, c)
	if r.JobID != "" {
		k.jobs = append(k.jobs, r.JobID)
	}
	switch {
	case r.Status == tools.PendingApproval && !k.alone:
		k.book.park(r)
		if c.about == "" && c.tool != createDiscount {
			k.asked = append(k.asked, c)
		}
	case c.tool == createCampaign:
		k.drafts = append(k.drafts, resultID(c.tool, r.Result))
	}
}

// by sends half of the calls by MCP, the others by REST.
func (k *caller) by(tool string, args map[string]any) *call {
	if k.rng.IntN(2) == 0 {
		return &call{tool: tool, args: args}
	}
	return &call{tool: tool, args: args, path: tools.BasePath + "/tools/" + tool}
}

// write is a call with a new idempotency key, which stands in a further argument as well.
func (k *caller) write(tool, mark string, args map[string]any) *call {
	k.keys++
	c := k.by(tool, args)
	c.key = fmt.Sprintf("KILLED%s%05d", k.name, k.keys) // fits everywhere: ten characters and more, of A to Z and 0 to 9
	args[mark] = c.key
	return c
}

// The tools whose effects are counted.
const (
	createCampaign = "dtc_create_campaign"
	sendCampaign   = "dtc_send_campaign"
	refundOrder    = "dtc_refund_order"
	createDiscount = "dtc_create_discount"
)

func (k *caller) read() bool {
	reads := []*call{
		k.by("dtc_whoami", map[string]any{}),
		k.by("dtc_search_orders", map[string]any{"limit": 5, "sort": "largest"}),
		k.by("dtc_get_order", map[string]any{"order_no": k.order()}),
		k.by("dtc_search_products", map[string]any{"query": "lamp", "limit": 5}),
		k.by("dtc_list_campaigns", map[string]any{"limit": 5}),
		k.by("dtc_get_job", map[string]any{"limit": 5}),
	}
	return k.ask(reads[k.rng.IntN(len(reads))])
}

func (k *caller) order() string { return k.shop.orders[k.rng.IntN(len(k.shop.orders))] }

func (k *caller) createCampaign() bool {
	return k.ask(k.write(createCampaign, "name", map[string]any{
		"channel": "email", "segment_id": k.shop.segments[k.rng.IntN(len(k.shop.segments))],
		"subject": "Half price", "body": "Everything is <half> price & more.",
	}))
}

// sendCampaign looks at a draft and sends it with what it saw. Some drafts are sent by the short route, on which the
// server fills in what people will see, and some are kept for a second try.
func (k *caller) sendCampaign() bool {
	if len(k.drafts) == 0 {
		return k.createCampaign()
	}
	i := k.rng.IntN(len(k.drafts))
	id := k.drafts[i]
	if k.rng.IntN(5) > 0 {
		k.drafts = append(k.drafts[:i], k.drafts[i+1:]...)
	}
	if k.Name == gatedKey && k.rng.IntN(2) == 0 {
		c := k.write(sendCampaign, "reason", map[string]any{})
		c.path = tools.BasePath + "/campaigns/" + id + "/send"
		c.about = id
		return k.ask(c)
	}
	look := k.by("dtc_preview_campaign", map[string]any{"campaign_id": id})
	if !k.ask(look) {
		return false
	}
	var seen struct {
		Version    int64           `json:"version"`
		Recipients int64           `json:"recipients"`
		Cost       json.RawMessage `json:"cost"`
	}
	if err := json.Unmarshal(look.body, &seen); err != nil || !look.ok() || seen.Recipients == 0 {
		return true
	}
	return k.ask(k.write(sendCampaign, "reason", map[string]any{
		"campaign_id": id, "expected_version": seen.Version, "expected_recipients": seen.Recipients, "max_cost": seen.Cost,
	}))
}

// refund gives back a little of an order, so that an order can be refunded often and versions clash.
func (k *caller) refund() bool { return k.refundOf(k.order(), k.rng.IntN(2) == 0) }

func (k *caller) refundOf(order string, notify bool) bool {
	look := k.by("dtc_get_order", map[string]any{"order_no": order})
	if !k.ask(look) {
		return false
	}
	var seen struct {
		No         string `json:"order_no"`
		Version    int64  `json:"version"`
		Refundable struct {
			Amount   int64  `json:"amount_minor"`
			Currency string `json:"currency"`
		} `json:"refundable"`
	}
	if err := json.Unmarshal(look.body, &seen); err != nil || !look.ok() || seen.Refundable.Amount < 200 {
		return true
	}
	return k.ask(k.write(refundOrder, "reason", map[string]any{
		"order_no": seen.No, "expected_version": seen.Version, "cause": "goodwill", "notify_customer": notify,
		"amount": map[string]any{"amount_minor": 100 + k.rng.IntN(100), "currency": seen.Refundable.Currency},
	}))
}

func (k *caller) discount() bool {
	today := time.Now()
	return k.ask(k.write(createDiscount, "code", map[string]any{
		"percent_off": 20, "max_uses": 100, "max_given_away": map[string]any{"amount_minor": 10_000, "currency": "GBP"},
		"start_on": today.AddDate(0, 0, 1).Format(time.DateOnly), "end_on": today.AddDate(0, 0, 8).Format(time.DateOnly),
		"reason": "spring sale for regular customers",
	}))
}

func (k *caller) cancel() bool {
	if len(k.jobs) == 0 {
		return k.read()
	}
	job := k.jobs[k.rng.IntN(len(k.jobs))]
	c := k.by(cancelJob, map[string]any{"job_id": job, "reason": "not needed any more"})
	c.about = job
	return k.ask(c)
}

const cancelJob = "dtc_cancel_job"

// repeat asks again what was answered. The answer must be the same, to the byte.
func (k *caller) repeat() bool {
	if len(k.writes) == 0 {
		return k.read()
	}
	first := k.writes[k.rng.IntN(len(k.writes))]
	again := first.again()
	k.book.add(again)
	if err := k.wire.send(again); err != nil {
		return false
	}
	if differ := sameAnswer(first, again); differ != nil {
		k.book.complain("C7: %v", differ)
	}
	return true
}

var errDiffers = errors.New("a repeat was answered otherwise")

// sameAnswer compares the answer to a repeat with the answer to the first call.
func sameAnswer(first, again *call) error {
	if !again.replayed || again.code != first.code || !bytes.Equal(again.body, first.body) {
		return fmt.Errorf("%w: %v; again: %v", errDiffers, first, again)
	}
	return nil
}

// askAgain asks for the same as before, in other words and under another key: nobody is to be asked twice.
func (k *caller) askAgain() bool {
	if len(k.asked) == 0 {
		return k.read()
	}
	first := k.asked[max(0, len(k.asked)-1-k.rng.IntN(4))]
	return k.ask(k.write(first.tool, "reason", maps.Clone(first.args)))
}

// wait asks for the end of a job that never ends, for as long as a call may.
func (k *caller) wait() bool {
	if len(k.jobs) == 0 {
		return k.refund()
	}
	return k.ask(k.by("dtc_get_job", map[string]any{"job_id": k.jobs[0], "wait_seconds": 25}))
}

// blunder asks for something that is refused.
func (k *caller) blunder() bool {
	return k.ask(k.by("dtc_get_order", map[string]any{"order": 17}))
}
