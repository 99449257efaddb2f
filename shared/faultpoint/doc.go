// Package faultpoint names the moments at which a crash is worth most: between
// two things that must not come apart. The crash tests build the services with
// the tag faultpoints and have a process kill itself, with signal 9, when it
// reaches one of them.
//
// It promises that a build without the tag, which every shipped binary is, has
// none of it: there [Reach] is empty and reads nothing.
package faultpoint
