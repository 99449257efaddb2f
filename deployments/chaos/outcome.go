package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// outcome is what one run has shown, or several together.
type outcome struct {
	jobs, images      int
	completed, failed int // images
	poison, cancelled int // images among the failed ones
	lost, duplicated  int // images
	retried           int // jobs made of the failed images of others
	refused           int // batches, with 503, while the disk was full
	requestsBroken    int // of those to the storage
	leaderless        int // runs in which a broker came back with a queue that has no leader
	faults            map[string]int
	longest           time.Duration // from the last fault to the end of the last job
	breaches          []string
	infrastructure    error // the run says nothing
}

func (o *outcome) dealt() (n int) {
	for _, count := range o.faults {
		n += count
	}
	return n
}

func (o *outcome) String() string {
	return fmt.Sprintf("%d jobs, %d images (%d completed, %d failed as they must), %d faults, %d storage requests broken, %d lost, %d duplicated, longest recovery %.1fs",
		o.jobs, o.images, o.completed, o.failed, o.dealt(), o.requestsBroken, o.lost, o.duplicated, o.longest.Seconds())
}

// rest are the figures that are worth a line when many runs are told together.
func (o *outcome) rest() string {
	text := fmt.Sprintf("%d of the failed were poison, %d cancelled; %d jobs were retries; %d batches met a full disk; %d brokers came back with a queue without a leader", o.poison, o.cancelled, o.retried, o.refused, o.leaderless)
	var kinds []string
	for _, name := range slices.Sorted(maps.Keys(o.faults)) {
		kinds = append(kinds, fmt.Sprintf("%s %d", name, o.faults[name]))
	}
	return text + "\n  faults: " + strings.Join(kinds, ", ")
}

// add takes in the figures of a run.
func (o *outcome) add(other *outcome) {
	o.jobs += other.jobs
	o.images += other.images
	o.completed += other.completed
	o.failed += other.failed
	o.poison += other.poison
	o.cancelled += other.cancelled
	o.lost += other.lost
	o.duplicated += other.duplicated
	o.retried += other.retried
	o.refused += other.refused
	o.leaderless += other.leaderless
	o.requestsBroken += other.requestsBroken
	o.longest = max(o.longest, other.longest)
	if o.faults == nil {
		o.faults = map[string]int{}
	}
	for name, n := range other.faults {
		o.faults[name] += n
	}
}
