// Package webhook delivers the messages about ended jobs to the webhooks of clients and
// operators, by the Standard Webhooks specification (https://www.standardwebhooks.com).
//
// It promises at least one attempt for every message, whatever process dies in between: the job
// store writes a message in the transaction that ends its job, a gateway leases it for one attempt,
// and a lease that ends without a recorded outcome makes the message due again. So a receiver may
// get a message twice, always with the same webhook-id. The order of messages is not kept.
//
// A message has up to 10 attempts, after the pauses of the variable pauses. Each has attemptTime,
// from the lookup of the name to the end of the response, of which at most maxResponse bytes are
// read. A status from 200 to 299 ends the delivery; 410 disables the webhook, and so do five days
// in which every attempt fails. Redirects are not followed, and no proxy is used. The addresses
// that may be connected to are those of downloads: see package download. The errors that a client
// reads reveal nothing about the internal network.
//
// No receiver can stop the deliveries to others: a webhook has few attempts at a time, and a single
// one while its attempts fail; failing webhooks together have half of the places, and the webhooks
// of one name a quarter.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// secretPrefix starts every secret, so that a person or a secret scanner recognizes it.
const secretPrefix = "whsec_"

// OldSecretTime is how long a replaced secret still signs.
const OldSecretTime = 24 * time.Hour

// NewSecret returns a random secret.
func NewSecret() job.Secret {
	var key [32]byte
	rand.Read(key[:]) // documented to never fail
	return job.Secret(secretPrefix + base64.StdEncoding.EncodeToString(key[:]))
}

// keyOf returns the key of a secret: 24 to 64 bytes, as the specification demands.
func keyOf(s job.Secret) ([]byte, error) {
	text, ok := strings.CutPrefix(s.Reveal(), secretPrefix)
	key, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("a secret is " + secretPrefix + " and 24 to 64 bytes in base64")
	}
	return key, nil
}

// sign returns the webhook-signature header of a message: the signatures with the current secret
// and with the previous one, while it is valid.
func sign(w *job.Webhook, id string, at time.Time, body string) (string, error) {
	secrets := []job.Secret{w.Secret}
	if at.Before(w.OldUntil) {
		secrets = append(secrets, w.OldSecret)
	}
	signatures := make([]string, len(secrets))
	for i, s := range secrets {
		key, err := keyOf(s)
		if err != nil {
			return "", err
		}
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "%s.%d.%s", id, at.Unix(), body) // never fails
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " "), nil
}

// store is the part of the job store with the webhooks and their deliveries. When a method
// returns nil, its change is durable.
type store interface {
	// ListWebhooks replaces the webhooks of the file, and returns how many are not in it any more.
	ListWebhooks(ctx context.Context, list []job.Webhook, now time.Time) (removed int, err error)
	// DueWebhooks returns the enabled webhooks that have a due delivery.
	DueWebhooks(ctx context.Context, now time.Time) ([]job.Webhook, error)
	// ClaimDeliveries leases due deliveries of the webhook to the caller until the time.
	ClaimDeliveries(ctx context.Context, webhook string, now, until time.Time, limit int) ([]job.Delivery, error)
	// RecordAttempt records the outcome of an attempt, and reports whether it has disabled the
	// webhook. It returns job.ErrLeaseLost when the delivery was claimed again since, or is gone.
	RecordAttempt(ctx context.Context, d job.Delivery, a job.Attempt) (disabled bool, err error)
	// ReturnDelivery ends the lease of a delivery without an attempt.
	ReturnDelivery(ctx context.Context, d job.Delivery) error
	// PendingDeliveries returns the number of pending deliveries, at most most, and the creation
	// of the oldest one.
	PendingDeliveries(ctx context.Context, most int) (n int, oldest time.Time, err error)
	// PruneDeliveries deletes deliveries that are no longer kept, and returns the number of
	// pending ones among them.
	PruneDeliveries(ctx context.Context, now time.Time, most int) (dropped int, err error)
}
