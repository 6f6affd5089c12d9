package server

import (
	"context"
	"sync"
	"time"
)

// An until is a context that ends with either of two: that of the request, whose values it has, and hurried. Most calls
// never wait for their context, so that what it takes to wait for two is only made when somebody does: hurried would have
// to know every request otherwise.
type until struct {
	request, hurried context.Context

	mu    sync.Mutex
	waits context.Context // ends with either; nil until somebody waits
	stop  func() bool     // no longer waits for hurried
	end   context.CancelFunc
	ended bool
}

// Deadline implements context.Context.
func (u *until) Deadline() (time.Time, bool) { return u.request.Deadline() }

// Done implements context.Context.
func (u *until) Done() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.waits == nil {
		u.waits, u.end = context.WithCancel(u.request)
		u.stop = context.AfterFunc(u.hurried, u.end)
		if u.ended || u.hurried.Err() != nil {
			u.end()
		}
	}
	return u.waits.Done()
}

// Err implements context.Context.
func (u *until) Err() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.waits != nil:
		return u.waits.Err()
	case u.ended:
		return context.Canceled
	case u.request.Err() != nil:
		return u.request.Err()
	}
	return u.hurried.Err()
}

// Value implements context.Context. Once somebody waits it is asked of the context that is waited for, because package
// context finds out by a value that a child can be told directly, and needs no goroutine to watch us.
func (u *until) Value(key any) any {
	u.mu.Lock()
	waits := u.waits
	u.mu.Unlock()
	if waits != nil {
		return waits.Value(key)
	}
	return u.request.Value(key)
}

// over ends it, with the request.
func (u *until) over() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	if u.waits != nil {
		u.stop()
		u.end()
	}
}
