// Package pace learns how fast each host may be asked, from the responses of the host.
//
// A host starts with [Config].Concurrency requests at a time, which is also the maximum, and
// without a limit of requests per second. A host that answers 429 or 503, resets connections or
// times out is asked less: the number of concurrent requests is halved, and grows by one for
// each second in which the host answers (additive increase, multiplicative decrease, as in
// Chiu and Jain, 1989). A host that rejects even a single request at a time limits requests per
// second, so it gets a rate: half of what it accepted before. The rate is then halved and grows
// like the concurrency. Requests that were started before a decrease do not decrease again.
//
// After a 429 or 503 no request is sent to the host for the time in its Retry-After header, and
// for half a second at least, doubled up to 30 s for each time that this happens again before
// the host has answered. Then one request probes the host. A 503 without Retry-After may concern
// a single URL, so it takes several in a row to slow the host.
//
// Names that answered 429 or 503 from the same address share what is learned about the address, so that the many names
// of one server do not each get all that it accepts. Names that never limited requests are unaffected: unrelated
// names share the addresses of content delivery networks. For the same reason, the Retry-After of another name counts for at most
// 30 s.
//
// A host that has no users is forgotten after five idle minutes. The package knows neither jobs
// nor images, starts no goroutine and reads no clock: the caller passes the time.
package pace

import (
	"cmp"
	"net/http"
	"sync"
	"time"
)

const (
	firstPause  = 500 * time.Millisecond
	longPause   = 30 * time.Second
	growTime    = time.Second     // minimum time between two increases
	memory      = time.Second     // time constant of the measured rate
	keepTime    = 5 * time.Minute // after the last request to an idle host
	maxIdle     = 10_000          // number of idle hosts that are remembered
	firstRate   = 1               // minimum of the first rate, in requests per second
	minRate     = 0.1
	suspicious  = 3                // number of 503 in a row, without Retry-After, that slow a host
	sweepPeriod = 10 * time.Second // minimum time between two searches for idle hosts
)

// Reason is why a host is asked less.
type Reason string

// The reasons for a decrease.
const (
	TooManyRequests Reason = "429"
	Unavailable     Reason = "503"
	Reset           Reason = "reset"
	Timeout         Reason = "timeout"
)

// Reasons lists all reasons.
var Reasons = []Reason{TooManyRequests, Unavailable, Reset, Timeout}

// ReasonOf returns the reason for a status code, or "" if the status does not slow the host.
func ReasonOf(status int) Reason {
	switch status {
	case http.StatusTooManyRequests:
		return TooManyRequests
	case http.StatusServiceUnavailable:
		return Unavailable
	}
	return ""
}

// Config sets the limits of a Table. A zero field means its default.
type Config struct {
	Concurrency int           // maximum number of concurrent requests to one host; 8
	MaxBlock    time.Duration // maximum effect of a Retry-After header; 10 min
	Decreased   func(Reason)  // called for each decrease; may be nil
}

// Table remembers the hosts that are in use or were slowed recently. It is safe for concurrent
// use.
type Table struct {
	config Config

	mu    sync.Mutex // guards the fields below and all hosts
	hosts map[string]*Host
	swept time.Time
}

// New returns an empty Table.
func New(c Config) *Table {
	c.Concurrency = cmp.Or(c.Concurrency, 8)
	c.MaxBlock = cmp.Or(c.MaxBlock, 10*time.Minute)
	if c.Decreased == nil {
		c.Decreased = func(Reason) {}
	}
	return &Table{config: c, hosts: make(map[string]*Host)}
}

// Host is what is known about one host.
type Host struct {
	table *Table
	key   string
	users int

	running      int
	window       int       // maximum number of concurrent requests
	rate         float64   // maximum number of requests per second; 0: no limit
	next         time.Time // when the rate permits the next request
	blockedUntil time.Time
	probing      bool // one request at a time until the host answers

	decreased, grown time.Time // last decrease and last change
	step             float64   // increase of the rate
	answers          int       // since the last change
	inARow           int       // 429 and 503 since the last answer
	pauses           int       // since the last answer

	recent   float64 // answers, discounted by their age
	recentAt time.Time
	before   float64 // rate of answers at the first decrease since the last answer

	address *Host          // what is shared with other names at its address; nil: it never limited
	names   map[*Host]bool // hosts whose address this is

	silentSince time.Time // first request without an answer since the last answer; zero: the host answers
	status      int       // status code of the last 429 or 503
	used        time.Time
}

// Open returns the host with this key, for the caller to use until it calls Close.
func (t *Table) Open(key string, now time.Time) *Host {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.host(key)
	h.users++
	h.used = now
	return h
}

func (t *Table) host(key string) *Host {
	h := t.hosts[key]
	if h == nil {
		h = &Host{table: t, key: key, window: t.config.Concurrency}
		t.hosts[key] = h
	}
	return h
}

// Close ends the use of the host.
func (h *Host) Close(now time.Time) {
	t := h.table
	t.mu.Lock()
	defer t.mu.Unlock()
	if h.users--; h.users == 0 && !h.slowed(now) {
		t.forget(h)
	}
	t.sweep(now)
}

// sweep forgets idle hosts. Beyond maxIdle it forgets any, because they cost memory and an
// untrusted client can name as many hosts as it likes.
func (t *Table) sweep(now time.Time) {
	if now.Sub(t.swept) < sweepPeriod {
		return
	}
	t.swept = now
	idle := 0
	for _, h := range t.hosts {
		if h.users > 0 || len(h.names) > 0 {
			continue
		}
		if idle++; idle > maxIdle || now.Sub(h.used) > keepTime {
			t.forget(h)
		}
	}
}

func (t *Table) forget(h *Host) {
	if len(h.names) == 0 {
		t.join(h, "")
		delete(t.hosts, h.key)
	}
}

func (h *Host) slowed(now time.Time) bool {
	return h.window < h.table.config.Concurrency || h.rate > 0 || now.Before(h.blockedUntil)
}

// Free returns how many requests may start now. If it is none, at is the time at which one may
// start, or zero if that depends on a running request, which may be one to the same address.
func (h *Host) Free(now time.Time) (n int, at time.Time) {
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	n, at = h.free(now)
	if h.address == nil {
		return n, at
	}
	m, later := h.address.free(now)
	if later.After(at) {
		at = later
	}
	return min(n, m), at
}

func (h *Host) free(now time.Time) (n int, at time.Time) {
	if now.Before(h.blockedUntil) {
		return 0, h.blockedUntil
	}
	most := h.window
	if h.probing {
		most = 1
	}
	running := h.inProgress()
	switch {
	case running >= most:
		return 0, time.Time{}
	case h.rate == 0:
		return most - running, time.Time{}
	case now.Before(h.next):
		return 0, h.next
	}
	return 1, time.Time{}
}

// Start counts a request.
func (h *Host) Start(now time.Time) {
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	h.running++
	for ; h != nil; h = h.address {
		h.used = now
		if h.rate > 0 {
			h.next = now.Add(time.Duration(float64(time.Second) / h.rate))
		}
	}
}

// Done ends a request that Start counted.
func (h *Host) Done() {
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	h.running--
}

// Silence returns since when the host has not answered a request, and the status code of its
// last 429 or 503, or 0. The time is zero if the host answered the last request.
func (h *Host) Silence() (since time.Time, status int) {
	h.table.mu.Lock()
	defer h.table.mu.Unlock()
	return h.silentSince, h.status
}

// Visit counts a request to a host that the caller has not opened, such as the target of a
// redirect, until leave is called. If the host has no free place, leave is nil.
func (t *Table) Visit(key string, now time.Time) (leave func()) {
	h := t.Open(key, now)
	if n, _ := h.Free(now); n < 1 {
		h.Close(now)
		return nil
	}
	h.Start(now)
	return func() {
		h.Done()
		h.Close(time.Now())
	}
}

// Count returns the number of hosts that are slowed, and of hosts to which no request is sent
// for now.
func (t *Table) Count(now time.Time) (slowed, blocked int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, h := range t.hosts {
		if len(h.names) > 0 || h.users == 0 && now.Sub(h.used) > keepTime {
			continue
		}
		if h.slowed(now) {
			slowed++
		}
		if now.Before(h.blockedUntil) {
			blocked++
		}
	}
	return slowed, blocked
}
