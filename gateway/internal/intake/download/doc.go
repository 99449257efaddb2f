// Package download fetches images from URLs that untrusted clients supply.
//
// It guarantees that no packet is sent to a forbidden address. The address is checked when the
// connection is made, on every redirect and for every address of a name, so DNS rebinding gains
// nothing, and no proxy is used. The list of allowed hosts, if any, is checked before that,
// also on every redirect. The package limits the header, the body, the redirects, the attempts,
// the time, and the memory of all downloads together. The errors that a client reads reveal
// nothing about the internal network: closed, filtered, blocked and refused ports, names that
// do not resolve, and names that resolve to an internal address all produce the same text.
//
// What is retried, and how:
//
//	Outcome                                         The image
//	200, 203                                        is downloaded
//	429, 503                                        waits for its host, outside of this package
//	408, 425, other 5xx                             is tried again
//	connection refused, reset or closed early       is tried again
//	name server failed or did not respond           is tried again
//	no memory for the body (ErrBusy)                is tried again by the caller
//	name does not exist, address not allowed        fails
//	invalid certificate, other errors of TLS        fail
//	no header within HeaderTimeout                  fails
//	not finished within Timeout                     fails
//	any other status, a body that is too large      fail
//
// "Tried again" means at most three attempts within Budget, with a pause of about 0.5 s and then
// 1 s, or as long as a Retry-After header says. "Waits" ends the call with a [*LimitedError] and
// costs no attempt. A timeout is final, because a server that never responds would otherwise
// occupy three times as much time. Package pace learns from every request how fast its host may be
// asked.
//
// A URL reaches its origin as its client wrote it: every escape, dot segment and separator of
// path and query, and the order of its parameters. Only bytes that HTTP forbids are escaped, and the
// fragment is left out. A redirect is followed in the same way; dot segments are removed only
// where a relative reference requires it. A host has one form, the ASCII form of UTS 46, for the
// lookup, the connection, the Host field, the list of allowed hosts and the log.
//
// It rejects all schemes except http and https, URLs with a user name or password, and every
// status except 200 and 203. It sends no cookies, and no header fields of its client except those that
// [Client.CheckHeaders] allows, and these only to the origin of the URL: its scheme, host and
// port. It keeps no connection open between two downloads.
//
// It asks for no content coding, but decodes a body that has one, under the same limit. The
// decoders are compress/gzip, compress/zlib and compress/flate of the standard library, that of
// zstd in package coding, and github.com/andybalholm/brotli (MIT license, v1.2.3), because the
// standard library has no brotli.
package download
