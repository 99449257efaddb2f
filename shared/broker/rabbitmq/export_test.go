package rabbitmq

// The tests read these.
var (
	Arguments = arguments
	Mark      = mark
)

// BroadcastChannelClosed reports whether the server has closed the channel of broadcasts and its reason can be read or was.
func (b *Broker) BroadcastChannelClosed() bool {
	f := &b.publishing.session.publisher.fanout
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ch.IsClosed() && (f.closes == nil || len(f.closes) > 0)
}

// BroadcastRefused returns the noted refusal of a broadcast.
func (b *Broker) BroadcastRefused() error {
	f := &b.publishing.session.publisher.fanout
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused
}
