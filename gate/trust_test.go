package gate

import (
	"strings"
	"testing"
	"time"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/gate/policy"
	"github.com/dtcgate/dtcgate/gate/policy/policytest"
	"github.com/dtcgate/dtcgate/gate/trust"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

// watchful is a policy in which one bad signal takes an agent that is just in OPEN to ADAPTIVE, where it only reads.
const watchful = policytest.Open + `
trust:
  start: 75
  signals: {success: 0.1, refusal: -10, guardrail: -40, denial: -20}
  codes: {CONFLICT: 0}
  feedback: {lowest: -50, highest: 10}
  rise_per_day: 24
  sandboxes:
    strict: {ceiling: L0}
    adaptive: {ceiling: L1}
`

func (h *house) publish(source string) {
	h.t.Helper()
	h.tx(func(tx *store.Tx) error {
		if err := auth.BeginChange(tx, h.merchant); err != nil {
			return err
		}
		now, err := auth.PolicyVersion(tx, h.merchant)
		if err == nil {
			_, err = policy.Publish(tx, policy.Version{Merchant: h.merchant, Source: source, Author: "operator:cli", Note: "a test"}, now)
		}
		return err
	})
}

// score gives the trust in an agent in points.
func (h *house) score(agent string) string {
	h.t.Helper()
	s, err := h.Trust(h.t.Context(), h.operator(), agent)
	if err != nil {
		h.t.Fatal(err)
	}
	return s.Score.String()
}

func guarded(t *testing.T, tell func(t *testing.T, h *house)) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		h.publish(watchful)
		tell(t, h)
	})
}

const noLamp = `{"thing":"no lamp","amount":1}`

// Requirement R4: what an agent could do a moment ago it cannot do with the very next call.
func TestADropOfTrustHoldsForTheNextCall(t *testing.T) {
	guarded(t, func(t *testing.T, h *house) {
		for i := range 3 {
			if _, err := h.call(h.free, "test_move", oneLamp); err != nil {
				t.Fatalf("call %d: %v", i, err)
			}
		}
		_, err := h.call(h.free, "test_move", noLamp)
		wantCode(t, err, tools.NotFound)
		if got := h.score(h.free.ID); got != "65" {
			t.Errorf("after a refusal it is %s", got)
		}
		_, err = h.call(h.free, "test_move", oneLamp)
		wantCode(t, err, tools.TrustTooLow)
		if _, err := h.call(h.free, "test_read", `{}`); err != nil {
			t.Errorf("the sandbox lets it read: %v", err)
		}
		if got := h.score(h.bot.ID); got != "75" || h.effects() != 3 {
			t.Errorf("another's is %s, %d effects", got, h.effects())
		}
		e := h.entries("trust.moved")
		if len(e) != 1 || e[0].Resource != "key:"+h.free.ID || e[0].PolicyVersion != 2 || !strings.Contains(e[0].Reason, "sandbox: OPEN → ADAPTIVE; trust: 75 → 65; by: refusal") {
			t.Errorf("on record: %+v", e)
		}
	})
}

// Threat T79: what was approved while the agent was trusted does not run when it no longer is.
func TestAnApprovedCallOfAnAgentThatIsNotTrustedAnyMoreDoesNotRun(t *testing.T) {
	guarded(t, func(t *testing.T, h *house) {
		r := h.parked("test_move", oneLamp)
		if err := h.vote(r.JobID, approvals.Approve); err != nil {
			t.Fatal(err)
		}
		_, err := h.call(h.bot, "test_move", noLamp)
		wantCode(t, err, tools.NotFound)
		h.resume()
		if j := h.job(r.JobID); j.Status != tools.JobCancelled || h.effects() != 0 {
			t.Errorf("%+v, %d effects", j, h.effects())
		}
	})
}

func TestSubTokensShareTheTrustInTheirKey(t *testing.T) {
	guarded(t, func(t *testing.T, h *house) {
		key := h.rooted(false)
		sub := h.give(h.give(key, auth.Delegation{Name: "a", Depth: 1}), auth.Delegation{Name: "b"})
		_, err := h.call(sub, "test_move", noLamp)
		wantCode(t, err, tools.NotFound)
		_, err = h.call(key, "test_move", oneLamp)
		wantCode(t, err, tools.TrustTooLow)
		_, err = h.call(h.give(key, auth.Delegation{Name: "fresh"}), "test_move", oneLamp)
		wantCode(t, err, tools.TrustTooLow)
	})
}

func TestADenialCountsOnceAgainstTheAgent(t *testing.T) {
	guarded(t, func(t *testing.T, h *house) {
		r := h.parked("test_move", oneLamp)
		for range 2 {
			if err := h.vote(r.JobID, approvals.Deny); err != nil {
				t.Fatal(err)
			}
		}
		if got := h.score(h.bot.ID); got != "55" {
			t.Errorf("after a denial, said twice, it is %s", got)
		}
		moves, err := h.TrustHistory(t.Context(), h.operator(), h.bot.ID)
		if err != nil || len(moves) != 1 || moves[0].Kind != trust.Denial || moves[0].By != "person:"+h.person.ID || !strings.HasPrefix(moves[0].CallID, "call_") {
			t.Errorf("the history is %+v, %v", moves, err)
		}
	})
}

func TestNobodyIsBlamedForWhatTheGateCannotDo(t *testing.T) {
	guarded(t, func(t *testing.T, h *house) {
		_, err := h.call(h.free, "test_move", `{"thing":"fails","amount":1}`)
		wantCode(t, err, tools.Internal)
		if got := h.score(h.free.ID); got != "75" {
			t.Errorf("it is %s", got)
		}
	})
}

// The path of a call that succeeds reads the score once and writes none; the sweep writes all successes down as one.
func TestSuccessesAreWrittenDownTogether(t *testing.T) {
	guarded(t, func(t *testing.T, h *house) {
		var asked []string
		ctx := store.Watch(t.Context(), func(q string, _ []any) {
			if strings.Contains(q, "trust_") {
				asked = append(asked, q)
			}
		})
		for range 3 {
			if _, err := h.Call(ctx, h.free, Request{Tool: "test_move", Args: []byte(oneLamp), Transport: "rest"}); err != nil {
				t.Fatal(err)
			}
		}
		for _, q := range asked {
			if !strings.HasPrefix(q, "SELECT") {
				t.Errorf("a call that succeeds runs %s", q)
			}
		}
		if len(asked) != 3 {
			t.Errorf("three calls ask %d times", len(asked))
		}
		for _, args := range []string{`{"thing":"lamp","amount":1,"dry_run":true}`, `{"thing":"lamp","amount":1,"idempotency_key":"k"}`, `{"thing":"lamp","amount":1,"idempotency_key":"k"}`} {
			if _, err := h.call(h.free, "test_move", args); err != nil {
				t.Fatal(err)
			}
		}
		h.sweep()
		h.sweep()
		moves, err := h.TrustHistory(t.Context(), h.operator(), h.free.ID)
		if err != nil || len(moves) != 1 || moves[0].Count != 4 || moves[0].After != 75_400 { // neither the rehearsal nor the repeat counts
			t.Errorf("the history is %+v, %v", moves, err)
		}
	})
}

func TestStoredCallsThatRunCountToo(t *testing.T) {
	guarded(t, func(t *testing.T, h *house) {
		r := h.parked("test_move", oneLamp)
		if err := h.vote(r.JobID, approvals.Approve); err != nil {
			t.Fatal(err)
		}
		if _, err := h.call(h.free, "test_walk", `{"thing":"lamp","amount":2}`); err != nil {
			t.Fatal(err)
		}
		h.resume()
		h.sweep()
		if bot, free := h.score(h.bot.ID), h.score(h.free.ID); bot != "75.1" || free != "75.1" {
			t.Errorf("they are %s and %s", bot, free)
		}
	})
}

func TestSuccessesThatCannotBeWrittenDownAreKept(t *testing.T) {
	guarded(t, func(t *testing.T, h *house) {
		if _, err := h.call(h.free, "test_read", `{}`); err != nil {
			t.Fatal(err)
		}
		h.exec(`ALTER TABLE trust_moves RENAME TO trust_moves_away`)
		if err := h.Sweep(t.Context()); err == nil {
			t.Error("a sweep that cannot write said nothing")
		}
		h.exec(`ALTER TABLE trust_moves_away RENAME TO trust_moves`)
		h.sweep()
		if got := h.score(h.free.ID); got != "75.1" {
			t.Errorf("it is %s", got)
		}
	})
}

// A refusal whose signal cannot be written down would let the agent go on as if nothing had been.
func TestARefusalWithoutItsSignalIsNotAnswered(t *testing.T) {
	guarded(t, func(t *testing.T, h *house) {
		h.exec(`ALTER TABLE trust_moves RENAME TO trust_moves_away`)
		_, err := h.call(h.free, "test_move", noLamp)
		wantCode(t, err, tools.Unavailable)
	})
}

func TestPeopleGiveFeedbackWithinBounds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		o, ctx := newOffice(t, newHouse(t, db)), t.Context()
		bad := Feedback{Score: -20_000, Note: "It asked the same customer three times."}
		_, err := o.GiveFeedback(ctx, o.admin, o.free.ID, bad)
		o.refused("feedback where trust is not used", tools.Conflict, err)
		o.publish(watchful)
		clerk := o.hire("cleo", "manager")
		for what, c := range map[string]struct {
			by    By
			agent string
			f     Feedback
			want  tools.Code
		}{
			"without the scope":    {clerk, o.free.ID, bad, tools.ForbiddenScope},
			"more than is allowed": {o.admin, o.free.ID, Feedback{Score: 10_001, Note: "x"}, tools.InvalidArguments},
			"of nothing":           {o.admin, o.free.ID, Feedback{Note: "x"}, tools.InvalidArguments},
			"without a note":       {o.admin, o.free.ID, Feedback{Score: -1}, tools.InvalidArguments},
			"with a long note":     {o.admin, o.free.ID, Feedback{Score: -1, Note: strings.Repeat("x", MaxFeedbackNote+1)}, tools.InvalidArguments},
			"about nobody":         {o.admin, store.NewID("key", time.Now()), bad, tools.NotFound},
			"about a person":       {o.admin, o.person.ID, bad, tools.NotFound},
			"about no id":          {o.admin, "key_\x00", bad, tools.NotFound},
		} {
			_, err := o.GiveFeedback(ctx, c.by, c.agent, c.f)
			o.refused(what, c.want, err)
		}
		s, err := o.GiveFeedback(ctx, o.admin, o.free.ID, bad)
		o.must("feedback", err)
		if s.Score != 55_000 || s.Sandbox.Level != trust.Adaptive {
			t.Errorf("it is %+v", s)
		}
		e := o.entries("trust.feedback")
		if len(e) != 1 || e[0].Actor != o.admin.Principal.Chain()[0] || e[0].Reason != "trust: 75 → 55" || len(o.entries("trust.moved")) != 1 || len(o.entries("trust.feedback.refused")) != 9 {
			t.Errorf("on record: %+v", e)
		}
		moves, err := o.TrustHistory(ctx, o.admin, o.free.ID)
		if err != nil || len(moves) != 1 || moves[0].Note != bad.Note || moves[0].By != o.admin.Principal.Chain()[0] {
			t.Errorf("the history is %+v, %v", moves, err)
		}
		all, err := o.Trusted(ctx, o.admin, Listing{})
		if err != nil || len(all.Rows) != 1 || all.Rows[0].Agent != o.free.ID {
			t.Errorf("listed are %+v, %v", all, err)
		}
	})
}

// Whoever raises the trust in an agent lets it do more.
func TestRaisingTrustTakesAConfirmationAndLoweringItNone(t *testing.T) {
	each(t, func(t *testing.T, o *office) {
		o.publish(watchful)
		ctx, now := t.Context(), time.Now()
		o.db.Now = func() time.Time { return now }
		by := o.signIn(o.admin)
		now = now.Add(auth.StepUpTime + time.Second)
		_, err := o.GiveFeedback(ctx, by, o.free.ID, Feedback{Score: 1_000, Note: "good"})
		o.refused("raising", tools.StepUpRequired, err)
		_, err = o.GiveFeedback(ctx, by, o.free.ID, Feedback{Score: -1_000, Note: "bad"})
		o.must("lowering", err)
		_, err = o.GiveFeedback(ctx, o.signIn(o.admin), o.free.ID, Feedback{Score: 1_000, Note: "good"})
		o.must("raising after a confirmation", err)
	})
}
