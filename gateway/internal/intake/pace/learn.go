package pace

import (
	"math"
	"math/rand/v2"
	"time"
)

// Answered records that the host answered a request with anything other than 429 and 503.
func (t *Table) Answered(key string, started, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for h := t.hosts[key]; h != nil; h = h.address {
		h.answered(started, now)
	}
}

func (h *Host) answered(started, now time.Time) {
	h.used = now
	h.recent, h.recentAt = h.measured(now)*memory.Seconds()+1, now
	h.silentSince, h.status, h.inARow = time.Time{}, 0, 0
	if !started.After(h.decreased) {
		return
	}
	h.probing, h.pauses = false, 0
	if h.answers++; h.answers < h.window || now.Sub(h.grown) < growTime {
		return
	}
	h.answers, h.grown = 0, now
	h.window = min(h.window+1, h.table.config.Concurrency)
	if h.rate > 0 {
		h.rate += h.step
	}
}

// measured returns the recent answers per second.
func (h *Host) measured(now time.Time) float64 {
	return h.recent * math.Exp(-now.Sub(h.recentAt).Seconds()/memory.Seconds()) / memory.Seconds()
}

// Limited records a 429 or 503 with its Retry-After, which is 0 if there was none, and the address
// from which it came, or "".
func (t *Table) Limited(key, address string, status int, retryAfter time.Duration, started, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.host(key)
	if address != "" {
		t.join(h, address)
	}
	if h.limited(status, retryAfter, started, now) {
		t.config.Decreased(ReasonOf(status))
	}
	if h.address != nil {
		h.address.limited(status, min(retryAfter, longPause), started, now)
	}
}

// limited reports whether it slowed the host.
func (h *Host) limited(status int, retryAfter time.Duration, started, now time.Time) bool {
	h.used, h.status = now, status
	h.inARow++
	if h.silentSince.IsZero() {
		h.silentSince = now
	}
	if retryAfter > 0 {
		h.block(now, min(retryAfter, h.table.config.MaxBlock))
	}
	reason := ReasonOf(status)
	if !started.After(h.decreased) || reason == Unavailable && retryAfter == 0 && h.inARow < suspicious {
		return false
	}
	alone := h.inProgress() <= 1 && (h.window == 1 || h.probing)
	if h.pauses == 0 {
		h.before = h.measured(now)
	}
	switch {
	case h.rate == 0 && alone:
		h.rate = max(firstRate, h.before/2)
	case h.pauses == 0: // later ones in a row say nothing new about the rate
		h.rate /= 2
	}
	h.decrease(now)
	h.block(now, min(firstPause<<min(h.pauses, 10), longPause))
	h.pauses++
	h.probing = true
	return true
}

// Broke records that a request was reset or timed out.
func (t *Table) Broke(key string, reason Reason, started, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.host(key)
	h.used = now
	if h.silentSince.IsZero() {
		h.silentSince = now
	}
	if started.After(h.decreased) {
		h.rate /= 2
		h.decrease(now)
		t.config.Decreased(reason)
	}
}

// decrease halves the concurrency, and prepares the growth of the rate.
func (h *Host) decrease(now time.Time) {
	h.window = max(1, h.window/2)
	if h.rate > 0 {
		h.rate = max(h.rate, minRate)
		h.step = h.rate / 4
		h.next = now.Add(time.Duration(float64(time.Second) / h.rate))
	}
	h.decreased, h.grown, h.answers = now, now, 0
}

// block sends the host no request for d and up to a quarter more, so that several gateways do
// not return together.
func (h *Host) block(now time.Time, d time.Duration) {
	until := now.Add(d + rand.N(d/4+1))
	if until.After(h.blockedUntil) {
		h.blockedUntil, h.grown = until, until
	}
}
