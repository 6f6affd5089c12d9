package gate

import (
	"fmt"
	"testing"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/shop"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

func TestACallThatWouldReachMoreCustomersThanWasShownDoesNotRun(t *testing.T) {
	for now, runs := range map[int64]bool{2183: true, 2184: true, 2185: false} {
		t.Run(fmt.Sprint(now, " of 2184"), func(t *testing.T) {
			storetest.Each(t, func(t *testing.T, db *store.DB) {
				h, _ := newHooked(t, db)
				spec, reached := moveSpec("test_reach", "test.reach"), int64(2184)
				spec.Risk.Blast = 2
				preview := func(_ *tools.Call, in moveIn) (tools.Preview, error) {
					return tools.Preview{Summary: "Move " + in.Thing, Customers: reached, Money: &shop.Money{AmountMinor: 1, Currency: "GBP"}}, nil
				}
				h.tools = tools.NewRegistry(append(h.tools.All(), tools.Define(spec, tools.Func[moveIn, moveOut]{Preview: preview, Write: h.move}))...)
				id := h.approved("test_reach")
				reached = now
				h.resume()
				if (h.effects() == 1) != runs {
					t.Errorf("it ran %d times: %s", h.effects(), h.job(id).Why)
				}
			})
		})
	}
}

func TestWhatWasDeniedIsNotAskedAgainForADay(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		if err := h.vote(h.parked("test_hook", oneLamp).JobID, approvals.Deny); err != nil {
			t.Fatal(err)
		}
		for _, worded := range []string{
			oneLamp, `{"thing":"lamp","amount":1,"reason":"please, it is urgent now"}`, `{"thing":"lamp","amount":1,"idempotency_key":"another"}`,
		} {
			_, err := h.call(h.bot, "test_hook", worded)
			wantCode(t, err, tools.ApprovalDenied)
		}
		if other := h.parked("test_hook", `{"thing":"lamp","amount":2}`); other.JobID == "" {
			t.Error("something else is not asked either")
		}
		k.pass(approvals.DeniedFor)
		if again := h.parked("test_hook", oneLamp); again.JobID == "" {
			t.Error("a day later it is not asked")
		}
	})
}
