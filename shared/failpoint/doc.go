// Package failpoint names the moments at which a crash does the most damage:
// between two operations that must not come apart. The crash tests build the
// services with the tag failpoints and have a process kill or stop itself when it
// reaches one of them. The package is also the clock for the times that the
// services store, so that the same tests can set it wrong: see [Now].
//
// It guarantees that a build without the tag, as every shipped binary is, contains
// none of it: there [Reach] is empty, Now is time.Now, and neither reads anything.
package failpoint
