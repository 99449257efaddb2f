package s3store

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// probed has a fake server that counts requests by method, and a store with a probe. The
// test's fault may refuse requests.
type probed struct {
	*fake
	mu     sync.Mutex // guards counts and fault
	counts map[string]int
	fault  func(w http.ResponseWriter, r *http.Request) bool
}

func newProbed(t *testing.T) *probed {
	p := &probed{counts: map[string]int{}}
	p.fake = newFake(t, func(w http.ResponseWriter, r *http.Request) bool {
		p.mu.Lock()
		p.counts[r.Method]++
		fault := p.fault
		p.mu.Unlock()
		return fault != nil && fault(w, r)
	})
	return p
}

func (p *probed) open(t *testing.T, probe Probe) *Store {
	return opened(t, Config{Endpoint: p.URL, AccessKey: "key", SecretKey: "secret", Bucket: "original", Prefix: "ours/", Probe: probe}, relaxed)
}

// refusing sets the methods that are refused as AWS refuses them for lack of a permission,
// or with 400.
func (p *probed) refusing(code string, methods ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = func(w http.ResponseWriter, r *http.Request) bool {
		for _, method := range methods {
			if r.Method == method && r.URL.Path != "/original/" {
				respond(w, map[string]int{minio.AccessDenied: http.StatusForbidden, "InvalidRequest": http.StatusBadRequest}[code], code)
				return true
			}
		}
		return false
	}
}

// take returns the number of PUTs and DELETEs since the last call.
func (p *probed) take() (puts, deletes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	puts, deletes = p.counts[http.MethodPut], p.counts[http.MethodDelete]
	p.counts = map[string]int{}
	return puts, deletes
}

func (p *probed) expect(t *testing.T, when string, puts, deletes int) {
	t.Helper()
	if gotPuts, gotDeletes := p.take(); gotPuts != puts || gotDeletes != deletes {
		t.Errorf("%s: %d PUTs and %d DELETEs, want %d and %d", when, gotPuts, gotDeletes, puts, deletes)
	}
}

// expire lets the refusals end, without waiting for it.
func expire(s *Store) {
	s.refusals.mu.Lock()
	defer s.refusals.mu.Unlock()
	for i := range s.refusals.list {
		s.refusals.list[i].until = time.Now()
	}
}

const probeKey = "ours/.imagebatch-probe/gateway"

// TestProbe verifies that Ready puts and deletes its object once.
func TestProbe(t *testing.T) {
	p := newProbed(t)
	var put atomic.Bool
	p.fault = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && r.URL.Path == "/original/"+probeKey {
			put.Store(true)
		}
		return false
	}
	s := p.open(t, Probe{Name: "gateway"})
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if err := s.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	p.expect(t, "20 concurrent calls of Ready", 1, 1)
	if !put.Load() || len(p.objects) != 0 {
		t.Errorf("%s was put: %v, want true; left %v, want nothing", probeKey, put.Load(), p.objects)
	}
	if err := s.Put(t.Context(), "a", objectstore.Content{Data: nil, Type: ""}); err != nil {
		t.Error(err)
	}
	p.take()
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	p.expect(t, "later Ready", 0, 0)
	if err := p.open(t, Probe{}).Ready(t.Context()); err != nil {
		t.Error(err)
	}
	p.expect(t, "Ready without a probe", 0, 0)

	// A service that may put objects only below a prefix.
	p.mu.Lock()
	p.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && r.URL.Path != "/original/ours/captions/.imagebatch-probe/analyzer" {
			respond(w, http.StatusForbidden, minio.AccessDenied)
			return true
		}
		return false
	}
	p.mu.Unlock()
	if err := p.open(t, Probe{Name: "analyzer", Below: "captions/"}).Ready(t.Context()); err != nil {
		t.Error(err)
	}
	p.expect(t, "Ready below a prefix", 1, 1)
}

// TestProbeIsNotNeeded verifies that calls that succeed are as good as a probe: in a locked
// bucket each probe leaves a version.
func TestProbeIsNotNeeded(t *testing.T) {
	p := newProbed(t)
	s := p.open(t, Probe{Name: "gateway"})
	if err := s.Put(t.Context(), "a", objectstore.Content{Data: nil, Type: ""}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	p.take()
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	p.expect(t, "Ready", 0, 0)
}

// TestProbeFindsARefusal verifies that Ready names a refusal before any image meets it, and
// for as long as it lasts, without a probe in each call.
func TestProbeFindsARefusal(t *testing.T) {
	for method, want := range map[string]string{
		http.MethodPut:    "refuses to store objects: said by the server (InvalidRequest, HTTP status 400)",
		http.MethodDelete: "refuses to delete objects: said by the server (InvalidRequest, HTTP status 400)",
	} {
		t.Run(method, func(t *testing.T) {
			p := newProbed(t)
			p.refusing("InvalidRequest", method)
			s := p.open(t, Probe{Name: "gateway"})
			for range 3 {
				p.take()
				for range 10 {
					expectUnavailable(t, s.Ready(t.Context()), `bucket "original" at `+p.URL+" "+want)
				}
				if puts, deletes := p.take(); puts+deletes > 2 {
					t.Errorf("ten calls made %d PUTs and %d DELETEs, want at most 2 together", puts, deletes)
				}
				expire(s)
			}
			p.refusing("")
			if err := s.Ready(t.Context()); err != nil {
				t.Errorf("Ready when the server accepts again: %v", err)
			}
			if len(p.objects) != 0 {
				t.Errorf("left %v, want nothing", p.objects)
			}
		})
	}
}

// TestProbeAfterARefusal verifies that Ready probes again after a call was refused, and so
// reports the refusal even if no further call is made.
func TestProbeAfterARefusal(t *testing.T) {
	p := newProbed(t)
	s := p.open(t, Probe{Name: "gateway"})
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.refusing(minio.AccessDenied, http.MethodPut)
	expectUnavailable(t, s.Put(t.Context(), "a", objectstore.Content{Data: nil, Type: ""}), "")
	for range 3 {
		expectUnavailable(t, s.Ready(t.Context()), "does not allow s3:PutObject to this access key")
		expire(s)
	}
	p.refusing("")
	p.take()
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	p.expect(t, "Ready when the server accepts again", 1, 1)
}

// TestProbeThatStays has a service whose policy does not allow it to delete: that is no
// reason not to be ready.
func TestProbeThatStays(t *testing.T) {
	p := newProbed(t)
	p.refusing(minio.AccessDenied, http.MethodDelete)
	s := p.open(t, Probe{Name: "gateway", Stays: true})
	for range 3 {
		if err := s.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	}
	p.expect(t, "three calls of Ready", 1, 1)
	if _, stays := p.objects[probeKey]; !stays {
		t.Error("the probe was deleted without the permission")
	}
	// It is deleted by the next process that may.
	p.refusing("")
	if err := p.open(t, Probe{Name: "gateway", Stays: true}).Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if len(p.objects) != 0 {
		t.Errorf("left %v, want nothing", p.objects)
	}
}

// TestProbeThatIsCutOff cuts a probe off between put and delete.
func TestProbeThatIsCutOff(t *testing.T) {
	p := newProbed(t)
	s := p.open(t, Probe{Name: "gateway"})
	var cut atomic.Bool
	p.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodDelete || cut.Swap(true) {
			return false
		}
		respond(w, http.StatusServiceUnavailable, "SlowDown")
		return true
	}
	expectUnavailable(t, s.Ready(t.Context()), "temporarily unavailable")
	// A call in between succeeds with a delete, and the probe is still there.
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	p.take()
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	p.expect(t, "second Ready", 0, 1)
	if len(p.objects) != 0 {
		t.Errorf("left %v, want nothing", p.objects)
	}
}

// TestProbeThatContradicts has a server that refuses some objects and takes the probe: it
// does not get a probe every few seconds.
func TestProbeThatContradicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProber(Probe{Name: "gateway"})
		p.probed(putObject)
		probes := 0
		const hour = int(time.Hour / time.Second)
		for range hour { // each second, a call is refused
			p.heard(putObject, false)
			if p.due(putObject) {
				probes++
				p.probed(putObject)
			}
			<-time.After(time.Second)
		}
		if want := int(time.Hour / probePause); probes != want {
			t.Errorf("%d probes in an hour, want %d", probes, want)
		}
	})
}

func TestOpenRejectsAProbeThatIsNoKey(t *testing.T) {
	_, err := Open(Config{Endpoint: "http://127.0.0.1", AccessKey: "key", SecretKey: "secret", Bucket: "original", Probe: Probe{Name: "../a"}})
	if err == nil {
		t.Error("Open accepts a probe that is not a key")
	}
}
