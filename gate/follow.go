package gate

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/dtcgate/dtcgate/approvals"
	"github.com/dtcgate/dtcgate/audit"
	"github.com/dtcgate/dtcgate/auth"
	"github.com/dtcgate/dtcgate/store"
	"github.com/dtcgate/dtcgate/tools"
)

const (
	// standEvery is how often each listener is read again, and the record asked for more, although nobody told that it has grown: who may listen no
	// more is gone within a second.
	standEvery = 600 * time.Millisecond
	// followPause is how long the record rests at least when nobody tells that it has grown.
	followPause = 50 * time.Millisecond
	// stretchMax is how many numbers are looked at in one go.
	stretchMax = 4096
)

// A feed is the follow of a process while somebody listens.
type feed struct {
	mu  sync.Mutex
	now *follow
}

// A follow is one goroutine that reads the record on, for the listeners that joined it. It ends with the last of them.
type follow struct {
	db   *store.DB
	log  zerolog.Logger
	feed *feed
	stop context.CancelFunc

	stood time.Time // when all listeners were read again

	// Guarded by feed.mu.
	at        int64 // everything up to it was told
	listeners map[*Listener]bool
}

// join lets l hear everything after the number that it gives. head is where the record ends as l knows it.
func (f *feed) join(g *Gate, l *Listener, head int64) (from int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now != nil {
		if err := f.now.room(l.who); err != nil {
			return 0, err
		}
	} else {
		f.now = &follow{db: g.db, log: g.log, feed: f, at: head, listeners: map[*Listener]bool{}}
		ctx, stop := context.WithCancel(context.Background())
		f.now.stop = stop
		go f.now.run(ctx)
	}
	l.follow = f.now
	f.now.listeners[l] = true
	return f.now.at, nil
}

// room asks whether somebody may have one listener more.
func (f *follow) room(p auth.Principal) error {
	ofPerson, ofSession := 0, 0
	for l := range f.listeners {
		if l.who.ID == p.ID {
			ofPerson++
			if l.who.Session == p.Session {
				ofSession++
			}
		}
	}
	switch {
	case ofSession >= listenersPerSession:
		return tooMany("of a browser", listenersPerSession)
	case ofPerson >= listenersPerPerson:
		return tooMany("of a person", listenersPerPerson)
	case len(f.listeners) >= listenersMax:
		return tooMany("of this server", listenersMax)
	}
	return nil
}

// leave forgets l, and with the last listener the follow.
func (f *follow) leave(l *Listener) {
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	f.drop(l, context.Canceled)
}

// drop sends l away. The caller holds feed.mu.
func (f *follow) drop(l *Listener, why error) {
	if !f.listeners[l] {
		return
	}
	delete(f.listeners, l)
	l.why = why
	close(l.news)
	if len(f.listeners) == 0 {
		f.stop()
		f.feed.now = nil
	}
}

// toldAll is the number up to which everything was told, if l has taken all of it, and 0 if it has not.
func (f *follow) toldAll(l *Listener) int64 {
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	if len(l.news) > 0 || !f.listeners[l] {
		return 0
	}
	return f.at
}

func (f *follow) run(ctx context.Context) {
	for ctx.Err() == nil {
		told, stop := f.db.Listen(audit.Bell)
		if err := f.pass(ctx); err != nil && ctx.Err() == nil {
			f.log.Error().Err(err).Msg("following the record")
			f.end(err)
		}
		select {
		case <-ctx.Done():
		case <-told:
		case <-time.After(max(standEvery-time.Since(f.stood), followPause)):
		}
		stop()
	}
}

// A stretch is what one look at the record shows: the news of merchants up to a number, and the listeners that may hear no more.
type stretch struct {
	until   int64
	news    map[string][]News
	waiting map[string]int64 // of merchants that have news
	gone    map[*Listener]error
}

// pass tells one stretch. Whether each listener may still listen is read in the snapshot that the news is read in, so that nobody
// hears of anything that was recorded after they were shut out.
func (f *follow) pass(ctx context.Context) error {
	after, listeners := f.present()
	var s stretch
	err := f.db.Read(ctx, func(tx *store.Tx) (err error) {
		s, err = f.look(tx, after, listeners)
		return err
	})
	if err != nil {
		return err
	}
	f.tell(s)
	return nil
}

func (f *follow) present() (int64, []*Listener) {
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	return f.at, slices.Collect(maps.Keys(f.listeners))
}

func (f *follow) look(tx *store.Tx, after int64, listeners []*Listener) (s stretch, err error) {
	head, err := audit.Head(tx)
	if err != nil {
		return s, err
	}
	if s.until = min(head, after+stretchMax); s.until > after {
		if s.news, err = readNews(tx, after, s.until); err != nil {
			return s, err
		}
	}
	if s.waiting, err = countWaiting(tx, s.news, listeners); err != nil {
		return s, err
	}
	if len(s.news) > 0 || time.Since(f.stood) >= standEvery {
		f.stood = time.Now()
		s.gone, err = shutOut(tx, listeners)
	}
	return s, err
}

func readNews(tx *store.Tx, after, until int64) (map[string][]News, error) {
	entries, err := audit.About(tx, after, until, feedKinds...)
	news := map[string][]News{}
	for _, e := range entries {
		if n, ok := newsOf(e); ok {
			news[e.Merchant] = append(news[e.Merchant], n)
		}
	}
	return news, err
}

// countWaiting counts what waits at the merchants that have news, and that somebody listens at.
func countWaiting(tx *store.Tx, news map[string][]News, listeners []*Listener) (map[string]int64, error) {
	counts := map[string]int64{}
	for _, l := range listeners {
		merchant := l.who.Merchant
		if _, counted := counts[merchant]; counted || len(news[merchant]) == 0 {
			continue
		}
		n, err := approvals.CountPending(tx, merchant)
		if err != nil {
			return nil, err
		}
		counts[merchant] = n
	}
	return counts, nil
}

// shutOut gives the listeners that may listen no more, with what each is told.
func shutOut(tx *store.Tx, listeners []*Listener) (map[*Listener]error, error) {
	type login struct{ person, session string }
	read := map[login]error{}
	gone := map[*Listener]error{}
	for _, l := range listeners {
		of := login{l.who.ID, l.who.Session}
		why, known := read[of]
		if !known {
			_, why = mayListen(tx, l.who)
			read[of] = why
		}
		if refusal := (*tools.Refusal)(nil); errors.As(why, &refusal) {
			gone[l] = refusal
		} else if why != nil {
			return nil, why
		}
	}
	return gone, nil
}

// tell sends away who may listen no more and hands the news to the rest. Who joined since hears it too.
func (f *follow) tell(s stretch) {
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	f.at = s.until
	for l, why := range s.gone {
		f.drop(l, why)
	}
	for l := range f.listeners {
		for _, n := range s.news[l.who.Merchant] {
			f.hand(l, n)
		}
		if n, counted := s.waiting[l.who.Merchant]; counted {
			f.hand(l, newsOfCounts(n))
		}
	}
}

// hand gives l one piece of news, or sends it away when it has not taken those before.
func (f *follow) hand(l *Listener, n News) {
	if !f.listeners[l] {
		return
	}
	select {
	case l.news <- n:
	default:
		f.drop(l, errSlow)
	}
}

// end sends everybody away: as long as nobody can be read, nobody is known to be allowed to listen.
func (f *follow) end(why error) {
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	for l := range f.listeners {
		f.drop(l, errors.Join(store.ErrUnavailable, why))
	}
}
