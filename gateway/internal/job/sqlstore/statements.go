package sqlstore

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The statements of both databases. Each is written in PostgreSQL syntax, with its arguments
// numbered in the order of their only use; sqliteText translates it for SQLite. None of the
// frequent ones scans a table: a test checks the plans of both planners.
//
// A write to an image through its job locks the job's row before the image's; the counters
// come last.
const (
	selectStoreID = `SELECT id FROM store`
	renameStore   = `UPDATE store SET id = $1 WHERE one = 1`
	writeProbe    = `UPDATE store SET probe = $1 WHERE one = 1`

	reserveJob = `INSERT INTO jobs (id, status, visible, total, completed, failed, revision, created_at, updated_at,
		completed_at, lease_owner, lease_epoch, lease_until, work, originals_gone, retry_of, fingerprint,
		idempotency_scope, idempotency_key)
		VALUES ($1, 'receiving', false, 0, 0, 0, 0, 0, 0, 0, $2, $3, $4, 1, false, '', '', $5, $6)
		ON CONFLICT (idempotency_scope, idempotency_key) WHERE ` + keyHeld + ` DO NOTHING`
	fillReserved = `UPDATE jobs SET status = $1, visible = true, total = $2, completed = $3, failed = $4, revision = $5,
		created_at = $6, updated_at = $7, completed_at = $8, lease_until = $9, work = $10, originals_gone = $11,
		retry_of = $12, fingerprint = $13, owner = $14, origin = $15, metadata = $16, upload = $17, warnings = $18
		WHERE id = $19 AND status = 'receiving' AND lease_owner = $20 AND lease_epoch = $21 RETURNING seq, {clock}`
	releaseJob = `DELETE FROM jobs WHERE id = $1 AND status = 'receiving' AND lease_owner = $2 AND lease_epoch = $3`
	countByID  = `SELECT count(*) FROM jobs WHERE id = $1`

	renewOwner  = `INSERT INTO owners (name, renewed_until) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET renewed_until = excluded.renewed_until`
	renewLeases = `UPDATE jobs SET lease_until = $1 WHERE work > 0 AND lease_owner = $2 AND lease_until > $3`
	// A stopped owner holds no lease by its row, so the row can be deleted at any time.
	dropOwners = `DELETE FROM owners WHERE renewed_until < $1`

	// The owners of leases, found by skipping along the index from one to the next, except
	// those that renew: their jobs are not read at all.
	lapsedOwners = `WITH RECURSIVE holders (name) AS (
			SELECT min(lease_owner) FROM jobs WHERE work > 0
			UNION ALL
			SELECT (SELECT min(j.lease_owner) FROM jobs j WHERE j.work > 0 AND j.lease_owner > h.name)
			FROM holders h WHERE h.name IS NOT NULL
		)
		SELECT h.name FROM holders h WHERE h.name IS NOT NULL
		AND NOT EXISTS (SELECT 1 FROM owners o WHERE o.name = h.name AND o.renewed_until >= $1)`
	// Rows that another gateway is just taking are skipped.
	lapsedJobs = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.work > 0 AND j.lease_owner = $1 AND j.lease_until < $2
		ORDER BY j.lease_until, j.seq LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED`
	claimJob  = `UPDATE jobs SET lease_owner = $1, lease_epoch = $2, lease_until = $3 WHERE seq = $4`
	lockLease = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.seq = $1 AND j.work > 0 AND j.lease_owner = $2 AND j.lease_epoch = $3
		FOR NO KEY UPDATE`

	lockJob     = selectJob + ` FOR NO KEY UPDATE`
	lockImage   = `SELECT ` + imageColumns + ` FROM images i WHERE i.job = (SELECT j.seq FROM jobs j WHERE j.id = $1) AND i.idx = $2 FOR NO KEY UPDATE`
	lockImages  = selectImages + ` FOR NO KEY UPDATE`
	updateImage = `UPDATE images SET status = $1, original_path = $2, content_type = $3, size = $4, sha256 = $5,
		processed_path = $6, error = $7, error_code = $8, retryable = $9, start_time = $10, end_time = $11, revision = $12,
		unsent = $13, send = $14, phash = $15, width = $16, height = $17, captions = $18{relay} WHERE job = $19 AND idx = $20`
	dropHeaders = `UPDATE images SET headers = '' WHERE job = $1 AND idx = $2`
	updateJob   = `UPDATE jobs SET status = $1, completed = $2, failed = $3, uncaptioned = $4, revision = $5, updated_at = $6 WHERE seq = $7`
	advanceJob  = `UPDATE jobs SET completed = $1, revision = $2, updated_at = $3 WHERE seq = $4`
	updateWork  = `UPDATE jobs SET work = $1 WHERE seq = $2`
	endJob      = `UPDATE jobs SET status = $1, completed = $2, failed = $3, uncaptioned = $4, revision = $5, updated_at = $6,
		completed_at = $7, work = 0 WHERE seq = $8`

	selectUnsent = `SELECT j.id, ` + imageColumns + ` FROM images i JOIN jobs j ON j.seq = i.job
		WHERE i.unsent = true{mine} ORDER BY i.job, i.idx LIMIT $1`
	markSent = `UPDATE images SET unsent = false
		WHERE job = (SELECT j.seq FROM jobs j WHERE j.id = $1) AND idx = $2 AND send = $3 AND unsent = true`
	selectOpen = `SELECT j.seq, j.created_at, j.total FROM jobs j
		WHERE j.visible = true AND j.completed_at = 0 AND (j.created_at, j.seq) > ($1, $2) ORDER BY j.created_at, j.seq LIMIT $3`
	// The sum keeps PostgreSQL from reading all open images, whose number it underestimates, instead of those of the jobs.
	resend = `WITH open AS MATERIALIZED (
			SELECT i.job, i.idx FROM images i
			WHERE i.job = ANY ($1) AND i.end_time + 0 = 0 AND i.start_time < $2 AND i.original_path <> '' AND i.unsent = $3
			ORDER BY i.job, i.idx FOR NO KEY UPDATE
		)
		UPDATE images AS i SET unsent = true, send = i.send + 1{relay} FROM open WHERE i.job = open.job AND i.idx = open.idx`

	hideJobs = `WITH due AS MATERIALIZED (
			SELECT seq FROM jobs WHERE visible = true AND completed_at > 0 AND completed_at < $1
			ORDER BY completed_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
		)
		UPDATE jobs SET visible = false FROM due WHERE jobs.seq = due.seq`
	selectHidden = `SELECT ` + jobColumns + ` FROM jobs j
		WHERE j.visible = false AND j.completed_at > 0 AND j.originals_gone = $1 AND j.completed_at < $2 AND j.originals_gone_at < $3
		ORDER BY j.completed_at LIMIT $4`
	forgetOriginals = `UPDATE jobs SET originals_gone = true, originals_gone_at = $1 WHERE id = $2 AND visible = false AND completed_at > 0`
	forgetHeaders   = `UPDATE images SET headers = '' WHERE job = (SELECT j.seq FROM jobs j WHERE j.id = $1) AND headers <> ''`
	deleteJob       = `DELETE FROM jobs WHERE id = $1 AND visible = false AND completed_at > 0`

	selectJob      = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.id = $1 AND j.visible = true`
	selectByID     = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.id >= $1 AND j.id < $2 AND j.visible = true ORDER BY j.id LIMIT $3`
	selectKeyed    = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.idempotency_scope = $1 AND j.idempotency_key = $2 AND ` + keyHeld
	selectImages   = `SELECT ` + imageColumns + ` FROM images i WHERE i.job = $1 ORDER BY i.idx`
	selectImagesOf = `SELECT i.job, ` + imageColumns + ` FROM images i WHERE i.job = ANY ($1) ORDER BY i.job, i.idx`
	selectNamesOf  = `SELECT i.job, i.original_filename, i.custom_id FROM images i WHERE i.job = ANY ($1)`
	selectChanges  = `SELECT ` + imageColumns + ` FROM images i WHERE i.job = $1 AND i.revision > $2 ORDER BY i.revision, i.idx`
	countOwned     = `SELECT CAST(coalesce(sum(t.jobs), 0) AS bigint) FROM totals t WHERE t.owner = $1 AND t.owner <> ''`
	countOwnedOpen = `SELECT coalesce(sum(j.total - j.completed - j.failed), 0) FROM jobs j WHERE ` + owned + ` AND j.completed_at = 0`
	selectOldest   = `SELECT coalesce(min(created_at), 0) FROM jobs WHERE visible = true AND completed_at = 0`
)

// statements contains all of the above. SQLite prepares them when it opens the file; its
// readers prepare only readStatements.
var (
	statements = slices.Concat(readStatements, []string{
		renameStore, writeProbe, reserveJob, fillReserved, releaseJob, countByID,
		renewOwner, renewLeases, dropOwners, lapsedOwners, lapsedJobs, claimJob, lockLease,
		lockJob, lockImage, lockImages, updateImage, dropHeaders, updateJob, advanceJob, updateWork, endJob,
		markSent, selectOpen, resend, hideJobs, forgetOriginals, forgetHeaders, deleteJob,
		lockWebhook, takenSlots, insertWebhook, listWebhook, rotateWebhook, removeWebhook, webhookWorks, webhookFails, disableWebhook, deleteWebhook,
		takenDownloads, insertDownload, deleteDownload, dropEndedOf, dropEnded,
		enqueueEnd, enqueueTest, claimDeliveries, recordAttempt, returnDelivery, deleteEnded, abandonPending, deleteSome, countSurplus, deleteOldest,
	})
	readStatements = slices.Concat(listStatements(), countStatements(), []string{
		selectStoreID, selectJob, selectByID, selectKeyed, selectImages, selectImagesOf, selectNamesOf, selectChanges,
		countOwned, countOwnedOpen, selectOldest,
		selectUnsent, selectHidden,
		selectWebhook, selectWebhooks, ownedWebhooks, unusedWebhooks, everyWebhookID,
		selectDownload,
		selectDeliveries, dueWebhooks, countPending, oldestPending, surplusFrom,
	})
)

// keyHeld is true for jobs whose key no other job may have. It matches the index.
const keyHeld = `idempotency_key <> '' AND (visible = true OR completed_at = 0)`

// owned is true for the jobs of one owner. It matches the indexes.
const owned = `j.owner = $1 AND j.owner <> '' AND j.visible = true`

// insertColumns are the columns of images that Create writes.
var insertColumns = []string{
	"job", "idx", "trace_id", "original_filename", "key_name", "url", "headers", "custom_id", "remove_captions", // the columns of changing follow
	"status", "original_path", "content_type", "size", "sha256",
	"processed_path", "error", "error_code", "retryable",
	"start_time", "end_time", "revision", "unsent", "send", "phash", "width", "height", "captions",
}

// numbered numbers the arguments of a statement, each of which is a $.
func numbered(query string) string {
	parts := strings.Split(query, "$")
	for i := range parts[1:] {
		parts[i] += "$" + strconv.Itoa(i+1)
	}
	return strings.Join(parts, "")
}

// sqliteText translates a statement for SQLite. It removes row locks, because one goroutine
// writes, and relays, because the only gateway publishes everything.
func sqliteText(query string) string {
	return placeholder.ReplaceAllLiteralString(sqliteDialect.Replace(query), "?")
}

var placeholder = regexp.MustCompile(`\$\d+`)

var sqliteDialect = strings.NewReplacer(
	"ORDER BY i.job, i.idx FOR NO KEY UPDATE", "", // would make SQLite scan all images
	"FOR NO KEY UPDATE SKIP LOCKED", "", "FOR NO KEY UPDATE", "",
	"true", "1", "false", "0", // the partial indexes compare with numbers
	"greatest(", "max(",
	"= ANY ($1)", "IN (SELECT value FROM json_each($1))",
	"{relay}", "", "{mine}", "", "{clock}", "0",
	"/*sqlite:", "", "*/", "",
)
