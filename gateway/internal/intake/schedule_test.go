package intake

import (
	"fmt"
	"strings"
	"testing"

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
		t, ok := s.next()
		if !ok {
			return tasks, count
		}
		tasks = append(tasks, t)
		count[t.job.id]++
	}
}

func TestJobsTakeTurns(t *testing.T) {
	s := newSchedule(8)
	s.add(fetchable("a", 5))
	s.add(fetchable("b", 2))
	s.add(fetchable("c", 1))
	tasks, _ := startAll(s)
	var order []string
	for _, task := range tasks {
		order = append(order, fmt.Sprint(task.job.id, task.index))
	}
	if got := strings.Join(order, " "); got != "a0 b0 c0 a1 b1 a2 a3" { // a gets half of the slots
		t.Errorf("order is %s, want \"a0 b0 c0 a1 b1 a2 a3\"", got)
	}
}

func TestSlowJobLeavesPlaces(t *testing.T) {
	const fetchers = 8
	s := newSchedule(fetchers)
	s.add(fetchable("tarpits", 100))
	var slow []*task
	for range 30 {
		tasks, count := startAll(s)
		if n := count["tarpits"]; n > fetchers/2 {
			t.Fatalf("one job has %d of %d young slots, want at most %v", n, fetchers, fetchers/2)
		}
		for _, task := range tasks {
			s.aged(task)
		}
		slow = append(slow, tasks...)
	}
	// It has all slots except the last, which are reserved for jobs that have none.
	if want := (slowFactor - 1) * fetchers; len(slow) != want {
		t.Errorf("the slow job has %d slots, want %d", len(slow), want)
	}
	s.add(fetchable("good", 10))
	if _, count := startAll(s); count["good"] == 0 {
		t.Error("another job gets no slot while the slow one hangs")
	}
	for _, task := range slow {
		s.done(task)
	}
	for range 100 {
		tasks, _ := startAll(s)
		for _, task := range tasks {
			s.done(task)
		}
	}
	if s.active != 1 || s.young != 1 || len(s.jobs) != 1 { // the good job's fetch from above
		t.Errorf("%d active, %d young, %d jobs are left, want 1, 1 and 1", s.active, s.young, len(s.jobs))
	}
}

func TestTwoHundredSlowJobsTakeTurns(t *testing.T) {
	s := newSchedule(4)
	for i := range 200 {
		s.add(fetchable(fmt.Sprint("slow", i), 3))
	}
	for range 100 {
		tasks, _ := startAll(s)
		for _, task := range tasks {
			s.aged(task)
		}
	}
	if s.active != 4*slowFactor {
		t.Errorf("%d concurrent fetches, want %d", s.active, 4*slowFactor)
	}
}

func TestNewerLeaseReplacesTheJob(t *testing.T) {
	s := newSchedule(8)
	s.add(fetchable("a", 3))
	old, _ := s.next()
	again := fetchable("a", 3)
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
	if s.active != 0 || s.young != 0 || !s.empty() || s.urlBytes != 0 {
		t.Errorf("%d active, %d young, %d jobs, %d bytes left", s.active, s.young, len(s.jobs), s.urlBytes)
	}
}

func TestURLsInMemoryAreBounded(t *testing.T) {
	s := newSchedule(1000)
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
	for range 100 {
		tasks, _ := startAll(s)
		for _, task := range tasks {
			if task.url == "" {
				cold++
			}
			s.done(task)
		}
	}
	if cold == 0 || s.urlBytes != 0 || !s.empty() {
		t.Errorf("%d without URL, %d bytes and %d jobs left", cold, s.urlBytes, len(s.jobs))
	}
}
