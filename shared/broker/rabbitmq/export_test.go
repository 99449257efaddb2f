package rabbitmq

// Arguments are what a queue is declared with.
var Arguments = arguments
