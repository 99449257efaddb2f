package api

import "sync"

// uploads bounds the memory of the requests that are read at once. A request takes
// it while its buffer grows, so that one which announces much and sends little has
// little.
//
// What cannot be had is refused at once. Whoever waited for it would keep what it
// has from others that wait as well, and a refused one gives all of it back: of any
// requests at once, the last one left finds everything free. What is taken is kept
// to the end, as the buffer is for the next image, so that a batch is refused while
// it is young or not at all, unless its images become larger.
type uploads struct {
	share int64 // that one name may have

	mu   sync.Mutex // guards the fields below
	free int64
	of   map[string]int64 // what each name has, where it has any
}

// window is what reading a request takes beside the image in hand.
const window = 64 << 10

// newUploads leaves half of the memory to the others, however slowly one name sends
// its batches. A single upload always fits.
func newUploads(memory, maxImageBytes int64) *uploads {
	one := maxImageBytes + window
	return &uploads{share: max(memory/2, one), free: max(memory, one), of: map[string]int64{}}
}

// held is what one request has of the memory. It is not used from two goroutines.
type held struct {
	from *uploads
	by   caller
	n    int64
}

// hold begins with n bytes. Whoever gets them gives them back.
func (u *uploads) hold(by caller, n int64) (*held, error) {
	h := &held{from: u, by: by}
	if err := h.grow(n); err != nil {
		return nil, err
	}
	return h, nil
}

// grow takes n bytes more, or nothing and says why. Without API keys there is
// nobody to share with.
func (h *held) grow(n int64) error {
	u, name := h.from, h.by.name()
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case h.by.key != nil && u.of[name]+n > u.share:
		return tooMany("Too many uploads at once with this API key", 1)
	case n > u.free:
		return errBusy
	}
	u.free -= n
	u.of[name] += n
	h.n += n
	return nil
}

// give gives everything back.
func (h *held) give() {
	u, name := h.from, h.by.name()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.free += h.n
	if u.of[name] -= h.n; u.of[name] == 0 {
		delete(u.of, name)
	}
	h.n = 0
}
