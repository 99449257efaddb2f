// Package download fetches images from addresses that strangers name.
//
// It promises that no packet leaves for an address that is not allowed: the
// address is checked when the connection is made, on every redirect and for
// every address that a name has, so a name that changes its address in between
// gains nothing, and no proxy stands between the check and the origin. A list of
// hosts, if there is one, is asked before that, on every redirect too. It
// promises an end: to the header, the body, the redirects, the tries, the time
// and the memory of all downloads together. And it promises that what the
// client reads tells nothing about the inside: a port that is closed, filtered,
// blocked or refused, a name that does not resolve and one that resolves to an
// inner address read the same.
//
// It refuses everything but http and https, addresses with a user name or a
// password, and every answer but 200. It sends no cookie, referrer or secret,
// decodes no content encoding, and keeps no connection between two downloads.
package download
