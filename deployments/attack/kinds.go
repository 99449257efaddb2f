package main

import (
	"context"
	"fmt"
	"sync"
)

// kind is attacks that go for the same thing.
type kind struct {
	name    string
	slow    bool // it waits for the gateway's patience to end, or sends very much
	fetches bool // it needs an origin that the gateway may fetch from
	attack  func(ctx context.Context, t *target, r *tally)
}

// kinds are all of them, in the order of the table.
var kinds = []kind{
	{name: "inner addresses by URL", attack: attackAddresses},
	{name: "inner addresses by redirect", fetches: true, attack: attackRedirects},
	{name: "request bodies", attack: attackBodies},
	{name: "oversize bodies and headers", attack: attackSizes},
	{name: "slow requests", slow: true, attack: attackSlowly},
	{name: "image bombs", attack: attackBombs},
	{name: "large image bombs", slow: true, attack: attackLargeBombs},
	{name: "files of two natures", attack: attackPolyglots},
	{name: "names", attack: attackNames},
	{name: "paths of results", attack: attackPaths},
	{name: "methods", attack: attackMethods},
	{name: "Host and Origin", attack: attackOrigins},
	{name: "smuggling", attack: attackSmuggling},
	{name: "WebSocket frames", fetches: true, attack: attackFrames},
	{name: "WebSockets that do not read", fetches: true, attack: attackReaders},
	{name: "other people's results", attack: attackGuesses},
}

// tally counts what became of the attacks of one kind, which may be tried side by
// side.
type tally struct {
	wg sync.WaitGroup // of those that are being tried

	mu      sync.Mutex // guards the rest
	tried   int
	through []string // what each attack that was let through did
}

// note takes the outcome of one attack: nil is a refusal, an error says what was
// seen instead.
func (r *tally) note(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried++
	if err != nil {
		r.through = append(r.through, fmt.Sprintf("%s: %v", name, err))
	}
}

// try tries an attack beside the others of its kind: most of the time is spent
// waiting for a connection to end.
func (r *tally) try(name string, attack func() error) {
	r.wg.Go(func() { r.note(name, attack()) })
}
