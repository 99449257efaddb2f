package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/imagebatch/imagebatch/shared/imagefile/imagetest"
)

// plan describes one run. Its number and name determine everything in it.
type plan struct {
	name   string   // name of the run and its folder
	again  string   // arguments of `make chaos` that repeat it
	number uint64   // the seed
	names  []string // names of the services: the program's name and perhaps a number

	postgres  bool          // the jobs are in PostgreSQL instead of SQLite
	retention time.Duration // JOB_RETENTION; 0 keeps all jobs
	poison    int           // number of images that kill their analyzer
	strict    bool          // whether no other fault duplicates messages, so dead letters can be counted
	smallDisk bool          // whether the job store is on a disk that can be filled
	captions  bool          // whether the analyzers ask a vision model
	clustered bool          // whether the servers are clusters

	draw    func(*run) ([]batch, [][]injection)
	exact   bool // whether every fault must happen; the faults of a seed may not happen
	hold    bool // whether the workers start paused, until a fault resumes them
	readers int  // number of clients that repeat a GET while the faults happen
}

// Sizes of a plan.
const (
	batchCount    = 14
	loadTime      = 7 * time.Second // time in which a seed sends its batches
	clusterTime   = time.Minute     // the same for clusters, whose nodes take longer to return
	outageBatches = 20              // batches of ten images
)

var scenarios = map[string]plan{
	"rolling": {draw: (*run).rolling, exact: true, readers: 4},
	"outage":  {draw: (*run).outage, exact: true, hold: true},
	"move":    {draw: (*run).move, exact: true, readers: 2},
}

// plansOf returns the plans of the seeds, or of a scenario: one plan for each job store.
func plansOf(scenario string, first, seeds uint64) (plans []*plan, err error) {
	if scenario == "" || scenario == "cluster" {
		for seed := first; seed < first+seeds; seed++ {
			p := seedPlan(seed)
			if scenario != "" {
				p.makeClustered()
			}
			plans = append(plans, p)
		}
		return plans, nil
	}
	for i, gateways := range [][]string{{"gateway"}, {"gateway-1", "gateway-2"}} {
		p, known := scenarios[scenario]
		if !known {
			return nil, fmt.Errorf("unknown scenario %q: choose rolling, outage, move, cluster or leaderless", scenario)
		}
		p.name, p.again = fmt.Sprintf("%s-%d", scenario, i+1), "SCENARIO="+scenario
		p.number, p.postgres = first+uint64(i), len(gateways) > 1
		p.names = append(gateways, "analyzer-1", "analyzer-2", "processor-1", "processor-2")
		plans = append(plans, &p)
	}
	return plans, nil
}

// seedPlan returns the plan of a seed. Its kind follows from the number, so that a
// few seeds in a row cover every kind.
func seedPlan(seed uint64) *plan {
	p := &plan{
		name: fmt.Sprintf("seed-%d", seed), again: fmt.Sprintf("FIRST=%d SEEDS=1", seed), number: seed,
		names: []string{"gateway", "analyzer-1", "analyzer-2", "processor"}, smallDisk: os.Getuid() == 0, draw: (*run).seed,
	}
	if seed%3 == 0 {
		p.names = []string{"gateway-1", "gateway-2", "analyzer", "processor-1", "processor-2"}
		p.postgres, p.smallDisk = true, false
	}
	if seed%4 == 3 {
		p.retention = 20 * time.Second
	}
	switch seed % 7 {
	case 2, 3, 4:
		p.captions = true
	}
	switch seed % 10 {
	case 2:
		p.poison, p.strict = 1, true
	case 7:
		p.poison = 2
	}
	return p
}

// makeClustered makes it a plan for clusters: more services, and faults of single nodes.
func (p *plan) makeClustered() {
	p.name, p.again = fmt.Sprintf("cluster-%d", p.number), "SCENARIO=cluster "+p.again
	p.clustered, p.postgres, p.smallDisk, p.strict = true, true, false, false
	p.names = []string{"gateway-1", "gateway-2", "gateway-3", "analyzer-1", "analyzer-2", "analyzer-3", "analyzer-4", "processor-1", "processor-2"}
}

func (p *plan) String() string {
	return fmt.Sprintf("PostgreSQL: %t, JOB_RETENTION: %s, poison: %d, captions: %t", p.postgres, p.retention, p.poison, p.captions)
}

// random returns one of the plan's independent streams of random numbers.
func (p *plan) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(p.number, stream)) }

// seed draws the batches and the faults of a seed.
func (r *run) seed() ([]batch, [][]injection) {
	over := loadTime
	if r.clustered {
		over = clusterTime
	}
	batches := r.drawBatches(batchCount, over)
	r.drawActions(r.random(6), batches)
	onServices, onServers := r.faults()
	victims := r.names
	if r.strict {
		victims = slices.DeleteFunc(slices.Clone(r.names), func(name string) bool { return programOf(name) != "processor" })
	}
	return batches, [][]injection{
		drawInjections(r.random(4), onServices, victims, 5), drawInjections(r.random(5), onServers, r.doomedQueues(), 3),
	}
}

// rolling restarts all services repeatedly: one gateway after the other, as a deployment
// does, and the other services concurrently.
func (r *run) rolling() ([]batch, [][]injection) {
	batches := r.drawBatches(60, time.Minute)
	for i := range batches {
		batches[i].key = fmt.Sprintf("rolling %d", i)
	}
	injections := make([][]injection, len(r.names))
	for at := time.Duration(0); at < time.Minute; at += 5 * time.Second {
		for i, name := range r.names {
			if programOf(name) == "gateway" {
				i = 0
			}
			injections[i] = append(injections[i], injection{fault: fault{name: "service restarted", do: restart}, victim: name, at: at})
		}
	}
	return batches, injections
}

// move moves the services to another broker in the middle of the load.
func (r *run) move() ([]batch, [][]injection) {
	return r.drawBatches(40, 30*time.Second), [][]injection{{{fault: fault{name: "broker moved", do: moved}, at: 15 * time.Second}}}
}

// outage makes the storage unavailable for minutes while many good images are in
// flight.
func (r *run) outage() (batches []batch, _ [][]injection) {
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
	return batches, [][]injection{{{fault: fault{name: "storage unavailable for minutes", do: longOutage}, lasts: 3 * time.Minute}}}
}

// drawBatches draws count batches of URLs and inline images. Every image has a unique
// name, which contains the name of its file.
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

// drawActions draws the actions of the clients in addition to watching, and which images
// are poison.
func (r *run) drawActions(random *rand.Rand, batches []batch) {
	poison := r.poison
	for i := range batches {
		b := &batches[i]
		action := random.IntN(10)
		if img := &b.images[random.IntN(len(b.images))]; poison > 0 && img.code == "" {
			img.name, img.code = strings.TrimSuffix(img.name, ".jpg")+"-"+poisonName, "processing_failed"
			poison--
			continue // It is neither cancelled nor retried, so that it kills as often as possible.
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
	private := r.random(7)
	for i := range batches {
		batches[i].private = r.captions && private.IntN(4) == 0
	}
}

// drawInjections draws count faults, which happen one after the other.
func drawInjections(random *rand.Rand, faults []fault, victims []string, count int) []injection {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	var list []injection
	for range count {
		b := injection{
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

// invalidBase64 is the error code of an image that cannot have a URL.
const invalidBase64 = "invalid_base64"

// source is an image as a client sends it, with its expected result.
type source struct {
	name string
	data []byte // bytes served at its URL, or sent inline
	url  string // "" for an inline image
	size image.Point
	code string // error_code of its failure; "" if it must complete
}

// member returns the image's element of the request.
func (s *source) member() map[string]string {
	member := map[string]string{"name": s.name}
	switch {
	case s.url != "":
		member["url"] = s.url
	case s.code == invalidBase64:
		member["base64"] = "%%%not base64%%%"
	default:
		member["base64"] = base64.StdEncoding.EncodeToString(s.data)
	}
	return member
}

// sources draws the images of a plan: good ones of several sizes, and each kind of
// bad one.
func sources(random *rand.Rand) (good, bad []source) {
	for i := range 8 {
		size, encode, format := image.Pt(24+random.IntN(300), 24+random.IntN(300)), imagetest.JPEG, "jpg"
		if i%3 == 2 {
			encode, format = imagetest.PNG, "png"
		}
		good = append(good, source{name: fmt.Sprintf("good-%d.%s", i, format), data: encode(size.X, size.Y), size: size})
	}
	photo := good[0].data
	// The header of this PNG declares twice as many lines as it has. Only the analyzer,
	// which decodes it, can detect that.
	rotten := imagetest.PNG(40, 40)
	binary.BigEndian.PutUint32(rotten[20:], 80)                                // the height in IHDR
	binary.BigEndian.PutUint32(rotten[29:], crc32.ChecksumIEEE(rotten[12:29])) // the checksum of IHDR
	bad = []source{
		{name: "text.jpg", data: []byte("this is no image at all"), code: "not_an_image"},
		{name: "moving.gif", data: []byte("GIF89a" + strings.Repeat("\x00", 100)), code: "unsupported_format"},
		{name: "cut.jpg", data: photo[:len(photo)/2], code: "damaged_image"},
		{name: "rotten.png", data: rotten, code: "damaged_image"},
		{name: "garbled.jpg", code: invalidBase64},
	}
	return good, bad
}

// site is the web server of the images' URLs. Their path is /{kind}/{file}.
type site struct {
	*httptest.Server
	files map[string][]byte
	seen  sync.Map // URLs that were requested
}

func newSite(sources []source) *site {
	s := &site{files: map[string][]byte{}}
	for _, img := range sources {
		s.files[img.name] = img.data
	}
	s.Server = serve(s.handle, nil)
	return s
}

// url returns the address of a file. The key makes it unique.
func (s *site) url(kind, file, key string) string {
	return s.URL + "/" + kind + "/" + file + "?" + key
}

// absent returns an image whose URL returns 404.
func (s *site) absent(name string) source {
	return source{name: name, url: s.url("plain", "absent.jpg", ""), code: "download_failed"}
}

// handle serves a file. Its kind is plain, slow, or moody, which fails at the first
// request.
func (s *site) handle(w http.ResponseWriter, r *http.Request) {
	kind, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	data, ok := s.files[file]
	if !ok {
		http.NotFound(w, r)
		return
	}
	_, again := s.seen.LoadOrStore(r.URL.String(), true)
	switch {
	case kind == "moody" && !again:
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	case kind == "slow":
		pause(r.Context(), 700*time.Millisecond)
	}
	_, _ = w.Write(data) // The client may be gone.
}
