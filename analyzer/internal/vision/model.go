package vision

import (
	"log/slog"
	"sync"
	"time"
)

// The circuit breaker of a model. It is our own because it shares its state with the backoff, the waits that a server
// asks for, and the fallbacks; a library's breaker would know only a part.
const (
	breakerFailures = 5               // in a row
	breakerTime     = time.Minute     // until one request tries again
	firstBackoff    = time.Second     // after the first failure; doubled by each further one
	maxBackoff      = time.Minute     // also after a 429 that states no time
	logInterval     = time.Minute     // between two logs of a wrong configuration
	trialWait       = 5 * time.Second // for others, while one request tries again
)

// model is what is known about one model.
type model struct {
	name    string
	log     *slog.Logger
	metrics metrics

	mu       sync.Mutex // guards the fields below
	form     form       // fallbacks that worked
	next     form       // fallbacks that the next request tries, also after a wait for our own limits
	failures int        // in a row; the breaker is open from breakerFailures on
	limits   int        // responses of status 429 in a row
	until    time.Time  // no request before
	asked    time.Time  // part of until that the server asked for
	trying   bool       // one request tests whether an open breaker can be closed
	why      string     // last fault
	wrong    string     // wrong configuration, by the last request; "": none
	blind    string     // why the model accepts no images; "": it does, or it is not known
	proven   bool       // it has accepted an image
	logged   time.Time  // last log of a wrong configuration
}

// permit reports whether a request may be sent now. If so, the caller calls note or release afterwards. Otherwise it
// returns the time to wait.
func (m *model) permit(now time.Time) (bool, time.Duration, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case now.Before(m.until):
		return false, m.until.Sub(now), m.why
	case m.failures < breakerFailures:
		return true, 0, ""
	case m.trying:
		return false, trialWait, m.why
	default:
		m.trying = true
		return true, 0, ""
	}
}

// release ends a permitted request that says nothing about the model.
func (m *model) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trying = false
}

// note records the outcome of a permitted request and returns the time until the next one.
func (m *model) note(o outcome, f *fault, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.trying, m.wrong = false, ""
	if f != nil {
		m.why = f.detail
	}
	open := m.failures >= breakerFailures
	switch o {
	case answered, unusableReply, refused:
		if open {
			m.log.Info("vision model is available again; circuit breaker closed", "model", m.name)
		}
		m.failures, m.limits, m.until = 0, 0, m.asked // it may have been in flight when the server asked to wait
	case limited:
		m.limits++
		wait := f.after
		if wait == 0 {
			wait = backoff(m.limits)
		}
		m.pause(now, wait, f.after)
	case failed, timedOut, unreachable:
		m.failures++
		wait := max(backoff(m.failures), f.after)
		if m.failures >= breakerFailures {
			wait = max(breakerTime, f.after)
			if !open {
				m.log.Warn("vision model is unavailable; circuit breaker opened", "model", m.name, "error", f.detail)
			}
		}
		m.pause(now, wait, f.after)
	case misconfigured:
		m.wrong = f.detail
		m.logWrong(now, f.detail)
	}
	m.metrics.open(m.name, m.failures >= breakerFailures)
	return max(0, m.until.Sub(now))
}

// pause starts a wait, of which the server asked for a part. It shortens no other. m.mu is locked.
func (m *model) pause(now time.Time, wait, asked time.Duration) {
	if until := now.Add(wait); until.After(m.until) {
		m.until = until
	}
	if until := now.Add(asked); asked > 0 && until.After(m.asked) {
		m.asked = until
	}
}

// logWrong logs a wrong configuration, once a minute. m.mu is locked.
func (m *model) logWrong(now time.Time, detail string) {
	if !m.logged.IsZero() && now.Sub(m.logged) < logInterval {
		return
	}
	m.logged = now
	m.log.Error("captions are configured wrongly; images continue without: check CAPTION_URL, CAPTION_MODEL, CAPTION_API_KEY and the account",
		"model", m.name, "error", detail)
}

// backoff returns the wait after a number of faults in a row.
func backoff(n int) time.Duration {
	return min(maxBackoff, firstBackoff<<min(n-1, 10))
}

// accepts records that the model accepted an image, in the given form.
func (m *model) accepts(f form) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.form, m.next, m.proven, m.blind = f, f, true, ""
}

// rejects records that the model never accepts images.
func (m *model) rejects(why string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proven, m.blind = false, why
	m.logWrong(now, why)
}

// blindness returns why the model accepts no images, or "", and logs it.
func (m *model) blindness(now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.blind != "" {
		m.logWrong(now, m.blind)
	}
	return m.blind
}

// misconfiguration returns the wrong configuration that the last request found, or "".
func (m *model) misconfiguration() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrong
}

// fault returns what keeps the model from being asked, or "".
func (m *model) fault() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.blind != "":
		return "wrong configuration: " + m.blind
	case m.wrong != "":
		return "wrong configuration: " + m.wrong
	case m.failures >= breakerFailures:
		return "unavailable: " + m.why
	default:
		return ""
	}
}

func (m *model) needsProbe() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.proven || m.failures >= breakerFailures
}

// open reports whether the circuit breaker is open.
func (m *model) open() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failures >= breakerFailures
}

// nextForm returns the form of the next request.
func (m *model) nextForm() form {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.next
}

// tries sets the form of the next request. nil returns to the form that worked last.
func (m *model) tries(f *form) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next = m.form
	if f != nil {
		m.next = *f
	}
}
