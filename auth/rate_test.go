package auth

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/store/storetest"
)

// A bucket is the naive form of a rate: it holds a burst, drips full again and is asked for one call at a time.
type bucket struct {
	interval, room, level int64 // microseconds
	at                    time.Time
}

func newBucket(r Rate, now time.Time) *bucket {
	interval := int64(60_000_000) / r.PerMinute
	room := interval * r.burst()
	return &bucket{interval: interval, room: room, level: room, at: now}
}

func (b *bucket) take(now time.Time) bool {
	b.level, b.at = min(b.room, b.level+now.Sub(b.at).Microseconds()), now
	if b.level < b.interval {
		return false
	}
	b.level -= b.interval
	return true
}

func someRate(t *rapid.T) Rate {
	r := Rate{PerMinute: rapid.SampledFrom([]int64{1, 2, 7, 60, 601, 6000, maxRate}).Draw(t, "per minute")}
	r.Burst = rapid.Int64Range(0, 20).Draw(t, "burst")
	if r.PerMinute > 1000 {
		r.Burst = max(r.Burst, 1) // a burst of a minute's calls would never end
	}
	return r
}

// rated is a principal of one link with a rate.
func rated(id string, r Rate) Principal {
	return Principal{ID: id, Merchant: "mer_x", Links: []Link{{Kind: KindKey, ID: id, Rate: r}}}
}

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestARateLetsThroughWhatTheNaiveBucketDoes(t *testing.T) {
	db := storetest.New(t, "sqlite")
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		p := rated(fmt.Sprint("key_", n), someRate(t))
		oracle := newBucket(p.Links[0].Rate, noon)
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			tx.Now = noon
			for range rapid.IntRange(1, 60).Draw(t, "calls") {
				steps := rapid.Int64Range(0, 3).Draw(t, "intervals")
				tx.Now = tx.Now.Add(time.Duration(steps*oracle.interval/2+rapid.Int64Range(0, 2).Draw(t, "µs")) * time.Microsecond)
				err, want := Spend(tx, p), oracle.take(tx.Now)
				spent := (*TooOften)(nil)
				if errors.As(err, &spent) {
					err = nil
				}
				if err != nil || want != (spent == nil) {
					t.Fatalf("at %s: %v, %v; the bucket says %t", tx.Now, err, spent, want)
				}
				if spent != nil && spent.Wait.Microseconds() != oracle.interval-oracle.level {
					t.Fatalf("told to wait %s; the bucket says %d µs", spent.Wait, oracle.interval-oracle.level)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestAClockThatIsSetNeitherOpensNorShutsARate(t *testing.T) {
	db := storetest.New(t, "sqlite")
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		p := rated(fmt.Sprint("key_", n), someRate(t))
		r := p.Links[0].Rate
		interval := time.Minute / time.Duration(r.PerMinute)
		err := db.InTx(t.Context(), func(tx *store.Tx) error {
			tx.Now = noon
			forward, passed, set := time.Duration(0), int64(0), int64(0)
			last := noon // when a call passed
			for range rapid.IntRange(1, 60).Draw(t, "calls") {
				move := time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(t, "move")).Truncate(time.Microsecond)
				if rapid.Bool().Draw(t, "stand still") {
					move = 0
				}
				tx.Now = tx.Now.Add(move)
				forward += max(move, 0)
				spent := (*TooOften)(nil)
				err := Spend(tx, p)
				switch {
				case err == nil:
					if passed++; last.Sub(tx.Now) > maxSkew { // in one step or in several
						set++
					}
					last = tx.Now
				case !errors.As(err, &spent):
					t.Fatal(err)
				case spent.Wait > interval+maxSkew:
					t.Fatalf("told to wait %s", spent.Wait)
				}
				if passed > r.burst()+int64(forward/interval)+set {
					t.Fatalf("%d calls passed in %s with the clock set back %d times", passed, forward, set)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestOfCallsAtOnceTheBurstPasses(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			dsn := storetest.DSN(t, engine)
			replicas := []*store.DB{storetest.Open(t, dsn), storetest.Open(t, dsn)}
			for _, db := range replicas {
				db.Now = func() time.Time { return noon }
			}
			p := rated("key_x", Rate{PerMinute: 10, Burst: 7})
			var all sync.WaitGroup
			passed := make(chan bool, 50)
			for i := range cap(passed) {
				all.Go(func() {
					err := replicas[i%2].InTx(t.Context(), func(tx *store.Tx) error { return Spend(tx, p) })
					if err != nil && !errors.Is(err, ErrTooOften) {
						t.Error(err)
					}
					passed <- err == nil
				})
			}
			all.Wait()
			close(passed)
			n := 0
			for ok := range passed {
				if ok {
					n++
				}
			}
			if n != 7 {
				t.Errorf("%d of 50 calls passed, want the burst of 7", n)
			}
		})
	}
}

func TestARateOutlivesTheProcess(t *testing.T) {
	for _, engine := range storetest.Engines(t) {
		t.Run(engine, func(t *testing.T) {
			dsn := storetest.DSN(t, engine)
			p := rated("key_x", Rate{PerMinute: 2, Burst: 2})
			passed := 0
			for range 4 {
				db, err := store.Open(t.Context(), dsn)
				if err != nil {
					t.Fatal(err)
				}
				db.Now = func() time.Time { return noon }
				err = db.InTx(t.Context(), func(tx *store.Tx) error { return Spend(tx, p) })
				if spent := (*TooOften)(nil); errors.As(err, &spent) && spent.Wait != 30*time.Second {
					t.Errorf("told to wait %s", spent.Wait)
				} else if err == nil {
					passed++
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if passed != 2 {
				t.Errorf("%d calls passed, each in a process of its own, want 2", passed)
			}
		})
	}
}

// family is so many sub-tokens of one key: each may do three calls, and all together five.
func family(n int) (all []Principal) {
	key := Link{Kind: KindKey, ID: "key_m", Rate: Rate{PerMinute: 5}}
	for i := range n {
		sub := Link{Kind: KindSubToken, ID: fmt.Sprintf("sub_%c", 'a'+i), Rate: Rate{PerMinute: 3}}
		all = append(all, Principal{ID: sub.ID, Merchant: "mer_x", Links: []Link{sub, key, {Kind: KindPerson, ID: "per_x"}}})
	}
	return all
}

func TestSubTokensDrawOnWhatTheyComeFrom(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		db.Now = func() time.Time { return noon }
		all := family(3)
		passed := map[string]int{}
		for range 4 {
			for _, p := range all {
				if err := db.InTx(t.Context(), func(tx *store.Tx) error { return Spend(tx, p) }); err == nil {
					passed[p.ID]++
				}
			}
		}
		if sum := passed["sub_a"] + passed["sub_b"] + passed["sub_c"]; sum != 5 {
			t.Errorf("the key's 5 calls gave %v", passed)
		}
		one := rated("sub_a", Rate{PerMinute: 3})
		rest := 0
		for db.InTx(t.Context(), func(tx *store.Tx) error { return Spend(tx, one) }) == nil {
			rest++
		}
		if passed["sub_a"]+rest != 3 {
			t.Errorf("the sub-token was charged for calls that its key refused: %d passed, %d are left of 3", passed["sub_a"], rest)
		}
	})
}

// Two chains that share links in different orders would wait for each other, were links not charged in one order for all.
func TestChainsThatShareLinksDoNotBlockEachOther(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var links []Link
		for i := range 6 {
			links = append(links, Link{Kind: KindKey, ID: fmt.Sprint("key_", i), Rate: Rate{PerMinute: 60, Burst: 10_000}})
		}
		backwards := slices.Clone(links)
		slices.Reverse(backwards)
		var all sync.WaitGroup
		for i := range 8 {
			p := Principal{ID: "sub_x", Merchant: "mer_x", Links: [][]Link{links, backwards}[i%2]}
			all.Go(func() {
				for range 30 {
					if err := db.InTx(t.Context(), func(tx *store.Tx) error { return Spend(tx, p) }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	})
}

func TestWhatARateCanBe(t *testing.T) {
	for r, ok := range map[Rate]bool{
		{}: true, {60, 0}: true, {60, 10}: true, {1, 1}: true, {maxRate, maxRate}: true,
		{0, 10}: false, {-1, 0}: false, {60, -1}: false, {maxRate + 1, 0}: false, {1, maxRate + 1}: false,
	} {
		if err := r.check(); (err == nil) != ok {
			t.Errorf("%v: %v", r, err)
		}
	}
	for _, c := range []struct {
		narrow, wide Rate
		want         bool
	}{
		{Rate{}, Rate{}, true},
		{Rate{10, 0}, Rate{}, true},
		{Rate{}, Rate{10, 0}, false},
		{Rate{10, 0}, Rate{10, 10}, true},
		{Rate{10, 11}, Rate{10, 10}, false},
		{Rate{11, 1}, Rate{10, 10}, false},
		{Rate{9, 0}, Rate{10, 5}, false},
	} {
		if got := c.narrow.within(c.wide); got != c.want {
			t.Errorf("%v within %v: %t", c.narrow, c.wide, got)
		}
	}
}
