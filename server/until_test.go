package server

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"
)

type testKey struct{}

// Whichever ends first ends it, whether somebody waits for it already or only looks later.
func TestUntilEndsWithEitherOfTwo(t *testing.T) {
	for _, waited := range []bool{false, true} {
		for name, end := range map[string]func(request, hurried context.CancelFunc, u *until){
			"request": func(request, _ context.CancelFunc, _ *until) { request() },
			"hurried": func(_, hurried context.CancelFunc, _ *until) { hurried() },
			"over":    func(_, _ context.CancelFunc, u *until) { u.over() },
		} {
			request, endRequest := context.WithCancel(context.WithValue(t.Context(), testKey{}, "value"))
			hurried, hurry := context.WithCancel(t.Context())
			u := &until{request: request, hurried: hurried}
			if waited {
				u.Done()
			}
			if u.Err() != nil || u.Value(testKey{}) != "value" {
				t.Errorf("%s, %t: at first it is %v with %v", name, waited, u.Err(), u.Value(testKey{}))
			}
			end(endRequest, hurry, u)
			if !waited && u.Err() == nil {
				t.Errorf("%s: it has not ended for who only looks", name)
			}
			<-u.Done()
			if !errors.Is(u.Err(), context.Canceled) {
				t.Errorf("%s, %t: its end is %v", name, waited, u.Err())
			}
			endRequest()
			hurry()
		}
	}
}

// A child of a context that package context does not know costs a goroutine, for each request.
func TestChildrenOfUntilNeedNoGoroutine(t *testing.T) {
	request, end := context.WithCancel(t.Context())
	defer end()
	u := &until{request: request, hurried: context.Background()}
	before := runtime.NumGoroutine()
	child, cancel := context.WithTimeout(u, time.Hour)
	defer cancel()
	if now := runtime.NumGoroutine(); now > before {
		t.Errorf("%d goroutines more", now-before)
	}
	end()
	<-child.Done()
}
