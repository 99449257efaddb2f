package rabbitmq

// Arguments returns the arguments of a queue.
var Arguments = arguments
