package rabbitmq

// The tests read these.
var (
	Arguments = arguments
	Mark      = mark
)
