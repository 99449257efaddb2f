// Package failpoint marks the moments at which a crash does the most damage: between
// two operations that belong together. The crash tests build the services with the tag
// failpoints and let a process kill or stop itself at one of them. The package also
// provides the clock for the times that the services store, so that the same tests can
// set it wrong: see [Now].
//
// Builds without the tag, such as every shipped binary, have no failpoints: [Reach] is
// empty, Now is time.Now, and neither reads a file or the environment.
package failpoint
