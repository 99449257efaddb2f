package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"
)

// plan says what one run consists of. Everything in it follows from its number
// and its name.
type plan struct {
	name   string   // of the run and its folder
	again  string   // arguments of `make chaos` that repeat it
	number uint64   // the seed
	names  []string // of the services: the program's name and perhaps a number

	postgres  bool          // the jobs are in PostgreSQL instead of SQLite
	retention time.Duration // JOB_RETENTION; 0 keeps all jobs
	poison    int           // number of images that kill their analyzer
	strict    bool          // no fault duplicates messages, so each poison image is one dead letter
	smallDisk bool          // the job store is on a disk that can be filled

	draw    func(r *run) ([]batch, [][]blow)
	exact   bool // every fault must happen; the faults of a seed may miss
	hold    bool // the workers are stopped at first, until a fault resumes them
	readers int  // number of clients that repeat a GET while the faults happen
}

// Sizes of a plan.
const (
	batchCount     = 14
	loadTime       = 7 * time.Second // in which a seed sends its batches
	serviceBlows   = 5
	serverBlows    = 3
	shortRetention = 20 * time.Second

	rollingBatches = 60
	rollingTime    = 60 * time.Second
	rollingEvery   = 5 * time.Second
	outageBatches  = 20 // of ten images
	outageTime     = 180 * time.Second

	beheaded = "queue without a leader" // name of the fault
)

// plansOf returns the plans of the seeds, or those of a scenario: one for each job
// store.
func plansOf(scenario string, first, seeds uint64) (plans []*plan, err error) {
	if scenario == "" {
		for seed := first; seed < first+seeds; seed++ {
			plans = append(plans, seedPlan(seed))
		}
		return plans, nil
	}
	for i, store := range []string{"sqlite", "postgres"} {
		p := &plan{
			name: scenario + "-" + store, again: "SCENARIO=" + scenario, number: first + uint64(i), exact: true,
			names: []string{"gateway", "analyzer-1", "analyzer-2", "processor-1", "processor-2"},
		}
		if store == "postgres" {
			p.postgres = true
			p.names = slices.Concat([]string{"gateway-1", "gateway-2"}, p.names[1:])
		}
		switch scenario {
		case "rolling":
			p.draw, p.readers = (*run).rolling, 4
		case "outage":
			p.draw, p.hold = (*run).outage, true
		case "leaderless":
			p.draw, p.hold = (*run).leaderless, true
		default:
			return nil, fmt.Errorf("unknown scenario %q: choose rolling, outage or leaderless", scenario)
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// seedPlan returns the plan of a seed. Its kind follows from the number, so that a
// few seeds in a row cover every kind.
func seedPlan(seed uint64) *plan {
	p := &plan{
		name: fmt.Sprintf("seed-%d", seed), again: fmt.Sprintf("FIRST=%d SEEDS=1", seed), number: seed,
		names: []string{"gateway", "analyzer-1", "analyzer-2", "processor"}, smallDisk: mayMount(), draw: (*run).seed,
	}
	if seed%3 == 0 {
		p.names = []string{"gateway-1", "gateway-2", "analyzer", "processor-1", "processor-2"}
		p.postgres, p.smallDisk = true, false
	}
	if seed%4 == 3 {
		p.retention = shortRetention
	}
	switch seed % 10 {
	case 2:
		p.poison, p.strict = 1, true
	case 7:
		p.poison = 2
	}
	return p
}

// mayMount reports whether a small disk can be mounted for the job store.
func mayMount() bool { return os.Getuid() == 0 }

func (p *plan) String() string {
	return fmt.Sprintf("PostgreSQL: %t, JOB_RETENTION: %s, poison: %d", p.postgres, p.retention, p.poison)
}

// random returns one of the plan's independent streams of random numbers.
func (p *plan) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(p.number, stream)) }

// seed draws the batches and the faults of a seed.
func (r *run) seed() ([]batch, [][]blow) {
	batches := r.drawBatches(batchCount, loadTime)
	r.drawActions(r.random(6), batches)
	onServices, onServers := r.faults()
	victims := r.names
	if r.strict {
		victims = slices.DeleteFunc(slices.Clone(r.names), func(name string) bool { return programOf(name) != "processor" })
	}
	return batches, [][]blow{
		drawBlows(r.random(4), onServices, victims, serviceBlows), drawBlows(r.random(5), onServers, doomedQueues, serverBlows),
	}
}

// rolling restarts all services again and again: one gateway after the other, as a
// deployment does, and at the same time the others.
func (r *run) rolling() ([]batch, [][]blow) {
	batches := r.drawBatches(rollingBatches, rollingTime)
	for i := range batches {
		batches[i].key = fmt.Sprintf("rolling %d", i)
	}
	blows := make([][]blow, len(r.names))
	for at := time.Duration(0); at < rollingTime; at += rollingEvery {
		for i, name := range r.names {
			if programOf(name) == "gateway" {
				i = 0
			}
			blows[i] = append(blows[i], blow{fault: fault{name: "service restarted", do: restart}, victim: name, at: at})
		}
	}
	return batches, blows
}

// outage makes the storage unavailable for minutes while many good images are in
// flight.
func (r *run) outage() (batches []batch, _ [][]blow) {
	for b := range outageBatches {
		var next batch
		for i := range 10 {
			img := r.good[(b+i)%len(r.good)]
			if i%2 == 0 {
				img.url = r.site.url("slow", img.name, fmt.Sprintf("%d-%d", b, i))
			}
			img.name = fmt.Sprintf("%d-%d-%s", b, i, img.name)
			next.images = append(next.images, img)
		}
		batches = append(batches, next)
	}
	return batches, [][]blow{{{fault: fault{name: "storage away for minutes", do: longOutage}, lasts: outageTime}}}
}

// leaderless removes the leader of a work queue that every image must still pass.
func (r *run) leaderless() ([]batch, [][]blow) {
	return r.drawBatches(batchCount, loadTime),
		[][]blow{{{fault: fault{name: beheaded, do: behead}, victim: "metadata_generated", at: loadTime / 2}}}
}

// drawBatches draws count batches of URLs and inline images. Every image has a
// name of its own, which says from which file it was made.
func (r *run) drawBatches(count int, over time.Duration) (list []batch) {
	random := r.random(3)
	kinds := []string{"plain", "plain", "moody", "slow"}
	for b := range count {
		next := batch{after: time.Duration(random.Int64N(int64(over)))}
		for i := range 1 + random.IntN(14) {
			img := r.good[random.IntN(len(r.good))]
			if random.IntN(6) == 0 {
				img = r.bad[random.IntN(len(r.bad))]
			}
			if random.IntN(2) == 0 && img.code != invalidBase64 {
				img.url = r.site.url(kinds[random.IntN(len(kinds))], img.name, fmt.Sprintf("%d-%d", b, i))
			}
			if random.IntN(30) == 0 {
				img = r.site.absent("absent.jpg")
			}
			img.name = fmt.Sprintf("%d-%d-%s", b, i, img.name)
			next.images = append(next.images, img)
		}
		list = append(list, next)
	}
	return list
}

// drawActions draws what the clients do with their batches besides watching them,
// and which images are poison.
func (r *run) drawActions(random *rand.Rand, batches []batch) {
	poison := r.poison
	for i := range batches {
		b := &batches[i]
		action := random.IntN(10)
		if img := &b.images[random.IntN(len(b.images))]; poison > 0 && img.code == "" {
			img.name, img.code = strings.TrimSuffix(img.name, ".jpg")+"-"+poisonName, "processing_failed"
			poison--
			continue // It is neither cancelled nor retried, so that it kills as often as it can.
		}
		if random.IntN(2) == 0 && r.retention == 0 { // A key is deleted with its job.
			b.key = fmt.Sprintf("key of batch %d of seed %d", i, r.number)
			b.again = random.IntN(3) == 0
		}
		switch {
		case action < 1:
			b.cancel = time.Duration(1 + random.Int64N(int64(3*time.Second)))
		case action < 4 && r.retention == 0: // The job must still exist when it is retried.
			b.retry = true
		}
	}
}

// drawBlows draws count faults, which happen one after the other.
func drawBlows(random *rand.Rand, faults []fault, victims []string, count int) []blow {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	var list []blow
	for range count {
		b := blow{
			victim: victims[random.IntN(len(victims))],
			pause:  time.Duration(200+random.IntN(1200)) * time.Millisecond,
			lasts:  time.Duration(300+random.IntN(2200)) * time.Millisecond,
			draw:   rand.New(rand.NewPCG(random.Uint64(), 0)),
		}
		at := random.IntN(total)
		for _, b.fault = range faults {
			if at -= b.fault.weight; at < 0 {
				break
			}
		}
		b.lasts += time.Duration(random.Int64N(int64(b.fault.longer) + 1))
		list = append(list, b)
	}
	return list
}

// programOf returns the program of a service.
func programOf(name string) string {
	program, _, _ := strings.Cut(name, "-")
	return program
}
