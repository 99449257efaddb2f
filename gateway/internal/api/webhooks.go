package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/webhook"
)

const deliveriesPage = 100 // deliveries in a page without a limit

type webhookJSON struct {
	ID             string          `json:"id"`
	Owner          string          `json:"owner,omitempty"`
	URL            string          `json:"url"`
	Events         []job.EventType `json:"events"`
	Status         string          `json:"status"` // enabled or disabled
	DisabledAt     time.Time       `json:"disabled_at,omitzero"`
	DisabledReason string          `json:"disabled_reason,omitempty"`
	FailingSince   time.Time       `json:"failing_since,omitzero"`
	CreatedAt      time.Time       `json:"created_at"`
	Listed         bool            `json:"listed,omitempty"` // in WEBHOOKS_FILE

	Secret             string    `json:"secret,omitempty"` // only in the response that creates it
	OldSecretExpiresAt time.Time `json:"old_secret_expires_at,omitzero"`
}

type deliveryJSON struct {
	ID             string        `json:"id"` // the webhook-id header
	Type           job.EventType `json:"type"`
	JobID          string        `json:"job_id,omitempty"`
	Status         string        `json:"status"` // pending, delivered or failed
	Attempts       int           `json:"attempts"`
	CreatedAt      time.Time     `json:"created_at"`
	LastAttemptAt  time.Time     `json:"last_attempt_at,omitzero"`
	LastStatusCode int           `json:"last_status_code,omitempty"`
	LastError      string        `json:"last_error,omitempty"`
	NextAttemptAt  time.Time     `json:"next_attempt_at,omitzero"`
	EndedAt        time.Time     `json:"ended_at,omitzero"`
}

// webhookShape returns a webhook without its secret. The path of a listed URL may be a secret of
// the operator.
func webhookShape(w *job.Webhook, now time.Time) webhookJSON {
	shape := webhookJSON{
		ID: w.ID, Owner: w.Owner, URL: w.URL, Events: w.Events, Status: "enabled", DisabledAt: second(w.DisabledAt), DisabledReason: w.DisabledReason,
		FailingSince: second(w.FailingSince), CreatedAt: second(w.CreatedAt), Listed: w.Listed,
	}
	if u, err := url.Parse(w.URL); w.Listed && err == nil {
		shape.URL = u.Scheme + "://" + u.Host
	}
	if !w.DisabledAt.IsZero() {
		shape.Status = "disabled"
	}
	if !w.Listed && now.Before(w.OldUntil) {
		shape.OldSecretExpiresAt = second(w.OldUntil)
	}
	return shape
}

func deliveryShape(d *job.Delivery) deliveryJSON {
	shape := deliveryJSON{
		ID: d.Message, Type: d.Type, JobID: d.JobID, Status: "pending", Attempts: d.Attempts, CreatedAt: second(d.CreatedAt),
		LastAttemptAt: second(d.LastAt), LastStatusCode: d.LastStatus, LastError: d.LastError, EndedAt: second(d.EndedAt),
	}
	switch {
	case d.Delivered:
		shape.Status = "delivered"
	case !d.EndedAt.IsZero():
		shape.Status = "failed"
	case d.Attempts > 0:
		shape.NextAttemptAt = second(d.NextAt)
	}
	return shape
}

// mayChangeWebhooks returns an error without API keys: then any client could have the gateway
// send requests.
func (s *Server) mayChangeWebhooks() error {
	if s.deps.Keys == nil {
		return errNoWebhooks
	}
	return nil
}

// findWebhook returns the webhook that the path names. A webhook that the caller may not see does
// not exist for it.
func (s *Server) findWebhook(c echo.Context) (job.Webhook, error) {
	id := strings.ToLower(c.Param("webhook_id"))
	missing := errNoWebhook.with(bounded(id))
	if !isUUID(id) {
		return job.Webhook{}, missing
	}
	w, err := s.deps.Webhooks.Webhook(c.Request().Context(), id)
	if errors.Is(err, job.ErrNoWebhook) || err == nil && !viewerOf(detailsOf(c).by).SeesWebhook(&w) {
		return job.Webhook{}, missing
	}
	return w, err
}

// createWebhook creates a webhook for the jobs of the caller's name, also if that is an
// operator.
func (s *Server) createWebhook(c echo.Context) error {
	respondEarly(c)
	in := s.newRequestBody(c, smallBody)
	w, err := s.readWebhook(c, in)
	if err != nil {
		s.breakOff(c, in, err)
		return nil
	}
	if err := s.deps.Webhooks.AddWebhook(c.Request().Context(), w); err != nil {
		return err
	}
	shape := webhookShape(&w, w.CreatedAt)
	shape.Secret = w.Secret.Reveal()
	c.Response().Header().Set("Location", detailsOf(c).base+pathHooks+"/"+w.ID)
	return writeJSON(c, http.StatusCreated, shape)
}

// readWebhook returns the webhook that a request describes, with a new ID and a new secret.
func (s *Server) readWebhook(c echo.Context, in *requestBody) (w job.Webhook, err error) {
	if err := s.mayChangeWebhooks(); err != nil {
		return w, err
	}
	data, err := s.readSmallBody(c, in)
	if err != nil {
		return w, err
	}
	var request struct {
		URL    *string   `json:"url"`
		Events *[]string `json:"events"`
	}
	if err := json.Unmarshal(data, &request); err != nil {
		return w, errWebhookBody
	}
	if request.URL == nil || *request.URL == "" {
		return w, errWebhookURL
	}
	w = job.Webhook{
		ID: uuid.NewString(), Owner: detailsOf(c).by.Name, Events: job.EventTypes, Secret: webhook.NewSecret(), CreatedAt: s.deps.Now().UTC(),
	}
	w.URL, err = webhook.CheckURL(*request.URL, s.config.WebhookNetworks)
	if err == nil && request.Events != nil {
		w.Events, err = webhook.ParseEvents(*request.Events)
	}
	if err != nil {
		return w, errWebhook.with(err)
	}
	return w, nil
}

// listWebhooks responds with the webhooks of the caller's name, or for an operator with all.
func (s *Server) listWebhooks(c echo.Context) error {
	list, err := s.deps.Webhooks.Webhooks(c.Request().Context(), viewerOf(detailsOf(c).by))
	if err != nil {
		return err
	}
	shapes := struct {
		Webhooks []webhookJSON `json:"webhooks"`
	}{make([]webhookJSON, len(list))}
	for i := range list {
		shapes.Webhooks[i] = webhookShape(&list[i], s.deps.Now())
	}
	return writeJSON(c, http.StatusOK, shapes)
}

func (s *Server) showWebhook(c echo.Context) error {
	w, err := s.findWebhook(c)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, webhookShape(&w, s.deps.Now()))
}

func (s *Server) deleteWebhook(c echo.Context) error {
	if err := s.mayChangeWebhooks(); err != nil {
		return err
	}
	w, err := s.findWebhook(c)
	if err != nil {
		return err
	}
	if err := s.deps.Webhooks.RemoveWebhook(c.Request().Context(), w.ID, s.deps.Now()); err != nil {
		return webhookError(err, w.ID)
	}
	return c.NoContent(http.StatusNoContent)
}

// rotateWebhook gives a webhook a new secret. The previous one still signs for some time.
func (s *Server) rotateWebhook(c echo.Context) error {
	if err := s.mayChangeWebhooks(); err != nil {
		return err
	}
	w, err := s.findWebhook(c)
	if err != nil {
		return err
	}
	now := s.deps.Now()
	w, err = s.deps.Webhooks.RotateSecret(c.Request().Context(), w.ID, webhook.NewSecret(), now.Add(webhook.OldSecretTime))
	if err != nil {
		return webhookError(err, w.ID)
	}
	shape := webhookShape(&w, now)
	shape.Secret = w.Secret.Reveal()
	return writeJSON(c, http.StatusOK, shape)
}

// testWebhook sends a test message, which has a single attempt.
func (s *Server) testWebhook(c echo.Context) error {
	if err := s.mayChangeWebhooks(); err != nil {
		return err
	}
	w, err := s.findWebhook(c)
	if err != nil {
		return err
	}
	d := job.TestMessage(w.ID, uuid.NewString(), s.deps.Now())
	if err := s.deps.Webhooks.AddTest(c.Request().Context(), d); err != nil {
		return webhookError(err, w.ID)
	}
	s.deps.Deliver()
	return writeJSON(c, http.StatusAccepted, deliveryShape(&d))
}

// webhookError returns the response to an error of a webhook that was removed meanwhile.
func webhookError(err error, id string) error {
	if errors.Is(err, job.ErrNoWebhook) {
		return errNoWebhook.with(id)
	}
	return err
}

// listDeliveries responds with a page of the deliveries of a webhook, the newest first.
func (s *Server) listDeliveries(c echo.Context) error {
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	if err != nil {
		return errQuery
	}
	limit := deliveriesPage
	if text := values.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > listLimit {
			return errLimit.with(listLimit)
		}
	}
	before, err := readDeliveryToken(values.Get("page_token"))
	if err != nil {
		return err
	}
	w, err := s.findWebhook(c)
	if err != nil {
		return err
	}
	list, err := s.deps.Webhooks.Deliveries(c.Request().Context(), w.ID, before, limit+1)
	if err != nil {
		return err
	}
	shape := struct {
		Deliveries    []deliveryJSON `json:"deliveries"`
		NextPageToken string         `json:"next_page_token,omitempty"`
	}{Deliveries: []deliveryJSON{}}
	if len(list) > limit {
		list = list[:limit]
		shape.NextPageToken = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d", list[limit-1].Seq))
	}
	for i := range list {
		shape.Deliveries = append(shape.Deliveries, deliveryShape(&list[i]))
	}
	return writeJSON(c, http.StatusOK, shape)
}

// readDeliveryToken returns the position after which a page of deliveries starts, or 0.
func readDeliveryToken(token string) (before int64, err error) {
	if token == "" {
		return 0, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		before, err = strconv.ParseInt(string(text), 10, 64)
	}
	if err != nil || before < 1 {
		return 0, errPageToken
	}
	return before, nil
}
