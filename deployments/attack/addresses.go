package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// inner are addresses that are nobody's on the internet, in every spelling that some
// parser takes for one.
var inner = []string{
	"127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.0.0.2", "127.255.255.254", "127.1", "127.0.1", "0177.0.0.1", "0177.0.0.01",
	"2130706433", "017700000001", "0x7f000001", "0x7f.0.0.1", "0X7F.1", "127.0.0.1.", "127.000.000.001", "%31%32%37.0.0.1",
	"①②⑦.0.0.1", "127。0。0。1", "１２７.0.0.1", // compatibility forms of Unicode
	"0.0.0.0", "0", "0.1.2.3", "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]",
	"[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]",
	"[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[::1%25lo]", "[fe80::1%25eth0]",
	"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255", "100.64.0.1", "100.127.255.255",
	"169.254.0.1", "169.254.169.254", "169.254.170.2", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[fd00:ec2::254]",
	"2852039166", "0xa9fea9fe", "168.63.129.16", "100.100.100.200", "192.0.0.192",
	"192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
	"[fc00::1]", "[fd12:3456:789a::1]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[ff05::2]", "[2001:db8::1]", "[100::1]", "[2001:10::1]", "[::ffff:10.0.0.1]",
	"[::ffff:192.168.0.1]", "[2002:c0a8:1::]", "[2002:a00:1::]",
}

// crooked are addresses that are to be refused by their form, with the port of the
// trap in place of PORT.
var crooked = []string{
	"file:///etc/passwd", "file://localhost/etc/passwd", "FILE:///etc/passwd", "gopher://127.0.0.1:PORT/_GET", "ftp://127.0.0.1:PORT/a.jpg",
	"dict://127.0.0.1:PORT/stats", "ldap://127.0.0.1:PORT/", "tftp://127.0.0.1:PORT/a", "data:image/png;base64,iVBORw0KGgo=", "javascript:alert(1)",
	"jar:http://127.0.0.1:PORT/!/a", "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/info", "//127.0.0.1:PORT/a.jpg", "127.0.0.1:PORT/a.jpg",
	"http:127.0.0.1:PORT", "http:/127.0.0.1:PORT/", "http:///127.0.0.1:PORT/", "http://", "http://:PORT/", "http://@127.0.0.1:PORT/", "http://user:secret@127.0.0.1:PORT/",
	"http://example.com@127.0.0.1:PORT/", "http://127.0.0.1:PORT#@example.com/", "http://127.0.0.1:PORT?@example.com/", `http://example.com\@127.0.0.1:PORT/`,
	`http:\\127.0.0.1:PORT\a.jpg`, "http://127.0.0.1:PORT/\r\nSET a b", "http://127.0.0.1:PORT\r\nHost: x/", "http://127.0.0.1\x00.example.com:PORT/", "http://127.0.0.1\t:PORT/",
	" http://127.0.0.1:PORT/", "http://127.0.0.1:PORT ", "http://127.0.0.1:99999/", "http://127.0.0.1:-1/", "http://127.0.0.1:/", "http://[::1:PORT/", "http://[127.0.0.1]:PORT/",
	"http://127.0.0.1%2f:PORT/", "http://127.0.0.1:22/", "http://127.0.0.1:6379/", "http://127.0.0.1:9000/original/", "http://127.0.0.1:15672/api/users",
}

// attackAddresses asks the gateway to fetch from inside. Refused is: the image ends
// as not allowed or not fetched, which read the same, without anybody having been
// connected to; an address that needs no resolver is refused at once, where a
// packet that left would wait for an answer.
func attackAddresses(ctx context.Context, t *target, r *tally) {
	trapped := setTrap(ctx, "127.0.0.1:0", "[::1]:0", "127.0.0.1:80", "[::1]:80", "127.0.0.1:443", "[::1]:443")
	ports := trapped.ports()
	if len(ports) == 0 {
		r.note("trap", errors.New("no listener could be set"))
		return
	}
	var sources []source
	for _, host := range inner {
		for _, form := range []string{"http://%s/latest/meta-data/", "https://%s/a.jpg", "http://%s:" + ports[0] + "/a.jpg"} {
			sources = append(sources, source{URL: fmt.Sprintf(form, host)})
		}
	}
	for _, address := range crooked {
		sources = append(sources, source{URL: strings.ReplaceAll(address, "PORT", ports[len(ports)-1])})
	}
	for batch := range slices.Chunk(sources, 100) {
		notFetched(ctx, t, r, batch)
	}
	r.note("trap", trapped.spring())
}

// notFetched holds that no image of a batch was fetched, each an attack of its own.
func notFetched(ctx context.Context, t *target, r *tally, batch []source) {
	j, err := t.process(ctx, batch...)
	for i, s := range batch {
		if err == nil {
			r.note(s.URL, unfetched(s, j.Images[i]))
		} else {
			r.note(s.URL, err)
		}
	}
}

func unfetched(s source, img outcome) error {
	if img.Status != "failed" || img.ErrorCode != "url_not_allowed" && img.ErrorCode != "download_failed" {
		return fmt.Errorf("got %+v, want it not fetched", img)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil //nolint:nilerr // An address that cannot be read has nothing to wait for.
	}
	if _, err := netip.ParseAddr(u.Hostname()); err == nil && img.Milliseconds > 5000 {
		return fmt.Errorf("it took %d ms to refuse: was it waited for an answer?", img.Milliseconds)
	}
	return nil
}

// attackRedirects has an origin that may be fetched from send the gateway inside.
func attackRedirects(ctx context.Context, t *target, r *tally) {
	trapped := setTrap(ctx, "[::1]:0", "127.0.0.2:0")
	port := "80"
	if ports := trapped.ports(); len(ports) > 0 {
		port = ports[0]
	}
	batch := []source{{URL: t.origin.redirect("http://127.0.0.2:" + port + "/")}}
	for _, to := range []string{
		"http://[::1]:PORT/", "//[::1]:PORT/a.jpg", "http://[0:0::1]:PORT/", "http://[::ffff:127.0.0.2]:PORT/", "http://[::ffff:7f00:2]:PORT/", "http://127.0.0.2/", "https://[::1]/",
		"http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/", "http://192.168.0.1/", "http://0.0.0.0:PORT/", "http://0/", "http://[::]:PORT/",
		"file:///etc/passwd", "gopher://[::1]:PORT/", "ftp://[::1]:PORT/", "data:image/png;base64,iVBORw0KGgo=", "javascript:alert(1)", "http://user:secret@[::1]:PORT/",
		"http://example.com@[::1]:PORT/", "http://", "http://[::1", "http://[::1]:99999/",
	} {
		batch = append(batch, source{URL: t.origin.redirect(strings.ReplaceAll(to, "PORT", port))})
	}
	twice := t.origin.redirect(t.origin.redirect("http://[::1]:" + port + "/"))
	batch = append(batch, source{URL: twice})
	// One that comes back to itself for ever.
	loop := t.origin.redirect("/to/loop")
	t.origin.mu.Lock()
	t.origin.away["/to/loop"] = loop
	t.origin.mu.Unlock()
	batch = append(batch, source{URL: loop})
	notFetched(ctx, t, r, batch)
	r.note("trap", trapped.spring())
	j, err := t.process(ctx, source{URL: t.origin.redirect(t.origin.url + "/good.jpg")})
	if err == nil && j.Images[0].Status != "completed" {
		err = fmt.Errorf("an honest redirect ended as %+v, so the others tell nothing", j.Images[0])
	}
	r.note("an honest redirect still works", err)
}
