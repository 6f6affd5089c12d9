package store

import "sync"

// bells wake those who wait in this process for something that a transaction may change. Nothing depends on one: what another
// process tells may be lost on its way here (listen.go), so whoever listens looks again after a while all the same.
type bells struct {
	mu sync.Mutex
	of map[string]*bell // by name as it is on the wire, only those that somebody listens to
}

// A bell is rung once: who wants to hear more listens again.
type bell struct {
	rung      chan struct{}
	listeners int
}

func (b *bells) listen(name string) (rung <-chan struct{}, stop func()) {
	name = onWire(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.of == nil {
		b.of = map[string]*bell{}
	}
	one := b.of[name]
	if one == nil {
		one = &bell{rung: make(chan struct{})}
		b.of[name] = one
	}
	one.listeners++
	return one.rung, func() { b.leave(name, one) }
}

func (b *bells) leave(name string, one *bell) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if one.listeners--; one.listeners == 0 && b.of[name] == one {
		delete(b.of, name)
	}
}

func (b *bells) ring(names []string) {
	if len(names) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		b.ringOne(onWire(name))
	}
}

// ringAs is ring for names as they come from another process.
func (b *bells) ringAs(names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		if name == everyBell {
			b.ringEvery()
			return
		}
		b.ringOne(name)
	}
}

// ringAll wakes everybody: nobody knows what was told.
func (b *bells) ringAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ringEvery()
}

func (b *bells) ringEvery() {
	for name := range b.of {
		b.ringOne(name)
	}
}

func (b *bells) ringOne(name string) {
	if one := b.of[name]; one != nil {
		close(one.rung)
		delete(b.of, name)
	}
}

// Listen gives a channel that is closed when a transaction that told the name (Tx.Tell) has committed: one of this process at once, one
// of another as soon as Relay hears of it, if it does. Listen before you read what you wait for, or the change may come in between; call stop
// when you wait no more.
func (db *DB) Listen(name string) (told <-chan struct{}, stop func()) { return db.bells.listen(name) }

// Tell wakes those who listen to the name, once the transaction is durable. It is for what happens seldom, such as the end of a job: each
// name costs the other processes a look.
func (tx *Tx) Tell(name string) { tx.told = append(tx.told, name) }
