package rabbitmq

import (
	"math/rand/v2"
	"slices"
	"sync"
)

// nodes are the URLs of one cluster, in random order, so that the processes of an
// installation spread over its nodes. All connections of a process use the same node, as
// long as it works.
type nodes struct {
	urls []string

	// mu guards the field below.
	mu sync.Mutex
	at int // index of the node in use
}

func newNodes(urls []string) *nodes {
	n := &nodes{urls: slices.Clone(urls)}
	rand.Shuffle(len(n.urls), func(i, j int) { n.urls[i], n.urls[j] = n.urls[j], n.urls[i] })
	return n
}

// current returns the URL of the node in use.
func (n *nodes) current() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.urls[n.at]
}

// leave makes the next node the one in use, unless another connection has already left
// that URL.
func (n *nodes) leave(url string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.urls[n.at] == url {
		n.at = (n.at + 1) % len(n.urls)
	}
}

// use makes the URL the node in use.
func (n *nodes) use(url string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.at = max(0, slices.Index(n.urls, url))
}

// others returns the URLs of the other nodes, the next one first.
func (n *nodes) others() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Concat(n.urls[n.at+1:], n.urls[:n.at])
}
