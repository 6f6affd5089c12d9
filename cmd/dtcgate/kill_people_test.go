package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/tools"
)

// The acts of people, as the ledger names them. They are no tools.
const (
	vote      = "vote"
	withdraw  = "withdraw"
	callOff   = "call off"
	reconcile = "reconcile"
)

// notNow is why people deny things, and reasonGiven how it stands in an answer.
const (
	notNow      = "not now"
	reasonGiven = `"reason":"` + notNow + `"`
)

var personTurns = []turn{
	{66, (*caller).vote},
	{12, (*caller).withdraw},
	{5, (*caller).callOff},
	{7, (*caller).reconcile},
	{6, (*caller).mint},
	{4, (*caller).revoke},
}

// about is the path of what people do to a request or a job.
func about(kind, id, act string) string { return tools.BasePath + "/" + kind + "/" + id + "/" + act }

// vote decides about something that waits, and names what it saw. Some votes name something else, or nothing, or say no and not why.
func (k *caller) vote() bool {
	r, ok := k.book.waiting(k.rng)
	if !ok {
		return k.list()
	}
	c := &call{tool: vote, path: about("approvals", r.JobID, "resolve"), about: r.JobID, args: map[string]any{
		"decision": "approve", "seen_sha256": r.Approval.Fingerprint, "acknowledged": true,
	}}
	if k.rng.IntN(5) == 0 {
		c.args["decision"], c.args["reason"] = "deny", notNow
	}
	switch k.rng.IntN(40) {
	case 0:
		delete(c.args, "seen_sha256")
		c.careless = true
	case 1:
		c.args["seen_sha256"] = "0000-0000-0000"
		c.careless = true
	case 2:
		c.args["decision"] = "deny"
		delete(c.args, "reason")
		c.careless = true
	}
	return k.ask(c)
}

// withdraw takes back a yes to something that still waited when it was said.
func (k *caller) withdraw() bool {
	if len(k.said) == 0 {
		return k.vote()
	}
	i := k.rng.IntN(len(k.said))
	job := k.said[i]
	k.said = append(k.said[:i], k.said[i+1:]...)
	return k.ask(&call{tool: withdraw, path: about("approvals", job, "withdraw"), about: job, args: map[string]any{"reason": "on second thoughts"}})
}

// callOff ends something that waits, which takes an admin.
func (k *caller) callOff() bool {
	r, ok := k.book.waiting(k.rng)
	if !ok || k.Name != "cyd" {
		return k.list()
	}
	return k.ask(&call{tool: callOff, path: about("approvals", r.JobID, "cancel"), about: r.JobID, args: map[string]any{"reason": "not needed"}})
}

// reconcile says what became of something that nobody knew.
func (k *caller) reconcile() bool {
	d, ok := k.book.doubtful(k.rng)
	if !ok {
		return k.vote()
	}
	return k.ask(&call{tool: reconcile, path: about("jobs", d.job, "reconcile"), about: d.job, args: map[string]any{
		"outcome": d.outcome, "reason": "it stands in the vendor's books",
	}})
}

// noteSaid learns from the answer to what a person did.
func (k *caller) noteSaid(c *call) {
	var r struct {
		State approvals.State `json:"state"`
	}
	_ = json.Unmarshal(c.body, &r) // a refusal has none
	switch {
	case c.careless && c.ok() && !strings.Contains(string(c.body), reasonGiven): // who has said no, and why, may say it again without
		k.book.complain("a vote that should not count counts: %v", c)
	case c.code == string(tools.Conflict) && strings.Contains(string(c.body), "decided"), c.ok() && r.State != approvals.Pending:
		k.book.over(c.about)
	case c.ok() && c.tool == vote && c.args["decision"] == "approve":
		k.said = append(k.said, c.about)
	}
}

// list looks at what waits. It is not in the ledger, for it is no call.
func (k *caller) list() bool {
	r, err := http.NewRequest(http.MethodGet, k.wire.base+tools.BasePath+"/approvals", nil)
	if err != nil {
		return false
	}
	r.Header.Set("Authorization", "Bearer "+k.Token)
	answer, err := k.wire.client.Do(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err == nil
}

func (l *ledger) park(r tools.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parked = append(l.parked, r)
}

// waiting gives something that waits for people, as far as they know.
func (l *ledger) waiting(rng *rand.Rand) (tools.Result, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.parked) == 0 {
		return tools.Result{}, false
	}
	return l.parked[rng.IntN(len(l.parked))], true
}

// over forgets a request that is decided, unless there are few, so that some people come late.
func (l *ledger) over(job string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.parked) > 8 {
		l.parked = slices.DeleteFunc(l.parked, func(r tools.Result) bool { return r.JobID == job })
	}
}

func (l *ledger) doubt(all []openDoubt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubts = all
}

// doubtful gives a doubt that two people may be after at once. It is left alone in two of three cases, so that some last.
func (l *ledger) doubtful(rng *rand.Rand) (openDoubt, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.doubts) == 0 || rng.IntN(3) > 0 {
		return openDoubt{}, false
	}
	return l.doubts[rng.IntN(len(l.doubts))], true
}
