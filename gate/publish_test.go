package gate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/auth/secret"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// open is the open policy with something in place of something else.
func open(old, by string) string {
	if !strings.Contains(policytest.Open, old) {
		panic("the open policy has no " + old)
	}
	return strings.Replace(policytest.Open, old, by, 1)
}

// openWithout is the open policy, in which the profile admin does not have a tool.
func openWithout(tool string) string {
	return open("    ceiling: high\n", "    ceiling: high\n    deny: {tools: ["+tool+"]}\n")
}

// openWith is the open policy with more at its end.
func openWith(more string) string { return policytest.Open + more }

// published publishes what has to be in force at once, and gives its version.
func (o *office) published(by By, source string) int64 {
	o.t.Helper()
	made, err := o.PublishPolicy(o.t.Context(), by, source, "A test of publishing", nil)
	if o.must("publishing", err); made.Status != tools.Done {
		o.t.Fatalf("it is %s", made.Status)
	}
	return made.Number
}

// proposed publishes what has to wait for people, and gives its approval.
func (o *office) proposed(by By, source string) Published {
	o.t.Helper()
	made, err := o.PublishPolicy(o.t.Context(), by, source, "A test of proposing", nil)
	if o.must("proposing", err); made.Status != tools.PendingApproval || made.Version != nil {
		o.t.Fatalf("it is %+v", made)
	}
	return made
}

func (o *office) inForce() (version int64) {
	o.t.Helper()
	o.tx(func(tx *store.Tx) (err error) {
		version, err = auth.PolicyVersion(tx, o.merchant)
		return err
	})
	return version
}

func TestAPublishedPolicyHoldsFromTheNextCall(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		_, err := o.call(o.free, "test_move", oneLamp)
		o.must("a call under the first version", err)
		base := int64(1)
		made, err := o.PublishPolicy(t.Context(), o.admin, openWithout("test_move"), "No moves before Christmas", &base)
		o.must("publishing", err)
		if made.Number != 2 || made.Author != "person:"+o.admin.Principal.ID || !made.InForce || !strings.Contains(made.Diff, "\n+    deny: {tools: [test_move]}\n") {
			t.Errorf("published is %+v", made.Version)
		}
		if len(made.Profiles) != 1 || made.Profiles[0].Keys != 2 || fmt.Sprint(made.Profiles[0].Loses) != "[test_move]" || len(made.Profiles[0].Gains) != 0 {
			t.Errorf("it warns of %+v", made.Profiles)
		}
		_, err = o.call(o.free, "test_move", oneLamp)
		if r := o.refused("a call under the second", tools.ForbiddenTool, err); r.PolicyVersion != 2 {
			t.Errorf("it is refused under version %d", r.PolicyVersion)
		}
		calls := o.entries("call")
		if calls[0].PolicyVersion != 2 || calls[1].PolicyVersion != 1 {
			t.Errorf("recorded are versions %d and %d", calls[0].PolicyVersion, calls[1].PolicyVersion)
		}
		e := o.entries("policy.published")[0]
		if e.Actor != made.Author || e.Resource != "policy:2" || e.Reason != "sha256 "+made.Hash+": No moves before Christmas" || e.PolicyVersion != 1 {
			t.Errorf("recorded is %+v", e)
		}
		v, err := o.Policy(t.Context(), o.admin, 2)
		o.must("reading it", err)
		if v.Source != openWithout("test_move") || v.Diff != made.Diff || v.Note != "No moves before Christmas" {
			t.Errorf("stored is %+v", v)
		}

		o.published(o.operator, policytest.Open) // roll back
		_, err = o.call(o.free, "test_move", oneLamp)
		o.must("a call after the roll back", err)
		page, err := o.PolicyVersions(t.Context(), o.admin, Listing{Limit: 2})
		o.must("listing", err)
		next, err := o.PolicyVersions(t.Context(), o.admin, Listing{Limit: 2, Cursor: page.Next})
		o.must("listing on", err)
		if len(page.Rows) != 2 || len(next.Rows) != 1 || page.Rows[0].Number != 3 || next.Rows[0].Number != 1 || page.Rows[0].Hash != next.Rows[0].Hash || page.Rows[0].Source != "" {
			t.Errorf("listed are %+v and %+v", page.Rows, next.Rows)
		}
	})
}

// What is wrong is told whole and stored nowhere, and the gate goes on under what it has.
func TestADocumentThatIsNoPolicyIsNeverAVersion(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		wrong := strings.Replace(open(`tools: ["*"]`, `tools: [test_moove]`), "  scoped: {}\n", "  scoped: {}\n  scoped: {}\n  other: {colour: red}\n", 1)
		_, err := o.PublishPolicy(t.Context(), o.admin, wrong, "Broken", nil)
		r := o.refused("a broken document", tools.InvalidArguments, err)
		if len(r.Errors.Fields) != 2 || r.Errors.Fields[0].Field != "profiles.scoped" || !strings.HasPrefix(r.Errors.Fields[0].Problem, "(line 4, column 3)") {
			t.Errorf("it is told %+v", r.Errors.Fields)
		}
		_, err = o.PublishPolicy(t.Context(), o.admin, open(`tools: ["*"]`, `tools: [test_moove]`), "Misspelt", nil)
		r = o.refused("a misspelt tool", tools.InvalidArguments, err)
		if f := r.Errors.Fields[0]; f.Field != "profiles.admin.tools[0]" || f.Example != "test_move" || !strings.HasPrefix(f.Problem, "(line 5, column") {
			t.Errorf("it is told %+v", f)
		}
		for what, source := range map[string]string{
			"an unknown role":   openWith("publishing: {need: {people: 1, roles: [securty]}}\n"),
			"a wrong condition": open("permit (principal, action, resource);", "permit (principal, action, resource) when { context.colour };"),
			"too much":          openWith("# " + strings.Repeat("x", 300_000) + "\n"),
			"nothing":           "",
		} {
			_, err := o.PublishPolicy(t.Context(), o.operator, source, "Broken", nil)
			o.refused(what, tools.InvalidArguments, err)
		}
		if n := o.count(`SELECT COUNT(*) FROM policies`); n != 1 || o.inForce() != 1 {
			t.Errorf("there are %d versions, and %d is in force", n, o.inForce())
		}
		if refused := o.entries("policy.published.refused"); len(refused) != 6 || refused[5].Reason != "The document has 2 problems." {
			t.Errorf("recorded is %+v", refused)
		}
		_, err = o.call(o.free, "test_move", oneLamp)
		o.must("a call under the version of before", err)
		d, err := o.CheckPolicy(t.Context(), o.admin, wrong)
		if o.must("checking", err); len(d.Problems) != 2 || d.Base != 1 {
			t.Errorf("checked is %+v", d)
		}
		_, err = o.CheckPolicy(t.Context(), By{Principal: o.free}, wrong)
		o.refused("an agent who checks", tools.ForbiddenScope, err)
	})
}

func TestPublishingSaysWhatItLacks(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		ctx, old, new := t.Context(), int64(0), openWithout("test_move")
		_, agent := o.PublishPolicy(ctx, By{Principal: o.free}, new, "x", nil)
		_, guard := o.PublishPolicy(ctx, o.guard, new, "x", nil)
		_, base := o.PublishPolicy(ctx, o.admin, new, "x", &old)
		_, same := o.PublishPolicy(ctx, o.admin, policytest.Open, "x", nil)
		_, none := o.PublishPolicy(ctx, o.admin, new, " \n", nil)
		_, long := o.PublishPolicy(ctx, o.admin, new, strings.Repeat("ä", maxNote+1), nil)
		_, noted := o.PublishPolicy(ctx, o.admin, new, "with "+secret.New(secret.Key), nil)
		_, held := o.PublishPolicy(ctx, o.admin, new+"# "+secret.New(secret.Key)+"\n", "x", nil)
		o.refused("an agent", tools.ForbiddenScope, agent)
		o.refused("without policy:admin", tools.ForbiddenScope, guard)
		if r := o.refused("from another version", tools.StaleExpectation, base); fmt.Sprint(r.Errors.Now) != "map[version:1]" {
			t.Errorf("it is told %v", r.Errors.Now)
		}
		o.refused("the document in force", tools.Conflict, same)
		for what, err := range map[string]error{"no note": none, "a long note": long, "a secret in the note": noted, "a secret in the document": held} {
			o.refused(what, tools.InvalidArguments, err)
		}
		now := time.Now()
		o.db.Now = func() time.Time { return now }
		session := o.signIn(o.admin)
		now = now.Add(auth.StepUpTime + time.Second)
		_, err := o.PublishPolicy(ctx, session, new, "x", nil)
		o.refused("in an old session", tools.StepUpRequired, err)
		if o.inForce() != 1 {
			t.Errorf("version %d is in force", o.inForce())
		}
	})
}

// Whoever can break a stored version must not get rid of the people it asks with it.
func TestAPolicyThatCannotBeReadIsTheOperatorsToReplace(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		broken := strings.Replace(policytest.Open, "permit", "allow", 1)
		o.tamper("update", `UPDATE policies SET source = $1`, broken)
		o.Gate = New(Config{DB: o.db, Tools: o.tools, Log: zerolog.New(zerolog.NewTestWriter(t))})
		_, err := o.call(o.free, "test_move", oneLamp)
		o.refused("a call", tools.Unavailable, err)
		if o.Ready(t.Context()) == nil {
			t.Error("the gate is ready")
		}
		_, err = o.PublishPolicy(t.Context(), o.admin, policytest.Open, "Back again", nil)
		o.refused("an admin", tools.Conflict, err)
		if v := o.published(o.operator, policytest.Open); v != 2 {
			t.Errorf("published is version %d", v)
		}
		o.must("ready", o.Ready(t.Context()))
		_, err = o.call(o.anew(o.free), "test_move", oneLamp)
		o.must("a call", err)

		o.tamper("delete", `DELETE FROM policies`) // not even the rows are there
		o.Gate = New(Config{DB: o.db, Tools: o.tools, Log: zerolog.New(zerolog.NewTestWriter(t))})
		if v := o.published(o.operator, policytest.Open); v != 3 {
			t.Errorf("published is version %d", v)
		}
		_, err = o.call(o.anew(o.free), "test_move", oneLamp)
		o.must("a call", err)
	})
}

// tamper changes stored versions, past what protects them, as the owner of a database can.
func (h *house) tamper(how, q string, args ...any) {
	h.t.Helper()
	trigger := "DROP TRIGGER policies_" + how
	if h.db.Engine() == "postgres" {
		trigger = "DROP TRIGGER IF EXISTS policies_change ON policies"
	}
	h.exec(trigger)
	h.exec(q, args...)
}

// anew is a caller as its next request finds it.
func (h *house) anew(p auth.Principal) auth.Principal {
	h.t.Helper()
	h.tx(func(tx *store.Tx) (err error) {
		p, err = auth.Renew(tx, p)
		return err
	})
	return p
}

const askedFirst = "publishing: {need: {people: 1, roles: [security]}}\n"

// What a version in force asks of the next one binds everybody, the operator too; the author has no say in it.
func TestPublishingWaitsForThePeopleThatTheVersionInForceNames(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		ctx := t.Context()
		_, err := o.GiveRoles(ctx, o.operator, "ada", []string{"admin", "security"})
		o.must("roles", err)
		o.published(o.operator, openWith(askedFirst))
		_, err = o.call(o.free, "test_move", oneLamp)
		o.must("a call", err)
		if dry := o.proposed(o.operator, openWithout("test_move")); !strings.Contains(dry.Preview.Summary, "Of 1 calls 1 would be refused.") ||
			len(dry.Preview.Changes) != 1 || dry.Preview.Changes[0].To != "1 calls, 1 customers, £0.10" {
			t.Errorf("people are shown %+v", dry.Preview)
		}
		made := o.proposed(o.admin, policytest.Open)
		if made.Preview.Content == "" || !strings.Contains(made.Preview.Content, "-publishing:") || made.Approval.Needs != "1 person: one security" || made.Approval.Rule != "publishing.need" {
			t.Errorf("people are asked %+v: %+v", made.Approval, made.Preview)
		}
		_, err = o.ballot(o.admin.Principal, Ballot{ID: made.JobID})
		o.refused("the author's vote", tools.ForbiddenApprover, err)
		_, err = o.ballot(o.person, Ballot{ID: made.JobID})
		o.refused("a manager's vote", tools.ForbiddenApprover, err)
		if o.resume(); o.inForce() != 2 {
			t.Fatalf("version %d is in force", o.inForce())
		}
		d := o.yes(made.JobID, o.guard.Principal)
		if o.resume(); o.inForce() != 3 || o.job(made.JobID).Status != tools.JobSucceeded {
			t.Fatalf("version %d is in force, and the job is %+v", o.inForce(), o.job(made.JobID))
		}
		v, err := o.Policy(ctx, o.admin, 0)
		o.must("reading", err)
		if v.Source != policytest.Open || v.Author != "person:"+o.admin.Principal.ID || v.Note != "A test of proposing" {
			t.Errorf("in force is %+v", v)
		}
		e := o.entries("policy.published")[0]
		if e.ApprovalID != d.ID || e.Binding != d.BindingHash || e.Actor != v.Author || e.Resource != "policy:3" || !strings.Contains(e.Reason, v.Hash) {
			t.Errorf("recorded is %+v", e)
		}
		if p := o.entries("policy.proposed")[0]; p.JobID != made.JobID || p.Status != "pending_approval" || p.PolicyVersion != 2 || p.Resource != "policy:3" {
			t.Errorf("recorded is %+v", p)
		}

		o.published(o.operator, openWith(askedFirst))
		made = o.proposed(o.operator, policytest.Open)
		o.yes(made.JobID, o.admin.Principal) // who holds security, and did not ask
		if o.resume(); o.inForce() != 5 {
			t.Errorf("version %d is in force", o.inForce())
		}
	})
}

// Between the question and the answer everything may change; what does not hold any more is not published.
func TestAnAgreedPolicyIsPublishedOnlyAsItWasAsked(t *testing.T) {
	for name, change := range map[string]func(o *office, made Published){
		"another version came into force": func(o *office, _ Published) {
			other := o.proposed(o.operator, openWithout("test_walk"))
			o.yes(other.JobID, o.guard.Principal)
			o.must("publishing the other", o.publishApproved(o.t.Context(), o.storedJob(other.JobID)))
		},
		"the author lost policy:admin": func(o *office, _ Published) {
			_, err := o.GiveRoles(o.t.Context(), o.operator, "ada", []string{"manager"})
			o.must("roles", err)
		},
		"the author is gone": func(o *office, _ Published) {
			_, err := o.RevokePerson(o.t.Context(), o.operator, "ada")
			o.must("revoking", err)
		},
		"who agreed lost the role": func(o *office, _ Published) {
			_, err := o.GiveRoles(o.t.Context(), o.operator, "gus", []string{"manager"})
			o.must("roles", err)
		},
		"the stored document is another": func(o *office, made Published) {
			o.exec(`UPDATE jobs SET args = REPLACE(args, 'high', 'low') WHERE id = $1`, made.JobID)
		},
		"the document and its hash are others": func(o *office, made Published) {
			o.exec(`UPDATE jobs SET args = '{"note":"x","source":""}', args_sha256 = $1 WHERE id = $2`,
				"b3f0ee5ff80d2b7c7b5b3a3e6d0bb9a1a8b0a3a2b1d0d1a4a1d0b0c0d0e0f0a0", made.JobID)
		},
		"its role is gone": func(o *office, _ Published) {
			o.must("deleting a role", o.DeleteRole(o.t.Context(), o.operator, "night"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, o *office) {
				_, err := o.PutRole(t.Context(), o.operator, "night", []string{"approvals:resolve"})
				o.must("a role", err)
				o.published(o.operator, openWith(askedFirst))
				source := openWith("approvals: [{name: night, classes: [spend], need: {people: 1, roles: [night]}}]\n")
				made := o.proposed(o.admin, source)
				o.yes(made.JobID, o.guard.Principal)
				change(o, made)
				before := o.inForce()
				o.resume()
				j := o.job(made.JobID)
				if j.Status != tools.JobCancelled || j.Reason != "invalidated" || o.inForce() != before || o.count(`SELECT COUNT(*) FROM policies WHERE source = $1`, source) != 0 {
					t.Errorf("the job is %+v, and version %d is in force", j, o.inForce())
				}
				if o.request(made.Approval.ApprovalID).State != approvals.Invalidated {
					t.Errorf("the request is %+v", o.request(made.Approval.ApprovalID))
				}
			})
		})
	}
}

func (h *house) storedJob(id string) (j approvals.Job) {
	h.t.Helper()
	h.tx(func(tx *store.Tx) (err error) {
		j, err = approvals.FindJob(tx, h.merchant, id)
		return err
	})
	return j
}

func TestAnAgreedPolicyLapses(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		now := time.Now()
		o.db.Now = func() time.Time { return now }
		o.published(o.operator, openWith(askedFirst))
		made := o.proposed(o.operator, policytest.Open)
		o.yes(made.JobID, o.guard.Principal)
		now = now.Add(approvals.TimeToRun)
		if o.resume(); o.inForce() != 2 || o.job(made.JobID).Status != tools.JobExpired {
			t.Errorf("version %d is in force, and the job is %+v", o.inForce(), o.job(made.JobID))
		}
		for range maxProposals {
			o.proposed(o.operator, policytest.Open)
		}
		_, err := o.PublishPolicy(t.Context(), o.operator, policytest.Open, "One more", nil)
		o.refused("one more", tools.LimitExceeded, err)
	})
}

// Several workers carry out what was agreed, and people vote on it meanwhile: it is published once, and nobody waits for ever.
func TestAnAgreedPolicyIsPublishedOnce(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		o.published(o.operator, openWith(askedFirst))
		made := o.proposed(o.operator, policytest.Open)
		o.yes(made.JobID, o.guard.Principal)
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				_, err := o.Resume(context.WithoutCancel(t.Context()), fmt.Sprint("worker-", i))
				if err != nil && !errors.Is(err, approvals.ErrDecided) {
					t.Error(err)
				}
			})
			all.Go(func() { _, _ = o.ballot(o.guard.Principal, Ballot{ID: made.JobID}) })
		}
		all.Wait()
		o.resume()
		if o.inForce() != 3 || o.job(made.JobID).Status != tools.JobSucceeded {
			t.Errorf("version %d is in force, and the job is %+v", o.inForce(), o.job(made.JobID))
		}
	})
}

// Two replicas serve one database. When publishing is acknowledged, neither commits anything under the version before any more.
func TestNothingCommitsUnderTheVersionBefore(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		o := newOffice(t, newHouse(t, db))
		gates := []*Gate{o.Gate, New(Config{DB: db, Tools: o.tools, Log: zerolog.Nop()})}
		var stop atomic.Bool
		var all sync.WaitGroup
		var begun [2]atomic.Int64
		defer all.Wait()
		defer stop.Store(true)
		for i := range 8 {
			all.Go(func() {
				for !stop.Load() {
					begun[i%2].Add(1)
					_, _ = gates[i%2].Call(t.Context(), o.free, Request{Tool: "test_move", Args: []byte(oneLamp), Transport: "rest", Source: "127.0.0.1"})
				}
			})
		}
		for round := range 4 {
			for i := range begun { // both are at work
				for was := begun[i].Load(); begun[i].Load() < was+4; {
					time.Sleep(time.Millisecond)
				}
			}
			by, source := gates[round%2], []string{openWithout("test_move"), policytest.Open}[round%2]
			made, err := by.PublishPolicy(t.Context(), o.operator, source, "Another round", nil)
			o.must("publishing", err)
			if round%2 == 1 {
				continue
			}
			effects := o.effects()
			for i := range begun { // what was on its way is over, and others have come
				for was := begun[i].Load(); begun[i].Load() < was+8; {
					time.Sleep(time.Millisecond)
				}
			}
			if now := o.effects(); now != effects {
				t.Errorf("%d effects were committed after version %d was acknowledged", now-effects, made.Number)
			}
		}
		stop.Store(true)
		all.Wait()
		for _, e := range o.entries("call") {
			if refused := e.Status == "refused"; refused != (e.PolicyVersion%2 == 0) {
				t.Errorf("a call is %s under version %d", e.Status, e.PolicyVersion)
			}
		}
	})
}

// What people have agreed to runs under the policy of the moment: refused where that refuses, asked again where it asks for more, and run
// where it asks for as much or less.
func TestAnApprovedCallRunsUnderTheVersionOfTheMoment(t *testing.T) {
	asks := func(need string) string {
		return openWith("approvals: [{name: moves, tools: [test_move], need: " + need + "}]\n")
	}
	one := asks("{people: 1, from: [manager, security]}")
	for name, c := range map[string]struct {
		next string
		want tools.JobStatus
		why  string
	}{
		"it refuses the tool":      {openWithout("test_move"), tools.JobCancelled, "FORBIDDEN_TOOL"},
		"it asks for two":          {asks("{people: 2, from: [manager, security]}"), tools.JobCancelled, "by now it needs the approval of 2 people"},
		"it asks for another role": {asks("{people: 1, roles: [security]}"), tools.JobCancelled, "by now it needs the approval of 1 person: one security"},
		"it asks for as much":      {one + "# and that is all\n", tools.JobSucceeded, ""},
		"it asks for nobody":       {policytest.Open, tools.JobSucceeded, ""},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, o *office) {
				o.published(o.operator, one)
				out, err := o.call(o.free, "test_move", oneLamp)
				o.must("a call", err)
				id := o.result(out).JobID
				o.must("the vote", o.vote(id, approvals.Approve))
				o.published(o.operator, c.next)
				o.resume()
				if j := o.job(id); j.Status != c.want || !strings.Contains(j.Why, c.why) {
					t.Errorf("the job is %+v", j)
				}
				r := o.request(o.storedJob(id).ApprovalID)
				e := o.entries("call.resumed")[0]
				if r.Binding.PolicyVersion != 2 || o.storedJob(id).Policy != 2 || e.PolicyVersion != 3 {
					t.Errorf("asked under version %d, carried out under %d", r.Binding.PolicyVersion, e.PolicyVersion)
				}
			})
		})
	}
}

// What a rule looks at may change while people decide. Then another rule of the same version asks, and those who agreed may not be enough for it.
func TestAnApprovedCallIsHeldToTheRuleThatAsksByNow(t *testing.T) {
	const rules = `approvals:
- {name: young, when: 'context.trust.lessThan(decimal("50.0"))', need: {people: 2}}
- {name: usual, need: {people: 1}}
trust: {start: 75, feedback: {lowest: -50, highest: 0}, sandboxes: {strict: {ceiling: high}, adaptive: {ceiling: high}}}
`
	each(t, func(t *testing.T, o *office) {
		o.published(o.operator, openWith(rules))
		kept, dropped := o.parked("test_move", oneLamp), o.parked("test_move", lamps(2))
		o.must("the vote", o.vote(kept.Approval.ApprovalID, approvals.Approve))
		o.resume()
		if j := o.job(kept.JobID); j.Status != tools.JobSucceeded {
			t.Fatalf("by the rule under which it was asked it is %s: %s", j.Status, j.Why)
		}
		o.must("the vote", o.vote(dropped.Approval.ApprovalID, approvals.Approve))
		_, err := o.GiveFeedback(t.Context(), o.operator, o.bot.ID, Feedback{Score: -40_000, Note: "It repeats itself."})
		o.must("the feedback", err)
		o.resume()
		if j := o.job(dropped.JobID); j.Status != tools.JobCancelled || !strings.Contains(j.Why, "2 people") {
			t.Errorf("by the rule that asks for two it is %s: %s", j.Status, j.Why)
		}
		if n := o.effects(); n != 1 {
			t.Errorf("%d moves were made", n)
		}
	})
}
