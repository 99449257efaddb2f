package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

const hookBody = `{"url":"https://example.com/hook?token=t0p"}`

type hookJSON struct {
	ID                 string
	Owner              string
	URL                string
	Events             []string
	Status             string
	Secret             string
	CreatedAt          time.Time `json:"created_at"`
	DisabledReason     string    `json:"disabled_reason"`
	DisabledAt         time.Time `json:"disabled_at"`
	OldSecretExpiresAt time.Time `json:"old_secret_expires_at"`
	Listed             bool
}

// decode reads the body of a response with the status.
func decode[T any](r *rig, got response, status int) (v T) {
	r.Helper()
	if got.status != status {
		r.Fatalf("got %d %s, want %d", got.status, got.body, status)
	}
	r.must(json.Unmarshal(got.body, &v))
	return v
}

// addHook creates a webhook with the key of the given name.
func (r *rig) addHook(keys *keyFile, name string) hookJSON {
	r.Helper()
	return decode[hookJSON](r, r.as(keys, name, "POST", "/api/v1/webhooks", hookBody), 201)
}

// hooks returns the webhooks that the name sees.
func (r *rig) hooks(keys *keyFile, name string) []hookJSON {
	r.Helper()
	return decode[struct{ Webhooks []hookJSON }](r, r.as(keys, name, "GET", "/api/v1/webhooks", ""), 200).Webhooks
}

// TestWebhook follows a webhook from its creation to its end.
func TestWebhook(t *testing.T) {
	var log lockedBuffer
	keys := newKeyFile(t, "anna")
	r := setup(t, options{keys: keys.Store, log: &log})
	got := r.as(keys, "anna", "POST", "/api/v1/webhooks", hookBody)
	w := decode[hookJSON](r, got, 201)
	path := "/api/v1/webhooks/" + w.ID
	if got.header.Get("Location") != path || got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the response has the header %v", got.header)
	}
	if w.URL != "https://example.com/hook?token=t0p" || fmt.Sprint(w.Events) != "[job.completed job.failed job.cancelled]" ||
		w.Owner != "anna" || w.Status != "enabled" || len(w.Secret) != 50 || !strings.HasPrefix(w.Secret, "whsec_") {
		t.Errorf("got %+v", w)
	}
	// The secret is shown once.
	for _, shown := range []response{r.as(keys, "anna", "GET", path, ""), r.as(keys, "anna", "GET", "/api/v1/webhooks", "")} {
		if strings.Contains(string(shown.body), "whsec_") {
			t.Errorf("the secret is shown again: %s", shown.body)
		}
	}
	if again := decode[hookJSON](r, r.as(keys, "anna", "GET", path, ""), 200); again.ID != w.ID || again.URL != w.URL || again.Secret != "" {
		t.Errorf("got %+v", again)
	}
	before := time.Now()
	rotated := decode[hookJSON](r, r.as(keys, "anna", "POST", path+"/rotate", ""), 200)
	if rotated.Secret == w.Secret || len(rotated.Secret) != 50 || rotated.OldSecretExpiresAt.Sub(before).Round(time.Minute) != 24*time.Hour {
		t.Errorf("rotated: got %+v", rotated)
	}
	if stored, err := r.jobs.Webhook(t.Context(), w.ID); err != nil || stored.Secret.Reveal() != rotated.Secret || stored.OldSecret.Reveal() != w.Secret {
		t.Errorf("stored: %v", err)
	}

	type delivery struct {
		ID, Type, Status string
		JobID            string `json:"job_id"`
		Attempts         int
		LastError        string    `json:"last_error"`
		LastStatusCode   int       `json:"last_status_code"`
		NextAttemptAt    time.Time `json:"next_attempt_at"`
		EndedAt          time.Time `json:"ended_at"`
	}
	type page struct {
		Deliveries    []delivery
		NextPageToken string `json:"next_page_token"`
	}
	deliveries := func(query string) page {
		t.Helper()
		return decode[page](r, r.as(keys, "anna", "GET", path+"/deliveries"+query, ""), 200)
	}
	if list := string(r.as(keys, "anna", "GET", path+"/deliveries", "").body); list != "{\"deliveries\":[]}\n" {
		t.Errorf("without deliveries: %s", list)
	}
	test := decode[delivery](r, r.as(keys, "anna", "POST", path+"/test", ""), 202)
	if test.Type != "webhook.test" || test.Status != "pending" || !strings.HasPrefix(test.ID, "msg_") {
		t.Errorf("test: got %+v", test)
	}
	id := r.createAs(keys, "anna", 1)
	r.end(id, 0, nil)
	claimed, err := r.jobs.ClaimDeliveries(t.Context(), w.ID, time.Now(), time.Now().Add(time.Minute), 9)
	r.must(err)
	_, err = r.jobs.RecordAttempt(t.Context(), claimed[0], job.Attempt{At: time.Now(), Status: 500, Error: "status code 500", Next: time.Now().Add(time.Hour)})
	r.must(err)
	_, err = r.jobs.RecordAttempt(t.Context(), claimed[1], job.Attempt{At: time.Now(), Status: 410, Error: "status code 410", Disable: "gone"})
	r.must(err)
	all := deliveries("")
	if len(all.Deliveries) != 2 || all.NextPageToken != "" {
		t.Fatalf("got %+v", all)
	}
	if d := all.Deliveries[0]; d.ID != "msg_"+id || d.JobID != id || d.Type != "job.completed" || d.Status != "failed" || d.Attempts != 1 ||
		d.LastStatusCode != 410 || d.EndedAt.IsZero() || !d.NextAttemptAt.IsZero() {
		t.Errorf("the delivery of the job is %+v", d)
	}
	if d := all.Deliveries[1]; d.ID != test.ID || d.Status != "pending" || d.Attempts != 1 || d.LastError != "status code 500" || d.NextAttemptAt.IsZero() {
		t.Errorf("the delivery of the test is %+v", d)
	}
	first := deliveries("?limit=1")
	second := deliveries("?limit=1&page_token=" + first.NextPageToken)
	if len(first.Deliveries) != 1 || len(second.Deliveries) != 1 || first.Deliveries[0] != all.Deliveries[0] || second.Deliveries[0] != all.Deliveries[1] || second.NextPageToken != "" {
		t.Errorf("the pages are %+v and %+v", first, second)
	}
	for query, text := range map[string]string{
		"limit=0": "limit must be a number from 1 to 1000", "limit=1001": "limit must be a number from 1 to 1000", "page_token=x": "page_token is invalid",
		"page_token=LTE": "page_token is invalid", "limit=%zz": "Invalid query: want name=value, joined by &",
	} {
		wantError(t, r.as(keys, "anna", "GET", path+"/deliveries?"+query, ""), 400, text)
	}

	if now := decode[hookJSON](r, r.as(keys, "anna", "GET", path, ""), 200); now.Status != "disabled" || now.DisabledReason != "gone" || now.DisabledAt.IsZero() {
		t.Errorf("disabled: got %+v", now)
	}
	wantError(t, r.as(keys, "anna", "POST", path+"/test", ""), 409, "Webhook is disabled: delete it and create it again")
	if got := r.as(keys, "anna", "DELETE", path, ""); got.status != 204 || len(got.body) != 0 {
		t.Errorf("DELETE: got %d %s", got.status, got.body)
	}
	wantError(t, r.as(keys, "anna", "DELETE", path, ""), 404, "Webhook not found: "+w.ID)
	if list := r.hooks(keys, "anna"); len(list) != 0 {
		t.Errorf("after DELETE: got %+v", list)
	}
	for _, secret := range []string{w.Secret, rotated.Secret, "t0p"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

// TestBadWebhooks verifies the responses to bad requests for a webhook, which create none.
func TestBadWebhooks(t *testing.T) {
	keys := newKeyFile(t, "anna")
	r := setup(t, options{keys: keys.Store})
	const shape = `Invalid JSON: want {"url": "https://…", "events": […]}`
	const events = "events must be one or more of job.completed, job.failed and job.cancelled"
	const address = "URL not allowed: want a public address on port 80 or 443"
	for body, text := range map[string]string{
		``: shape, `{`: shape, `[]`: shape, `{"url":1}`: shape, `{"url":"https://example.com","events":"job.failed"}`: shape, `{"url":"https://example.com"} {}`: shape,
		`{}`: "url is required", `null`: "url is required", `{"url":null}`: "url is required", `{"url":""}`: "url is required",
		`{"url":"ftp://example.com"}`: "Unsupported URL scheme: only http and https are allowed", `{"url":"https://a:b@example.com"}`: "Invalid URL: it must not contain a user name or password",
		`{"url":"http://127.0.0.1/"}`: address, `{"url":"http://169.254.169.254/latest/meta-data"}`: address, `{"url":"http://[::1]/"}`: address,
		`{"url":"https://example.com/` + strings.Repeat("x", 2048) + `"}`: "URL is longer than 2048 bytes",
		`{"url":"https://example.com","events":[]}`:                       events,
		`{"url":"https://example.com","events":["job.failed","job.x"]}`:   events,
		`{"url":"https://example.com","events":["webhook.test"]}`:         events,
	} {
		wantError(t, r.as(keys, "anna", "POST", "/api/v1/webhooks", body), 400, text)
	}
	wantError(t, r.as(keys, "anna", "POST", "/api/v1/webhooks", `{"url":"`+strings.Repeat(" ", 65<<10)+`"}`), 413, "Request body exceeds 65536 bytes")
	wantError(t, r.as(keys, "anna", "POST", "/api/v1/webhooks", hookBody, "Content-Encoding", "br"), 415, "Content-Encoding not supported; want gzip, zstd or none")
	if list := r.hooks(keys, "anna"); len(list) != 0 {
		t.Errorf("there are webhooks: %+v", list)
	}
	for range job.MaxWebhooks {
		r.addHook(keys, "anna")
	}
	wantError(t, r.as(keys, "anna", "POST", "/api/v1/webhooks", hookBody), 409, "This API key's name already has 10 webhooks; delete one first")
	w := decode[hookJSON](r, r.as(keys, "anna", "POST", "/api/v1/webhooks/"+r.hooks(keys, "anna")[0].ID+"/rotate", ""), 200)
	if got := r.as(keys, "anna", "DELETE", "/api/v1/webhooks/"+w.ID, ""); got.status != 204 {
		t.Fatalf("DELETE: got %d", got.status)
	}
	some := decode[hookJSON](r, r.as(keys, "anna", "POST", "/api/v1/webhooks", `{"url":"http://example.com:80/#top","events":["job.cancelled","job.failed","job.failed"],"colour":"blue"}`), 201)
	if fmt.Sprint(some.Events) != "[job.failed job.cancelled]" || some.URL != "http://example.com/" {
		t.Errorf("got %+v", some)
	}
}

// TestAnothersWebhookIsNotThere requests every route of a webhook with another name's key. The
// response is that for a webhook that does not exist, and the request has no effect.
func TestAnothersWebhookIsNotThere(t *testing.T) {
	keys := newKeyFile(t, "anna", "bert", "ops operator")
	r := setup(t, options{keys: keys.Store})
	w := r.addHook(keys, "anna")
	listed := job.Webhook{ID: "11111111-1111-4111-8111-111111111111", Owner: "anna", URL: "https://example.com/t0p", Events: job.EventTypes, Secret: "whsec_x", Listed: true}
	_, err := r.jobs.ListWebhooks(t.Context(), []job.Webhook{listed}, time.Now())
	r.must(err)
	walked := 0
	for _, route := range r.api.Routes() {
		if !strings.Contains(route.Path, ":webhook_id") || route.Method == http.MethodHead || route.Method == echo.RouteNotFound {
			continue
		}
		walked++
		ask := func(name, id string) response {
			return r.as(keys, name, route.Method, strings.Replace(route.Path, ":webhook_id", id, 1), "")
		}
		wantError(t, ask("bert", w.ID), 404, "Webhook not found: "+w.ID)
		wantError(t, ask("bert", unknown), 404, "Webhook not found: "+unknown)
		wantError(t, ask("bert", "x"), 404, "Webhook not found: x")
		wantError(t, ask("anna", listed.ID), 404, "Webhook not found: "+listed.ID) // the operator's
		changes := route.Method == http.MethodDelete || strings.HasSuffix(route.Path, "/rotate")
		if got := ask("ops", listed.ID); changes {
			wantError(t, got, 409, "Webhook is listed in WEBHOOKS_FILE: only a change of that file changes it")
		} else if got.status < 200 || got.status > 299 || strings.Contains(string(got.body), "t0p") {
			t.Errorf("%s %s as operator: got %d %s", route.Method, route.Path, got.status, got.body)
		}
	}
	if walked != 5 {
		t.Errorf("got %d routes, want 5", walked)
	}
	for name, want := range map[string]int{"anna": 1, "bert": 0, "ops": 2} {
		if list := r.hooks(keys, name); len(list) != want {
			t.Errorf("%s sees %d webhooks, want %d", name, len(list), want)
		}
	}
	// A webhook of an operator receives the operator's own jobs only.
	own := r.addHook(keys, "ops")
	r.end(r.createAs(keys, "anna", 1), 0, nil)
	mine := r.createAs(keys, "ops", 1)
	r.end(mine, 0, nil)
	list, err := r.jobs.Deliveries(t.Context(), own.ID, 0, 9)
	r.must(err)
	if len(list) != 1 || list[0].JobID != mine {
		t.Errorf("the operator's webhook gets %+v, want the message about %s", list, mine)
	}
	if got := r.as(keys, "ops", "DELETE", "/api/v1/webhooks/"+w.ID, ""); got.status != 204 {
		t.Errorf("DELETE as operator: got %d %s", got.status, got.body)
	}
}

// TestWebhooksWithoutKeys verifies that without API keys no client can have the gateway send
// requests, and that the webhooks of the operator are shown without what may be secret.
func TestWebhooksWithoutKeys(t *testing.T) {
	r := setup(t, options{})
	w := job.Webhook{ID: "11111111-1111-4111-8111-111111111111", URL: "https://example.com/t0p", Events: job.EventTypes, Secret: "whsec_x", Listed: true}
	_, err := r.jobs.ListWebhooks(t.Context(), []job.Webhook{w}, time.Now())
	r.must(err)
	for _, request := range [][2]string{{"POST", ""}, {"POST", "/" + w.ID + "/test"}, {"POST", "/" + w.ID + "/rotate"}, {"DELETE", "/" + w.ID}} {
		got := r.do(request[0], "/api/v1/webhooks"+request[1], strings.NewReader(hookBody))
		wantError(t, got, 403, "Webhooks are created with an API key, and this server has none; WEBHOOKS_FILE lists the operator's webhooks")
	}
	for _, path := range []string{"", "/" + w.ID, "/" + w.ID + "/deliveries"} {
		if got := r.get("/api/v1/webhooks" + path); got.status != 200 || strings.Contains(string(got.body), "t0p") || strings.Contains(string(got.body), "whsec") {
			t.Errorf("%s: got %d %s", path, got.status, got.body)
		}
	}
}
