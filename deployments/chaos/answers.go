package main

import (
	"fmt"
	"slices"
	"time"
)

// counters are what the responses and the frames of a WebSocket say about a job.
type counters struct {
	JobID       string  `json:"job_id"`
	Status      string  `json:"status"`
	TotalImages int     `json:"total_images"`
	Completed   int     `json:"completed"`
	Failed      int     `json:"failed"`
	Progress    float64 `json:"progress"`
}

// fell reports whether anything decreased.
func (c *counters) fell(before *counters) bool {
	return c.Completed < before.Completed || c.Failed < before.Failed || c.Progress < before.Progress || rank(c.Status) < rank(before.Status)
}

// jobAnswer is a job as the API returns it.
type jobAnswer struct {
	counters
	Images      []imageAnswer `json:"images"`
	CreatedAt   time.Time     `json:"created_at"`
	UpdatedAt   time.Time     `json:"updated_at"`
	CompletedAt time.Time     `json:"completed_at"`
	RetryOf     string        `json:"retry_of"`
}

type imageAnswer struct {
	Index            int       `json:"index"`
	OriginalFilename string    `json:"original_filename"`
	Status           string    `json:"status"`
	TraceID          string    `json:"trace_id"`
	ProcessedPath    string    `json:"processed_path"`
	Error            string    `json:"error"`
	ErrorCode        string    `json:"error_code"`
	StartTime        time.Time `json:"start_time"`
	EndTime          time.Time `json:"end_time"`
	DurationMS       int64     `json:"duration_ms"`
}

func ended(status string) bool { return rank(status) == 2 }

// rank returns the position of a status; a status only moves up.
func rank(status string) int {
	switch status {
	case "", "pending":
		return 0
	case "processing":
		return 1
	}
	return 2
}

// contradictions returns what is wrong with one response, or with two in a row.
func contradictions(before, now *jobAnswer) []string {
	var found []string
	wrong := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	count := map[string]int{}
	for i, img := range now.Images {
		count[img.Status]++
		if img.Index != i {
			wrong("image %d is at position %d", img.Index, i)
		}
		if i < len(before.Images) {
			if b := before.Images[i]; rank(img.Status) < rank(b.Status) || ended(b.Status) && img != b {
				wrong("image went from %+v to %+v", b, img)
			}
		}
		if (img.Status == "completed") != (img.ProcessedPath != "") || (img.Status == "failed") != (img.Error != "") {
			wrong("image contradicts itself: %+v", img)
		}
		if ended(img.Status) && (img.StartTime.IsZero() || img.EndTime.Before(img.StartTime) || img.DurationMS < 0) {
			wrong("image ended before it started: %+v", img)
		}
	}
	if len(now.Images) != now.TotalImages || count["completed"] != now.Completed || count["failed"] != now.Failed {
		wrong("counters contradict the images: %d images, %v", len(now.Images), count)
	}
	if now.fell(&before.counters) || ended(before.Status) && now.Status != before.Status {
		wrong("job went back from %+v to %+v", before.counters, now.counters)
	}
	if all := now.Completed+now.Failed == now.TotalImages; all != ended(now.Status) || all == now.CompletedAt.IsZero() {
		wrong("job contradicts itself: %+v, completed at %s", now.counters, now.CompletedAt)
	}
	if now.UpdatedAt.Before(now.CreatedAt) || now.UpdatedAt.Before(before.UpdatedAt) || ended(now.Status) && now.CompletedAt.Before(now.CreatedAt) {
		wrong("time went back: created at %s, updated at %s after %s, completed at %s", now.CreatedAt, now.UpdatedAt, before.UpdatedAt, now.CompletedAt)
	}
	return found
}

// equal compares two responses about an ended job.
func equal(a, b *jobAnswer) bool {
	return a.Status == b.Status && a.Completed == b.Completed && a.Failed == b.Failed && a.TotalImages == b.TotalImages &&
		a.CompletedAt.Equal(b.CompletedAt) && slices.Equal(a.Images, b.Images)
}
