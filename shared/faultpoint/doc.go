// Package faultpoint names the moments at which a crash is worth most: between
// two things that must not come apart. The crash tests build the services with
// the tag faultpoints and have a process kill or stop itself when it reaches one
// of them. It is also the clock by which the services stamp what they store, so
// that the same tests can set it wrong: see [Now].
//
// It promises that a build without the tag, which every shipped binary is, has
// none of it: there [Reach] is empty, Now is time.Now, and both read nothing.
package faultpoint
