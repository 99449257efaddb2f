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
// Messages are JSON. Version is raised when a consumer of the version before
// could no longer read them; consumers read Version and Version-1. Outputs hold
// no clock and no randomness outside the envelope: an image that is analysed
// twice by one analyzer version gives equal bytes.
//
// The package imports the standard library only and knows no broker.
package pipeline
