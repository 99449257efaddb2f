package api

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// A browser cannot send an API key with a navigation, and a page that fetches a large file holds it
// in memory. It therefore creates a one-time download with its key, and navigates to the path in the
// response. Only the hash of the token in that path is stored, and the token is not logged: a
// request is logged and counted under the path of its route.

// tokenBytes is the number of random bytes of a token.
const tokenBytes = 32

// single lists the outputs that a download can consist of.
var single = map[string]output{"file": file, "original": original, "metadata": record, "xmp": sidecar}

// downloadJSON is the response that creates a download.
type downloadJSON struct {
	Path      string    `json:"path"` // relative to the root of the API
	ExpiresAt time.Time `json:"expires_at"`
}

// createDownload creates a one-time download of results of a job. It rejects what the route of the
// results would reject.
func (s *Server) createDownload(c echo.Context) error {
	j, err := s.find(c)
	if err != nil {
		s.turnAway(c, err)
		return nil
	}
	respondEarly(c)
	in := s.newRequestBody(c, smallBody)
	data, err := s.readSmallBody(c, in)
	if err != nil {
		s.breakOff(c, in, err)
		return nil
	}
	d, err := parseDownload(data)
	if err != nil {
		return err
	}
	p, err := s.prepare(j, d)
	if err == nil && p.check != nil {
		err = p.check(c.Request().Context())
	}
	if err != nil {
		return err
	}
	var token [tokenBytes]byte
	rand.Read(token[:]) // never fails, according to its documentation
	now, by := s.deps.Now().UTC(), detailsOf(c).by
	d.Hash, d.Key, d.Owner, d.JobID, d.Expires = hashOf(token[:]), by.Hash(), by.Name, j.ID, now.Add(job.DownloadTime)
	if err := s.deps.Downloads.AddDownload(c.Request().Context(), d, now); err != nil {
		return err
	}
	path := pathDownloads + "/" + base64.RawURLEncoding.EncodeToString(token[:])
	c.Response().Header().Set("Location", detailsOf(c).base+path)
	return writeJSON(c, http.StatusCreated, downloadJSON{strings.TrimPrefix(path, "/"), second(d.Expires)})
}

func hashOf(token []byte) string {
	sum := sha256.Sum256(token)
	return hex.EncodeToString(sum[:])
}

// parseDownload returns the download that a body describes.
func parseDownload(data []byte) (d job.Download, err error) {
	var request struct {
		What    string `json:"what"`
		Image   *int   `json:"image"`
		Include string `json:"include"`
		Paths   string `json:"paths"`
	}
	if err := json.Unmarshal(data, &request); err != nil {
		return d, errDownloadBody
	}
	d.What = request.What
	switch _, one := single[d.What]; {
	case one && request.Image == nil:
		return d, errDownloadImage
	case one:
		d.Image = *request.Image
	case d.What == "zip":
		names := strings.Split(request.Include, ",")
		slices.Sort(names)
		d.Include, d.Paths = strings.Join(slices.Compact(names), ","), request.Paths
	case d.What != "jsonl":
		return d, errDownloadWhat
	}
	return d, nil
}

// prepare returns the response of a download. Its errors are those of the route of the results.
func (s *Server) prepare(j *job.Job, d job.Download) (prepared, error) {
	switch d.What {
	case "zip":
		return s.archiveOf(j, url.Values{"include": {d.Include}, "paths": {d.Paths}})
	case "jsonl":
		return s.linesOf(j, nil)
	default:
		return s.resultOf(single[d.What], j, strconv.Itoa(d.Image))
	}
}

// useDownload responds with the results that the token in the path is for. A GET ends the download, whatever becomes of the
// response, so its response cannot be continued; HEAD does not.
func (s *Server) useDownload(c echo.Context) error {
	token, err := base64.RawURLEncoding.Strict().DecodeString(c.Param("token"))
	if err != nil || len(token) != tokenBytes {
		return errNoDownload
	}
	r := c.Request()
	find := s.deps.Downloads.TakeDownload
	if r.Method == http.MethodHead {
		find = s.deps.Downloads.Download
	}
	d, err := find(r.Context(), hashOf(token), s.deps.Now())
	if err != nil {
		return err
	}
	by := anyone
	if s.deps.Keys != nil {
		if by = s.deps.Keys.FindHash(d.Key); by == nil {
			return errNoDownload
		}
	}
	detailsOf(c).by, detailsOf(c).jobID = by, d.JobID
	j, err := s.findJob(r.Context(), by, d.JobID) // by the rights that the key has now
	if errors.Is(err, job.ErrNotFound) {
		return errNoDownload
	}
	if err != nil {
		return err
	}
	p, err := s.prepare(j, d)
	if err != nil {
		return err
	}
	for _, name := range []string{"Range", "If-Range", "If-Match", "If-None-Match"} {
		r.Header.Del(name)
	}
	c.Response().Before(func() {
		if h := c.Response().Header(); c.Response().Status == http.StatusOK {
			h.Set("Cache-Control", noStore)
			h.Set("Accept-Ranges", "none")
		}
	})
	return p.send(c)
}
