// Package pipeline is the contract between the services: the messages about one image,
// the queues that carry them, and the keys of its objects. It is also the map of the
// system.
//
// One image has three messages, each with the [Envelope] of the previous one:
//
//	gateway ──Upload──▶ image_upload ──▶ analyzer ──Analysis──▶ metadata_generated
//	                                                                   │
//	gateway ◀──Result── image_processed ◀───────────────────────── processor
//
// If captioning is on, the analyzer sends an Analysis that needs a caption to
// image_described first, reads it again there, and adds the words of a model.
//
// No message travels backwards, and no service calls another. A step that fails sends a
// [Result] with status failed directly to image_processed, so every trace ID ends there
// at least once. Settling a result twice is harmless.
//
// # Versions
//
// Messages are JSON. Version is raised when a consumer of the previous version could no
// longer read the messages. Members that old consumers may ignore are added without
// raising it. Consumers read Version and Version-1. During an upgrade, messages of both
// versions are on the queues; consumers park a newer message until a newer consumer
// takes it, whatever its content (see the package stage).
//
// A message has the version of the message that caused it, and only an Upload starts
// with Version. So the gateways, which are upgraded last, decide when a new version is
// used, and by then all consumers read it. Images in flight finish with the version
// they started with. The code of a release that raises Version therefore reads and
// writes both.
//
// Outputs have no time and no randomness outside the envelope: two analyses of one
// image by the same analyzer version return equal bytes.
//
// The package imports only the standard library and does not depend on a broker.
package pipeline
