package intake

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/pace"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

func fetchable(id string, n int) *job.Job {
	j := &job.Job{ID: id, Lease: job.Lease{Owner: "gateway-1", Epoch: 1}}
	for i := range n {
		j.Images = append(j.Images, job.Image{Index: i, Status: job.Pending, URL: fmt.Sprintf("http://example.com/%d", i)})
	}
	return j
}

// startAll starts every fetch that may start and counts them by job.
func startAll(s *schedule) ([]*task, map[string]int) {
	var tasks []*task
	count := map[string]int{}
	for {
		t, _ := s.next()
		if t == nil {
			return tasks, count
		}
		tasks = append(tasks, t)
		count[t.job.id]++
	}
}

// unlimited returns a schedule that limits no host.
func unlimited(fetchers int) *schedule {
	return newSchedule(fetchers, time.Minute, pace.New(pace.Config{Concurrency: 1000}))
}

// spread gives each image of the job a host of its own.
func spread(j *job.Job) *job.Job {
	for i := range j.Images {
		j.Images[i].URL = fmt.Sprintf("http://%s-%d.example.com.example%d/", j.ID, i, i)
	}
	return j
}

// order returns the images of the tasks in the order in which they started.
func order(tasks []*task) string {
	var list []string
	for _, t := range tasks {
		list = append(list, fmt.Sprint(t.job.id, t.index))
	}
	return strings.Join(list, " ")
}

func TestJobsTakeTurns(t *testing.T) {
	s := unlimited(8)
	s.add(spread(fetchable("a", 5)))
	s.add(spread(fetchable("b", 2)))
	s.add(spread(fetchable("c", 1)))
	tasks, _ := startAll(s)
	if got := order(tasks); got != "a0 b0 c0 a1 b1 a2" { // the last quarter is for other jobs
		t.Errorf("order is %s, want \"a0 b0 c0 a1 b1 a2\"", got)
	}
}

// TestJobsTakeTurnsOnAHost verifies that a job with one image for a host does not wait for all images
// of another job.
func TestJobsTakeTurnsOnAHost(t *testing.T) {
	s := newSchedule(32, time.Minute, pace.New(pace.Config{Concurrency: 2}))
	for _, id := range []string{"a", "b", "c"} {
		s.add(fetchable(id, 4))
	}
	var all []*task
	running, _ := startAll(s)
	for len(running) > 0 {
		all = append(all, running[0])
		s.done(running[0])
		more, _ := startAll(s)
		if running = append(running[1:], more...); len(running) > 2 {
			t.Fatalf("%d requests at a time, want at most 2", len(running))
		}
	}
	if got := order(all); got != "a0 b0 c0 a1 b1 c1 a2 b2 c2 a3 b3 c3" {
		t.Errorf("order is %s, want the jobs in turn", got)
	}
}

// TestHostLimit verifies that a host never gets more requests than it may, and that other
// hosts do not wait for it.
func TestHostLimit(t *testing.T) {
	s := newSchedule(32, time.Minute, pace.New(pace.Config{Concurrency: 3}))
	for i := range 10 {
		s.add(fetchable(fmt.Sprint(i), 10)) // all on example.com
	}
	s.add(spread(fetchable("other", 10)))
	if _, count := startAll(s); count["other"] != 10 {
		t.Errorf("%d images of other hosts run, want all 10", count["other"])
	}
	if s.active != 13 {
		t.Errorf("%d images run, want 3 of the full host and 10 others", s.active)
	}
}

// TestTarPitsOfAHost verifies that a job whose requests are not answered leaves room for other jobs
// on the same host, whereas answers open the host for it.
func TestTarPitsOfAHost(t *testing.T) {
	s := newSchedule(32, time.Minute, pace.New(pace.Config{}))
	s.add(fetchable("tarpits", 100))
	pits, _ := startAll(s)
	s.add(fetchable("good", 100))
	good, _ := startAll(s)
	for range 20 {
		s.done(good[0])
		more, _ := startAll(s)
		good = append(good[1:], more...)
	}
	if len(pits) != firstShare || len(good) != 8-firstShare {
		t.Errorf("%d tar pits and %d good images run, want %d and %d", len(pits), len(good), firstShare, 8-firstShare)
	}
}

func TestSlowJobLeavesPlaces(t *testing.T) {
	const fetchers = 8
	s := unlimited(fetchers)
	s.add(spread(fetchable("tarpits", 100)))
	slow, count := startAll(s)
	if n := count["tarpits"]; n != fetchers/2 {
		t.Errorf("a job without answers has %d of %d places, want %d", n, fetchers, fetchers/2)
	}
	s.add(spread(fetchable("good", 10)))
	if _, count := startAll(s); count["good"] != 2 {
		t.Errorf("another job gets %d places, want 2", count["good"])
	}
	for _, task := range slow {
		s.done(task)
	}
	for range 100 {
		tasks, _ := startAll(s)
		for _, task := range tasks {
			if task.job.id == "tarpits" {
				s.done(task)
			}
		}
	}
	if s.active != 4 || len(s.jobs) != 1 { // without answers, the good job has half of the places
		t.Errorf("%d active, %d jobs are left, want 4 and 1", s.active, len(s.jobs))
	}
}

// TestAloneAJobMayUseMore verifies that a job whose downloads end in time may use more than half of
// the places while no other job has anything to start.
func TestAloneAJobMayUseMore(t *testing.T) {
	s := unlimited(8)
	s.add(spread(fetchable("a", 100)))
	tasks, _ := startAll(s)
	s.done(tasks[0])
	if startAll(s); s.active != 6 {
		t.Errorf("%d active, want 6 of 8", s.active)
	}
	two := unlimited(2)
	two.add(spread(fetchable("a", 100)))
	if startAll(two); two.active != 2 {
		t.Errorf("%d active, want both places", two.active)
	}
}

func TestTwoHundredSlowJobsTakeTurns(t *testing.T) {
	s := unlimited(4)
	for i := range 200 {
		s.add(spread(fetchable(fmt.Sprint("slow", i), 3)))
	}
	_, count := startAll(s)
	if s.active != 4 || len(count) != 4 {
		t.Errorf("%d concurrent fetches of %d jobs, want 4 of 4", s.active, len(count))
	}
}

// TestNextExaminesNoBlockedJobs verifies that jobs that wait for a host are not in turns.
func TestNextExaminesNoBlockedJobs(t *testing.T) {
	s := newSchedule(32, time.Minute, pace.New(pace.Config{}))
	for i := range 1000 {
		s.add(fetchable(fmt.Sprint(i), 100))
	}
	if startAll(s); len(s.turns) != 0 {
		t.Errorf("%d jobs are in turns although their host is full, want 0", len(s.turns))
	}
}

func TestNewerLeaseReplacesTheJob(t *testing.T) {
	s := unlimited(8)
	s.add(spread(fetchable("a", 3)))
	old, _ := s.next()
	again := spread(fetchable("a", 3))
	again.Lease.Epoch = 2
	s.add(again)
	tasks, _ := startAll(s)
	if len(tasks) != 3 {
		t.Errorf("%d images are fetched under the new lease, want all 3", len(tasks))
	}
	for _, task := range tasks {
		if task.job.lease.Epoch != 2 {
			t.Errorf("image %d is fetched under the lease of epoch %d, want 2", task.index, task.job.lease.Epoch)
		}
		s.done(task)
	}
	s.done(old)
	if s.active != 0 || !s.empty() || s.urlBytes != 0 || len(s.hosts) != 0 {
		t.Errorf("%d active, %d jobs, %d bytes, %d hosts left, want none", s.active, len(s.jobs), s.urlBytes, len(s.hosts))
	}
}

func TestURLsInMemoryAreBounded(t *testing.T) {
	s := unlimited(1000)
	long := strings.Repeat("x", 8<<10)
	for i := range 100 {
		j := fetchable(fmt.Sprint(i), 100)
		for k := range j.Images {
			j.Images[k].URL += long
		}
		s.add(j)
		if s.urlBytes > maxURLBytes {
			t.Fatalf("%d bytes of URLs in memory, want at most %v", s.urlBytes, maxURLBytes)
		}
	}
	cold := 0
	for range 1000 {
		tasks, _ := startAll(s)
		for _, task := range tasks {
			if task.url == "" {
				cold++
			}
			s.done(task)
		}
	}
	if cold == 0 || s.urlBytes != 0 || !s.empty() || len(s.hosts) != 0 {
		t.Errorf("%d without URL, %d bytes and %d jobs left", cold, s.urlBytes, len(s.jobs))
	}
}
