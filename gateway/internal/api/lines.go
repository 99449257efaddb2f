package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// recordLimit is the maximum size of a record in a line. Records have some kB.
const recordLimit = 4 << 20

// lineJSON is one line of results.jsonl or of the manifest in results.zip.
type lineJSON struct {
	Index            int               `json:"index"`
	CustomID         string            `json:"custom_id,omitempty"`
	OriginalFilename string            `json:"original_filename"`
	Status           job.Status        `json:"status"`
	Metadata         json.RawMessage   `json:"metadata,omitempty"` // the record; only in results.jsonl
	Error            string            `json:"error,omitempty"`
	ErrorCode        string            `json:"error_code,omitempty"`
	Files            map[string]string `json:"files,omitempty"`   // name of each output; only in the manifest
	Missing          map[string]string `json:"missing,omitempty"` // reason for each output that is not there; only in the manifest
}

func lineShape(img *job.Image) lineJSON {
	return lineJSON{
		Index: img.Index, CustomID: img.CustomID, OriginalFilename: img.OriginalFilename, Status: img.Status,
		Error: img.Error, ErrorCode: img.ErrorCode,
	}
}

// lines responds with the results of a job in JSON Lines.
func (s *Server) lines(c echo.Context) error {
	j, err := s.find(c)
	if err != nil {
		return err
	}
	query, err := parameters(c)
	if err != nil {
		return err
	}
	p, err := s.linesOf(j, query)
	if err != nil {
		return err
	}
	return p.send(c)
}

// linesOf returns the results of a job in JSON Lines, one line for each image. It reads one
// record at a time.
func (s *Server) linesOf(j *job.Job, query url.Values) (prepared, error) {
	if err := checkEnded(j, query); err != nil {
		return prepared{}, err
	}
	return prepared{send: func(c echo.Context) error {
		startFile(c, "application/jsonl", j.ID+".jsonl")
		if c.Request().Method == http.MethodHead {
			c.Response().WriteHeader(http.StatusOK)
			return nil
		}
		for i := range j.Images {
			line, err := s.line(c.Request().Context(), &j.Images[i])
			if err != nil {
				return err
			}
			data, err := encode(line)
			if err != nil {
				return fmt.Errorf("write the line of images[%d]: %w", i, err)
			}
			if _, err := c.Response().Write(data); err != nil { // the first write sends the header
				return err
			}
		}
		return nil
	}}, nil
}

// line returns the line of an image, with its record if it has one.
func (s *Server) line(ctx context.Context, img *job.Image) (lineJSON, error) {
	line := lineShape(img)
	if img.Status != job.Completed {
		return line, nil
	}
	key, err := record.keyOf(img)
	if err != nil {
		return line, err
	}
	line.Metadata, err = objectstore.ReadAll(ctx, s.deps.Processed, key, recordLimit)
	err = record.doubt(err, img, s.deps.Now())
	if errors.Is(err, objectstore.ErrNotExist) {
		line.Error = errResultDeleted.with(img.Index).text
		return line, nil
	}
	return line, err
}

// checkEnded rejects a request for the results of a job that has not ended, unless its query asks
// for partial results.
func checkEnded(j *job.Job, query url.Values) error {
	switch partial := query.Get("partial"); {
	case partial != "" && partial != "true" && partial != "false":
		return errPartial
	case partial != "true" && !j.Status.Ended():
		return errNotEnded.with(j.Status)
	}
	return nil
}

// parameters returns the query of a request, or a refusal: Echo silently ignores what it
// cannot parse.
func parameters(c echo.Context) (url.Values, error) {
	query, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return nil, errQuery
	}
	return query, nil
}

// startFile sets the headers of a file that is created while it is sent.
func startFile(c echo.Context, contentType, name string) {
	h := c.Response().Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", revalidate)
	asFile(h, name)
}
