package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A balancer sends requests to servers in turn, as a plain load balancer does: it asks each for /readyz, sends nothing to one that does
// not say 200, and tries nothing a second time.
type balancer struct {
	t       *testing.T
	web     *httptest.Server
	client  http.RoundTripper
	next    atomic.Int64
	refused atomic.Int64 // requests for which no server was ready, or whose server was killed

	mu       sync.Mutex
	backends []*backend
}

type backend struct {
	at     *url.URL
	ready  atomic.Bool
	doomed atomic.Bool // from just before it is killed
	stop   context.CancelFunc

	mu     sync.Mutex
	newest int // of the looks that were answered
}

// balancerLooks is how often a balancer asks each server whether it is ready. It does not wait for one answer to ask again: a
// server whose database is busy may take a second.
const balancerLooks = 50 * time.Millisecond

func newBalancer(t *testing.T) *balancer {
	b := &balancer{t: t, client: &http.Transport{MaxIdleConnsPerHost: 32, ResponseHeaderTimeout: 40 * time.Second}}
	b.web = httptest.NewServer(b)
	t.Cleanup(func() {
		for _, one := range b.all() {
			one.stop()
		}
		b.web.CloseClientConnections()
		b.web.Close()
	})
	return b
}

// add sends requests to p from the moment it is ready.
func (b *balancer) add(p *process) *backend {
	b.t.Helper()
	at, err := url.Parse(p.wire.base)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	one := &backend{at: at, stop: stop}
	one.ready.Store(true) // start has seen it
	b.mu.Lock()
	b.backends = append(b.backends, one)
	b.mu.Unlock()
	go one.watch(ctx)
	return one
}

func (b *balancer) all() []*backend {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*backend(nil), b.backends...)
}

// watch asks for /readyz until ctx ends.
func (one *backend) watch(ctx context.Context) {
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(balancerLooks)
	defer tick.Stop()
	for n := 1; ; n++ {
		go one.look(client, n)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look asks once; an answer that comes after that of a later look says nothing any more.
func (one *backend) look(client *http.Client, n int) {
	answer, err := client.Get(one.at.String() + "/readyz")
	if err == nil {
		answer.Body.Close()
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	if n > one.newest {
		one.newest = n
		one.ready.Store(err == nil && answer.StatusCode == http.StatusOK)
	}
}

// pick gives the next server that is ready, or nil.
func (b *balancer) pick() *backend {
	all := b.all()
	for range all {
		if one := all[int(b.next.Add(1))%len(all)]; one.ready.Load() {
			return one
		}
	}
	return nil
}

func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	one := b.pick()
	if one == nil {
		b.refused.Add(1)
		http.Error(w, "no server is ready", http.StatusServiceUnavailable)
		return
	}
	proxy := httputil.ReverseProxy{
		Transport: b.client,
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(one.at) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if b.refused.Add(1); !one.doomed.Load() && b.t.Context().Err() == nil {
				b.t.Errorf("%s, which nobody killed, did not answer: %v", one.at, err)
			}
			http.Error(w, "the server is gone", http.StatusBadGateway)
		},
	}
	proxy.ServeHTTP(w, r)
}
