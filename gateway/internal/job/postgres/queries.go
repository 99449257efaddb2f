package postgres

// The statements. None of the hot ones scans a table: a test asks the planner.

// Statements that write, and reads under a lock. Whoever writes to an image
// through its job has locked the job's row before the image's, and the figures
// come last.
const (
	growProbe   = `UPDATE store SET probe = $1 WHERE one = 1`
	shrinkProbe = `UPDATE store SET probe = '' WHERE one = 1`

	reserveJob = `INSERT INTO jobs (id, status, visible, total, completed, failed, revision, created_at, updated_at,
		completed_at, lease_owner, lease_epoch, lease_until, work, originals_gone, retry_of, fingerprint,
		idempotency_scope, idempotency_key)
		VALUES ($1, 'receiving', false, 0, 0, 0, 0, 0, 0, 0, $2, $3, $4, 1, false, '', '', $5, $6)
		ON CONFLICT (idempotency_scope, idempotency_key) WHERE ` + keyHeld + ` DO NOTHING`
	fillReserved = `UPDATE jobs SET status = $1, visible = true, total = $2, completed = $3, failed = $4, revision = $5,
		created_at = $6, updated_at = $7, completed_at = $8, lease_until = $9, work = $10, originals_gone = $11,
		retry_of = $12, fingerprint = $13, owner = $14, origin = $15
		WHERE id = $16 AND status = 'receiving' AND lease_owner = $17 AND lease_epoch = $18 RETURNING seq, ` + now
	insertJob = `INSERT INTO jobs (status, visible, total, completed, failed, revision, created_at, updated_at,
		completed_at, lease_until, work, originals_gone, retry_of, fingerprint, owner, origin, id, lease_owner, lease_epoch,
		idempotency_scope, idempotency_key)
		VALUES ($1, true, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, '', '') RETURNING seq, ` + now
	releaseJob = `DELETE FROM jobs WHERE id = $1 AND status = 'receiving' AND lease_owner = $2 AND lease_epoch = $3`
	jobExists  = `SELECT EXISTS (SELECT FROM jobs WHERE id = $1)`

	renewOwner  = `INSERT INTO owners (name, renewed_until) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET renewed_until = excluded.renewed_until`
	renewLeases = `UPDATE jobs SET lease_until = $2 WHERE work > 0 AND lease_owner = $1 AND lease_until > $2`
	// An owner that is gone holds nothing by its row, so it can go at any time.
	dropOwners = `DELETE FROM owners WHERE renewed_until < $1`

	// Owner by owner, skipping along the index from one to the next: the jobs of an
	// owner that renews are not even looked at. What another gateway is just taking is
	// passed over.
	lapsedJobs = `WITH RECURSIVE holders (name) AS (
			(SELECT lease_owner FROM jobs WHERE work > 0 ORDER BY lease_owner LIMIT 1)
			UNION ALL
			SELECT (SELECT j.lease_owner FROM jobs j WHERE j.work > 0 AND j.lease_owner > h.name ORDER BY j.lease_owner LIMIT 1)
			FROM holders h WHERE h.name IS NOT NULL
		), lapsed AS MATERIALIZED (
			SELECT name FROM holders h WHERE name IS NOT NULL
			AND NOT EXISTS (SELECT FROM owners o WHERE o.name = h.name AND o.renewed_until >= $1)
		)
		SELECT ` + jobColumns + ` FROM lapsed h CROSS JOIN LATERAL (
			SELECT * FROM jobs WHERE work > 0 AND lease_owner = h.name AND lease_until < $1
			ORDER BY lease_until, seq LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED) j
		ORDER BY ends, seq LIMIT $2`
	claimJobs = `UPDATE jobs SET lease_owner = $1, lease_epoch = lease_epoch + 1, lease_until = $2 WHERE seq = ANY ($3)`
	heldJobs  = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.seq = ANY ($1) AND j.work > 0 AND j.lease_owner = $2
		ORDER BY j.seq FOR NO KEY UPDATE`

	lockJob     = selectJob + ` FOR NO KEY UPDATE`
	lockImage   = `SELECT ` + imageColumns + ` FROM images i WHERE i.job = (SELECT j.seq FROM jobs j WHERE j.id = $1) AND i.idx = $2 FOR NO KEY UPDATE`
	lockImages  = `SELECT ` + imageColumns + ` FROM images i WHERE i.job = $1 ORDER BY i.idx FOR NO KEY UPDATE`
	updateImage = `UPDATE images SET status = $1, original_path = $2, content_type = $3, size = $4, sha256 = $5,
		processed_path = $6, error = $7, error_code = $8, retryable = $9, start_time = $10, end_time = $11, revision = $12,
		unsent = $13, send = $14, relay = $15, relay_until = ` + now + ` + $16 WHERE job = $17 AND idx = $18`
	updateJob = `UPDATE jobs SET status = $1, completed = $2, failed = $3, revision = $4, updated_at = $5,
		completed_at = $6, work = $7 WHERE seq = $8`

	// An image is taken when nobody publishes it any more, or when it is ours and would
	// soon count as that. What another is just taking is passed over.
	takeUnsent = `WITH due AS MATERIALIZED (
			SELECT i.job, i.idx FROM images i
			WHERE i.unsent AND (i.relay_until < ` + now + ` OR i.relay = $1 AND i.relay_until < ` + now + ` + $2 / 2)
			ORDER BY i.job, i.idx LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
		)
		UPDATE images i SET relay = $1, relay_until = ` + now + ` + $2 FROM due WHERE i.job = due.job AND i.idx = due.idx`
	selectUnsent = `SELECT j.id, ` + imageColumns + ` FROM images i JOIN jobs j ON j.seq = i.job
		WHERE i.unsent AND i.relay = $1 AND i.relay_until >= ` + now + ` ORDER BY i.job, i.idx LIMIT $2`
	markSent = `UPDATE images SET unsent = false
		WHERE job = (SELECT j.seq FROM jobs j WHERE j.id = $1) AND idx = $2 AND send = $3 AND unsent`
	resend = `WITH open AS MATERIALIZED (
			SELECT i.job, i.idx, i.unsent FROM images i WHERE i.end_time = 0 AND i.start_time < $1 AND i.original_path <> ''
			ORDER BY i.job, i.idx FOR NO KEY UPDATE
		), marked AS (
			UPDATE images i SET unsent = true, send = i.send + 1, relay = $2, relay_until = ` + now + ` + $3
			FROM open WHERE i.job = open.job AND i.idx = open.idx
		)
		SELECT count(*), count(*) FILTER (WHERE NOT unsent) FROM open`

	hideJobs = `WITH due AS MATERIALIZED (
			SELECT seq FROM jobs WHERE visible AND completed_at > 0 AND completed_at < $1
			ORDER BY completed_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
		)
		UPDATE jobs SET visible = false FROM due WHERE jobs.seq = due.seq`
	forgetOriginals = `UPDATE jobs SET originals_gone = true, originals_gone_at = $1 WHERE id = $2 AND NOT visible AND completed_at > 0`
	deleteJob       = `DELETE FROM jobs WHERE id = $1 AND NOT visible AND completed_at > 0`

	addFigures = `UPDATE figures SET jobs = jobs + $1, open_images = open_images + $2, unsent = unsent + $3
		WHERE shard = pg_backend_pid() % 64`
)

// Statements of reads.
const (
	selectStoreID = `SELECT id FROM store`
	selectCounts  = `SELECT (SELECT coalesce(min(created_at), 0) FROM jobs WHERE visible AND completed_at = 0),
		sum(jobs)::bigint, sum(open_images)::bigint, sum(unsent)::bigint FROM figures`

	selectJob    = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.id = $1 AND j.visible`
	selectKeyed  = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.idempotency_scope = $1 AND j.idempotency_key = $2 AND ` + keyHeld
	selectNewest = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.visible ORDER BY j.created_at DESC, j.id DESC LIMIT $1`
	selectOlder  = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.visible AND (j.created_at, j.id) < ($1, $2)
		ORDER BY j.created_at DESC, j.id DESC LIMIT $3`
	selectOwnNewest = `SELECT ` + jobColumns + ` FROM jobs j WHERE ` + owned + ` ORDER BY j.created_at DESC, j.id DESC LIMIT $2`
	selectOwnOlder  = `SELECT ` + jobColumns + ` FROM jobs j WHERE ` + owned + ` AND (j.created_at, j.id) < ($2, $3)
		ORDER BY j.created_at DESC, j.id DESC LIMIT $4`
	countOwned     = `SELECT count(*) FROM jobs j WHERE ` + owned
	countOwnedOpen = `SELECT coalesce(sum(j.total - j.completed - j.failed), 0) FROM jobs j WHERE ` + owned + ` AND j.completed_at = 0`

	selectHidden = `SELECT ` + jobColumns + ` FROM jobs j
		WHERE NOT j.visible AND j.completed_at > 0 AND j.originals_gone = $1 AND j.completed_at < $2 AND j.originals_gone_at < $3
		ORDER BY j.completed_at LIMIT $4`

	selectImages  = `SELECT i.job, ` + imageColumns + ` FROM images i WHERE i.job = ANY ($1) ORDER BY i.job, i.idx`
	selectChanges = `SELECT ` + imageColumns + ` FROM images i WHERE i.job = $1 AND i.revision > $2 ORDER BY i.revision, i.idx`
)

// Statements about the sessions of other connections.
const (
	selectBackend = `SELECT pid, ` + backendStart + ` FROM pg_stat_activity WHERE pid = pg_backend_pid()`
	// endBackends ends those that are still there and tells whether there were any.
	endBackends = `SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a
		JOIN unnest($1::integer[], $2::bigint[]) AS d (pid, start) ON d.pid = a.pid AND d.start = (` + backendStart + `)`
)

// keyHeld is true of jobs whose key no other may have, as the index says.
const keyHeld = `idempotency_key <> '' AND (visible OR completed_at = 0)`

// owned is true of the jobs of one owner, as the indexes say.
const owned = `j.owner = $1 AND j.owner <> '' AND j.visible`

// now is the database's clock in microseconds. It is the same for all gateways.
const now = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`

const backendStart = `(extract(epoch FROM backend_start) * 1000000)::bigint`

// jobColumns are what readJob reads. A lease ends with its owner's renewal when
// that is later.
const jobColumns = `j.seq, j.work, j.id, j.status, j.total, j.completed, j.failed, j.revision,
	j.created_at, j.updated_at, j.completed_at, j.lease_owner, j.lease_epoch,
	CASE WHEN j.work = 0 THEN j.lease_until
	ELSE greatest(j.lease_until, (SELECT o.renewed_until FROM owners o WHERE o.name = j.lease_owner)) END AS ends,
	j.originals_gone, j.retry_of, j.fingerprint, j.owner, j.origin`

// imageColumns are what readImage reads.
const imageColumns = `i.idx, i.trace_id, i.original_filename, i.key_name, i.url, i.status,
	i.original_path, i.content_type, i.size, i.sha256, i.processed_path, i.error, i.error_code, i.retryable,
	i.start_time, i.end_time, i.revision, i.unsent, i.send`
