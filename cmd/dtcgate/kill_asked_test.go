package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

// What people were asked, what they said, and what came of it.

// peopleDecided is C3: what was parked and ran has one used approval, with as many people for it as its rule asks for and none against it, each of
// whom saw what it was bound to; what was not approved did nothing.
func (c *checker) peopleDecided() {
	for _, j := range c.jobs {
		if j.approval == "" {
			continue
		}
		q, ran := c.requests[j.id], c.ran(j)
		yes, no := c.counted(q)
		used := countEvent(c.byJob[j.id], "approval.consumed")
		switch {
		case ran && (q.state != "consumed" || used != 1 || q.needs() < 1 || yes != q.needs() || no != 0):
			c.find("C3", "%s ran with its approval %s, %d times used, %d of %d for and %d against it", j.id, q.state, used, yes, q.needs(), no)
		case !ran && (used > 0 || j.result != "" || c.done(j) > 0 || len(c.rows[j.campaign()]) > 0 && !c.sentByAnother(j)):
			c.find("C3", "%s is %s (%s) and had an effect", j.id, j.status, q.state)
		}
	}
}

// counted counts the votes on a request that stand and saw it.
func (c *checker) counted(q requestRow) (yes, no int) {
	for _, v := range c.votes[q.id] {
		switch {
		case v.decision == "deny":
			no++
		case !v.withdrawn && v.seen == q.binding:
			yes++
		}
	}
	return yes, no
}

// ran reports whether the job began.
func (c *checker) ran(j jobRow) bool {
	return slices.Contains([]string{"running", "succeeded", "failed", "indeterminate"}, j.status) || countEvent(c.byJob[j.id], "job.started") > 0
}

// sentByAnother reports whether the campaign of a send that did not run was sent by another job.
func (c *checker) sentByAnother(j jobRow) bool {
	return slices.ContainsFunc(c.jobs, func(other jobRow) bool { return other.id != j.id && other.campaign() == j.campaign() && c.ran(other) })
}

func countEvent(entries []audit.Sequenced, event string) (n int) {
	for _, e := range entries {
		if e.Event == event {
			n++
		}
	}
	return n
}

// nobodyIsPassedBy is C3: nothing of the gated key runs at once.
func (c *checker) nobodyIsPassedBy() {
	for _, k := range c.calls {
		asks := slices.Contains([]string{refundOrder, createDiscount, sendCampaign}, k.tool) || paysOutside(k.tool)
		if k.ok() && k.who.Name == gatedKey && asks && k.result().Status != tools.PendingApproval {
			c.find("C3", "not parked: %v", k)
		}
	}
}

// nobodyIsAskedTwice is C3: while a question waits, and after it was denied, nobody is asked the same again; and no agent has more questions open
// than it may.
func (c *checker) nobodyIsAskedTwice() {
	var all []requestRow
	for _, q := range c.requests {
		if yes := c.approvedAt(q.job); yes > 0 {
			q.decided = yes // what was approved and could not run is decided a second time, later
		}
		all = append(all, q)
	}
	slices.SortFunc(all, func(a, b requestRow) int { return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.id, b.id)) })
	asked := map[string]requestRow{}
	for i, q := range all {
		if before, ok := asked[q.question]; ok && (before.state == "rejected" || before.openAt(q.at)) {
			c.find("C3", "%s asks what %s asked, which is %s", q.id, before.id, before.state)
		}
		asked[q.question] = q
		open := 1
		for _, before := range all[:i] {
			if before.openAt(q.at) {
				open++
			}
		}
		if open > openRequests {
			c.find("C3", "%s is the %d. question that is open", q.id, open)
		}
	}
}

// approvedAt is when people had agreed to a job, 0 for never.
func (c *checker) approvedAt(job string) int64 {
	i := slices.IndexFunc(c.byJob[job], func(e audit.Sequenced) bool { return e.Event == "approval.approved" })
	if i < 0 {
		return 0
	}
	return c.byJob[job][i].At.UnixMicro()
}

// slack is how much later, in microseconds, a transaction may read than its time says: it may have waited.
const slack = 2_000_000

// openAt reports whether a request that was made before waited still at a time.
func (q requestRow) openAt(at int64) bool { return q.decided == 0 || q.decided > at+slack }

// votesAreOnRecord is C4: the votes on a request are what the record tells, in its order, of votes and withdrawals, and nothing else. An entry has
// the time at which its transaction began: of two that a person makes at two screens at once, the first on record may have waited for the other.
func (c *checker) votesAreOnRecord() {
	told := map[voteKey]voteRow{} // without a decision
	at, atOnce := map[voteKey]time.Time{}, map[voteKey]bool{}
	for _, e := range c.entries {
		person, _ := strings.CutPrefix(e.Actor, "person:")
		key := voteKey{approval: e.ApprovalID, person: person}
		switch {
		case e.Event == "approval.vote" && e.Status != "replayed":
			told[key] = voteRow{approval: e.ApprovalID, person: person, decision: e.Status, seen: e.Binding}
		case e.Event == "approval.vote_withdrawn":
			v := told[key]
			v.withdrawn = true
			told[key] = v
		default:
			continue
		}
		atOnce[key] = e.At.Sub(at[key]) < slack*time.Microsecond
		at[key] = e.At
	}
	stored := 0
	for _, votes := range c.votes {
		for _, v := range votes {
			key := voteKey{approval: v.approval, person: v.person}
			if stored++; told[key] != v && !(atOnce[key] && told[key].seen == v.seen) {
				c.find("C4", "a vote is %+v, and on record %+v", v, told[key])
			}
		}
	}
	if stored != len(told) {
		c.find("C4", "%d votes are stored and %d on record", stored, len(told))
	}
}

// saidIsStored is C4: whatever people did and were told to have done is on record, and what follows from it is there. A vote may be gone only where
// its person withdrew it, or made a no of it.
func (c *checker) saidIsStored() {
	for _, k := range c.calls {
		if !k.person() || !k.ok() {
			continue
		}
		q := c.requests[k.about]
		at := slices.IndexFunc(c.votes[q.id], func(v voteRow) bool { return v.person == k.who.ID })
		var own voteRow
		if at >= 0 {
			own = c.votes[q.id][at]
		}
		decision := fmt.Sprint(k.args["decision"])
		switch k.tool {
		case vote:
			changed := own.withdrawn || own.decision == "deny"
			if !c.did(k, "approval.vote", decision) || own.decision != decision && !changed || own.withdrawn && !c.did(k, "approval.vote_withdrawn", "approve") {
				c.find("C4", "the vote is lost: %v; it is %+v", k, own)
			}
		case withdraw:
			if !c.did(k, "approval.vote_withdrawn", "approve") {
				c.find("C4", "the withdrawal is lost: %v", k)
			}
		case callOff:
			if !c.did(k, "approval.cancelled", "") || q.state != "cancelled" {
				c.find("C4", "told to be called off and is %s: %v", q.state, k)
			}
		case reconcile:
			c.reconciled(k)
		}
	}
}

// did reports whether it is on record that the caller did something to the job of a call.
func (c *checker) did(k *call, event, status string) bool {
	return slices.ContainsFunc(c.byJob[k.about], func(e audit.Sequenced) bool {
		return e.Event == event && e.Actor == "person:"+k.who.ID && (status == "" || e.Status == status)
	})
}

// together are the states in which a request and its job can stand at rest.
var together = []string{
	"pending pending_approval ", "rejected cancelled denied", "cancelled cancelled cancelled", "invalidated cancelled invalidated",
	"consumed succeeded ", "consumed cancelled cancelled", "consumed failed", "consumed indeterminate outcome_unknown",
}

// statesAgree is C4: the job's state goes with its request's.
func (c *checker) statesAgree() {
	for _, j := range c.jobs {
		if j.reason == string(tools.Internal) {
			c.find("C4", "%s failed inside: %+v", j.id, j)
		}
		if j.approval == "" {
			if !settled(j) && j.status != "indeterminate" {
				c.find("C4", "%s did not come to rest: %s", j.id, j.status)
			}
			continue
		}
		q := c.requests[j.id]
		pair := q.state + " " + j.status + " " + j.reason
		if q.id != j.approval || !slices.ContainsFunc(together, func(t string) bool { return strings.HasPrefix(pair, t) }) {
			c.find("C4", "%s: request and job are %s", j.id, pair)
		}
	}
}

// visible is C8: people are shown every job of which nobody knows whether it happened.
func (r *rig) visible() {
	r.t.Helper()
	var shown []tools.Job
	r.cli(&shown, "jobs", "list", "--needs-decision", "--json")
	var stored []string
	r.withDB(func(db *store.DB) error {
		return db.Read(r.t.Context(), func(tx *store.Tx) (err error) {
			stored, err = store.All(tx, text, `SELECT id FROM jobs WHERE status = 'indeterminate' ORDER BY id`)
			return err
		})
	})
	ids := []string{}
	for _, j := range shown {
		ids = append(ids, j.JobID)
	}
	if !slices.Equal(ids, stored[:min(len(stored), listMax)]) {
		r.t.Errorf("C8: people are shown %v, and nobody knows of %v", ids, stored)
	}
}
