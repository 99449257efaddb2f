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
// It rejects all schemes except http and https, URLs with a user name or password, and every
// status except 200. It sends no cookies, referrers or secrets, decodes no content encoding,
// and keeps no connection open between two downloads.
package download
