package gate

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
	"github.com/dtcgate/dtcgate/tools"
)

func (h *house) limited(perMinute, burst int64) auth.Principal {
	return h.mint(auth.Key{
		Name: "limited", Scopes: []auth.Scope{"orders:read", "orders:refund"}, Ceiling: auth.MaxLevel, Rate: auth.Rate{PerMinute: perMinute, Burst: burst},
	})
}

func TestOfFiftyCallsAtOnceOverTwoReplicasTheBurstPasses(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			dsn := storetest.DSN(t, engine)
			h, _ := newHooked(t, storetest.Open(t, dsn))
			db := storetest.Open(t, dsn)
			db.Now = h.db.Now
			replicas := []*Gate{h.Gate, New(Config{DB: db, Tools: h.tools, Log: zerolog.Nop()})}
			p := h.limited(10, 7)
			var all sync.WaitGroup
			var passed atomic.Int64
			for i := range 50 {
				all.Go(func() {
					_, err := replicas[i%2].Call(t.Context(), p, Request{Tool: []string{"test_read", "test_move"}[i/2%2], Args: []byte([]string{`{}`, oneLamp}[i/2%2]), Transport: "rest"})
					if err == nil {
						passed.Add(1)
					} else if r := wantCode(t, err, tools.RateLimited); r.RetryAfter != 6 {
						t.Errorf("told to wait %d s, want 6", r.RetryAfter)
					}
				})
			}
			all.Wait()
			if n := passed.Load(); n != 7 {
				t.Errorf("%d of 50 calls passed, want the burst of 7", n)
			}
			if n := h.count(`SELECT COUNT(*) FROM audit_entries WHERE event = 'call'`); n != 50 {
				t.Errorf("%d calls are on record", n)
			}
		})
	}
}

func TestARateIsGivenBackWithTime(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, k *hook) {
		p := h.limited(2, 1)
		for i := range 3 {
			if _, err := h.call(p, "test_read", `{}`); err != nil {
				t.Errorf("call %d: %v", i, err)
			}
			_, err := h.call(p, "test_read", `{}`)
			k.pass(time.Duration(wantCode(t, err, tools.RateLimited).RetryAfter) * time.Second)
		}
	})
}

func TestACallThatIsRefusedForItsArgumentsCountsAgainstTheRate(t *testing.T) {
	hooked(t, func(t *testing.T, h *house, _ *hook) {
		p := h.limited(2, 2)
		for _, want := range []tools.Code{tools.InvalidArguments, tools.InvalidArguments, tools.RateLimited} {
			_, err := h.call(p, "test_move", `{}`)
			wantCode(t, err, want)
		}
	})
}

func TestNothingIsDoneWhenTheRateCannotBeAsked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newHouse(t, db)
		p := h.limited(100, 100)
		h.exec(`ALTER TABLE rate_limits RENAME TO rate_limits_away`)
		for _, tool := range []string{"test_move", "test_read"} {
			if _, err := h.call(p, tool, oneLamp); code(err) != tools.Internal {
				t.Errorf("%s without the table of rates: %v", tool, err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		for _, tool := range []string{"test_move", "test_read"} {
			_, err := h.call(p, tool, oneLamp)
			wantCode(t, err, tools.Unavailable)
		}
		if len(h.handled) != 0 {
			t.Errorf("tools were reached: %v", h.handled)
		}
	})
}
