// Package pipeline is the contract between the services: the messages of one
// image on its way through Imagebatch, the queues that carry them, and the keys
// under which its objects are stored. It is also the map of the system.
//
// One image is told by three messages, each with the whole [Envelope] of the
// one before it:
//
//	gateway ──Upload──▶ image_upload ──▶ analyzer ──Analysis──▶ metadata_generated
//	                                                                   │
//	gateway ◀──Result── image_processed ◀───────────────────────── processor
//
// Nothing travels backwards and no service calls another. A step that fails
// sends a [Result] with status failed straight to image_processed, so every
// trace id ends there at least once; settling one twice is harmless.
//
// # Versions
//
// Messages are JSON. Version is raised when a consumer of the version before could no
// longer read them; members that it may ignore are added without. Consumers read Version
// and Version-1, and hold a newer message until a newer consumer takes it, whatever
// else is in it (see the package stage): during an upgrade both are on the queues.
//
// A message has the version of the one that caused it, and only an Upload begins with
// Version. So the gateways, upgraded last, decide when a new version is used, and by
// then everybody reads it; what was under way ends as it has begun. The code of a release that
// raises Version therefore reads and writes both.
//
// Outputs hold no clock and no randomness outside the envelope: an image that is
// analysed twice by one analyzer version gives equal bytes.
//
// The package imports the standard library only and knows no broker.
package pipeline
