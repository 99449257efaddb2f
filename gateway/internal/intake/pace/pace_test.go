package pace

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"testing"
	"time"
)

const example = "example.com"

// day is the time of the first request of each test.
var day = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// at returns a time of the test's day.
func at(d time.Duration) time.Time { return day.Add(d) }

// startAll starts all requests that the host permits, and returns their number.
func startAll(h *Host, now time.Time) (n int) {
	for {
		if free, _ := h.Free(now); free == 0 {
			return n
		}
		h.Start(now)
		n++
	}
}

func TestABurstDecreasesOnce(t *testing.T) {
	var decreases []Reason
	table := New(Config{Decreased: func(r Reason) { decreases = append(decreases, r) }})
	h := table.Open(example, day)
	if n := startAll(h, day); n != 8 {
		t.Fatalf("%d requests at a time, want 8", n)
	}
	for range 4 {
		table.Limited(example, "", http.StatusTooManyRequests, 0, day, at(time.Millisecond))
	}
	for range 8 {
		h.Done()
	}
	if len(decreases) != 1 || decreases[0] != TooManyRequests {
		t.Errorf("decreases %v, want one for 429", decreases)
	}
	if n, until := h.Free(at(400 * time.Millisecond)); n != 0 || until.Before(at(500*time.Millisecond)) || until.After(at(650*time.Millisecond)) {
		t.Errorf("%d requests may start, the next one after %v, want none for 0.5 s", n, until.Sub(day))
	}
	now := at(time.Second)
	if n := startAll(h, now); n != 1 {
		t.Errorf("%d requests probe the host, want 1", n)
	}
	table.Answered(example, now, now)
	if n := 1 + startAll(h, now); n != 4 {
		t.Errorf("%d requests at a time after the probe, want 4", n)
	}
}

func TestConcurrencyGrowsByOneEachSecond(t *testing.T) {
	table := New(Config{})
	h := table.Open(example, day)
	table.Broke(example, Timeout, day, day)
	for second := range 10 {
		now := at(time.Duration(second) * time.Second)
		n, _ := h.Free(now)
		if want := min(8, 4+second); n != want {
			t.Errorf("%d requests at a time after %d s, want %d", n, second, want)
		}
		for range 100 { // however many answers there are
			table.Answered(example, now.Add(2*time.Millisecond), now.Add(time.Second-time.Millisecond))
			table.Answered(example, now.Add(2*time.Millisecond), now.Add(time.Second))
		}
	}
}

func TestRetryAfterHoldsForTheHost(t *testing.T) {
	table := New(Config{MaxBlock: time.Minute})
	h := table.Open(example, day)
	table.Limited(example, "", http.StatusServiceUnavailable, 20*time.Second, day, at(time.Second))
	// A later response of the same burst wants a longer pause.
	table.Limited(example, "", http.StatusServiceUnavailable, 40*time.Second, day, at(time.Second))
	if n, until := h.Free(at(40 * time.Second)); n != 0 || until.Before(at(41*time.Second)) || until.After(at(52*time.Second)) {
		t.Errorf("%d requests may start, the next one after %v, want none for 41 s", n, until.Sub(day))
	}
	if leave := table.Visit(example, at(40*time.Second)); leave != nil {
		t.Error("a redirect reached the host")
	}
	table.Limited(example, "", http.StatusServiceUnavailable, time.Hour, at(60*time.Second), at(60*time.Second))
	if _, until := h.Free(at(61 * time.Second)); until.After(at(135 * time.Second)) {
		t.Errorf("Retry-After of an hour blocks the host until %v, want at most a minute and a quarter", until.Sub(day))
	}
}

func TestPausesDouble(t *testing.T) {
	table := New(Config{})
	h := table.Open(example, day)
	now := day
	var asked int
	for now.Before(at(10 * time.Minute)) {
		h.Start(now)
		asked++
		table.Limited(example, "", http.StatusTooManyRequests, 0, now, now)
		h.Done()
		n, next := h.Free(now)
		if n != 0 || next.IsZero() {
			t.Fatalf("%d requests may start at %v after a 429, want 0", n, next)
		}
		now = next
	}
	if asked > 30 {
		t.Errorf("a host that only answers 429 was asked %d times in 10 minutes, want at most 30", asked)
	}
	if since, status := h.Silence(); since != day || status != http.StatusTooManyRequests {
		t.Errorf("silent since %v with %d, want %v and 429", since, status, day)
	}
}

func TestASingle503MayConcernItsURL(t *testing.T) {
	table := New(Config{})
	h := table.Open(example, day)
	for i := range 10 {
		now := at(time.Duration(i) * time.Millisecond)
		table.Limited(example, "", http.StatusServiceUnavailable, 0, now, now)
		table.Limited(example, "", http.StatusServiceUnavailable, 0, now, now)
		table.Answered(example, now, now)
	}
	if n, _ := h.Free(at(time.Second)); n != 8 {
		t.Errorf("%d requests may start after isolated 503 responses, want 8", n)
	}
	for i := range 3 {
		now := at(time.Duration(1000+i) * time.Millisecond)
		table.Limited(example, "", http.StatusServiceUnavailable, 0, now, now)
	}
	if n, _ := h.Free(at(1100 * time.Millisecond)); n != 0 {
		t.Errorf("%d requests may start after three 503 responses in a row, want 0", n)
	}
}

// TestRate verifies that a host that rejects even single requests gets evenly spaced ones.
func TestRate(t *testing.T) {
	table := New(Config{Concurrency: 1})
	h := table.Open(example, day)
	now := day
	ask := func(limited bool) {
		for {
			n, next := h.Free(now)
			if n > 0 {
				break
			}
			now = next
		}
		h.Start(now)
		if limited {
			table.Limited(example, "", http.StatusTooManyRequests, 0, now, now)
		} else {
			table.Answered(example, now, now)
		}
		h.Done()
	}
	for range 20 { // 20 answers in the first second
		ask(false)
		now = now.Add(50 * time.Millisecond)
	}
	ask(true)
	start := now
	var gaps []time.Duration
	for range 30 {
		before := now
		ask(false)
		gaps = append(gaps, now.Sub(before))
	}
	if took := now.Sub(start); took < time.Second || took > 6*time.Second {
		t.Errorf("30 requests after the decrease took %v, want 1 s to 6 s: %v", took, gaps)
	}
	if last := gaps[len(gaps)-1]; last >= gaps[3] || last < 20*time.Millisecond {
		t.Errorf("the gap between requests changed from %v to %v, want a slow decrease", gaps[3], last)
	}
}

func TestHostsAreForgotten(t *testing.T) {
	table := New(Config{})
	quick := table.Open("quick.example", day)
	quick.Close(day)
	slow := table.Open("slow.example", day)
	table.Broke("slow.example", Reset, day, at(time.Millisecond))
	slow.Close(at(time.Second))
	if len(table.hosts) != 1 {
		t.Errorf("%d hosts are remembered, want only the slowed one", len(table.hosts))
	}
	if slowed, blocked := table.Count(at(time.Minute)); slowed != 1 || blocked != 0 {
		t.Errorf("%d hosts are slowed and %d blocked, want 1 and 0", slowed, blocked)
	}
	again := table.Open("slow.example", at(4*time.Minute))
	if n, _ := again.Free(at(4 * time.Minute)); n != 4 {
		t.Errorf("%d requests at a time after 4 minutes, want 4", n)
	}
	again.Close(at(4 * time.Minute))
	table.Open("other.example", at(10*time.Minute)).Close(at(10 * time.Minute))
	if len(table.hosts) != 0 {
		t.Errorf("%d hosts are remembered after 6 idle minutes, want 0", len(table.hosts))
	}
	for i := range 3 * maxIdle { // names of an untrusted client
		name, now := fmt.Sprint(i, ".example"), at(time.Hour+time.Duration(i)*time.Millisecond)
		h := table.Open(name, now)
		table.Limited(name, "", http.StatusTooManyRequests, 0, now, now.Add(time.Millisecond))
		h.Close(now.Add(time.Millisecond))
	}
	if n := len(table.hosts); n > 2*maxIdle {
		t.Errorf("%d hosts are remembered, want about %d", n, maxIdle)
	}
}

// TestNamesOfOneAddress verifies that names that limit requests at the same address share its pace, and that other
// names there do not notice.
func TestNamesOfOneAddress(t *testing.T) {
	const address = "192.0.2.7"
	table := New(Config{})
	a, b, c := table.Open("a.example", day), table.Open("b.example", day), table.Open("c.example", day)
	startAll(a, day)
	table.Limited("a.example", address, http.StatusTooManyRequests, 0, day, at(time.Millisecond))
	startAll(b, at(2*time.Millisecond))
	table.Limited("b.example", address, http.StatusTooManyRequests, 600*time.Second, at(2*time.Millisecond), at(3*time.Millisecond))
	for range 8 {
		a.Done()
		b.Done()
	}
	if n, until := a.Free(at(29 * time.Second)); n != 0 || until.After(at(40*time.Second)) {
		t.Errorf("%d requests may start at a, the next one after %v, want none for 30 s, and not none for 600 s", n, until.Sub(day))
	}
	if n, _ := b.Free(at(599 * time.Second)); n != 0 {
		t.Errorf("%d requests may start at b, want none for 600 s", n)
	}
	if n, _ := c.Free(at(time.Second)); n != 8 {
		t.Errorf("%d requests may start at c, which never limited requests, want 8", n)
	}
	now := at(20 * time.Minute)
	if n := startAll(a, now) + startAll(b, now); n != 1 {
		t.Errorf("%d requests probe the address, want 1", n)
	}
	if slowed, _ := table.Count(now); slowed != 2 {
		t.Errorf("%d hosts are slowed, want 2", slowed)
	}
	a.Done()
	for _, h := range []*Host{a, b, c} {
		h.Close(now)
	}
	later := now.Add(time.Hour)
	table.Open("d.example", later).Close(later)
	table.Open("d.example", later.Add(time.Minute)).Close(later.Add(time.Minute))
	if n := len(table.hosts); n != 0 {
		t.Errorf("%d hosts are remembered, want 0", n)
	}
}

// TestInvariants sends random events in random order and verifies the bounds of the concurrency and that every
// host can be asked again at a known time.
func TestInvariants(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		table := New(Config{})
		h := table.Open(example, day)
		now := day
		var started []time.Time
		for range 500 {
			switch n := random.IntN(10); {
			case n < 5:
				if free, _ := h.Free(now); free > 0 {
					h.Start(now)
					started = append(started, now)
				}
			case len(started) > 0:
				i := random.IntN(len(started))
				switch n {
				case 5:
					table.Limited(example, "", 429+random.IntN(2)*74, time.Duration(random.IntN(3))*time.Second, started[i], now)
				case 6:
					table.Broke(example, Reset, started[i], now)
				default:
					table.Answered(example, started[i], now)
				}
				h.Done()
				started = append(started[:i], started[i+1:]...)
			}
			now = now.Add(time.Duration(random.IntN(500)) * time.Millisecond)
			free, next := h.Free(now)
			if free+len(started) > 8 || free < 0 {
				t.Fatalf("seed %d: %d requests run and %d may start, want at most 8", seed, len(started), free)
			}
			if free == 0 && len(started) == 0 && (next.IsZero() || next.Sub(now) > 45*time.Second) {
				t.Fatalf("seed %d: an idle host can be asked at %v, want a time within 45 s", seed, next)
			}
		}
	}
}

func TestKey(t *testing.T) {
	for address, want := range map[string]string{
		"http://example.com/a":                    "example.com",
		"https://Example.COM:443/a":               "example.com",
		"https://a.b.example.com./":               "example.com",
		"https://img1.example.co.uk/":             "example.co.uk",
		"https://user1.github.io/":                "user1.github.io",
		"https://bucket.s3.amazonaws.com/":        "bucket.s3.amazonaws.com",
		"http://example.com:8080/":                "example.com:8080",
		"http://localhost:9000/":                  "localhost:9000",
		"http://images/":                          "images",
		"http://192.0.2.7/":                       "192.0.2.7",
		"http://192.0.2.7:81/":                    "192.0.2.7:81",
		"http://[2001:DB8::1]/":                   "2001:db8::1",
		"http://[2001:db8:0::1]:81/":              "[2001:db8::1]:81",
		"http://[::ffff:192.0.2.7]/":              "192.0.2.7",
		"http://co.uk/":                           "co.uk",
		"http://xn--bcher-kva.example.com/?a#b":   "example.com",
		"http://a..example.com/":                  "a..example.com",
		"http://very.deep.internal.minio.local/a": "minio.local",
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := Key(u); got != want {
			t.Errorf("Key(%s) = %s, want %s", address, got, want)
		}
	}
}
