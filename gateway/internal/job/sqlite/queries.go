package sqlite

// The statements, prepared once at Open. None of them scans a table: a test asks
// the planner.

// Statements of the writer alone.
const (
	savepoint           = `SAVEPOINT request`
	rollbackToSavepoint = `ROLLBACK TO request`
	releaseSavepoint    = `RELEASE request`

	growProbe   = `UPDATE store SET probe = zeroblob(65536) WHERE one = 1`
	shrinkProbe = `UPDATE store SET probe = x'' WHERE one = 1`

	reserveJob = `INSERT INTO jobs (id, status, visible, total, completed, failed, revision, created_at, updated_at,
		completed_at, lease_owner, lease_epoch, lease_until, work, originals_gone, idempotency_scope, idempotency_key)
		VALUES (?, 'receiving', 0, 0, 0, 0, 0, 0, 0, 0, ?, ?, ?, 1, 0, ?, ?)`
	fillReserved = `UPDATE jobs SET status = ?, visible = 1, total = ?, completed = ?, failed = ?, revision = ?,
		created_at = ?, updated_at = ?, completed_at = ?, lease_until = ?, work = ?, originals_gone = ?,
		retry_of = ?, fingerprint = ?, owner = ?, origin = ?
		WHERE id = ? AND status = 'receiving' AND lease_owner = ? AND lease_epoch = ? RETURNING seq`
	insertJob = `INSERT INTO jobs (status, visible, total, completed, failed, revision, created_at, updated_at,
		completed_at, lease_until, work, originals_gone, retry_of, fingerprint, owner, origin, id, lease_owner, lease_epoch)
		VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING seq`
	insertImage = `INSERT INTO images (job, idx, trace_id, original_filename, key_name, url, status, original_path,
		content_type, size, sha256, processed_path, error, error_code, retryable, start_time, end_time, revision,
		unsent, send) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	releaseJob   = `DELETE FROM jobs WHERE id = ? AND status = 'receiving' AND lease_owner = ? AND lease_epoch = ?`
	selectExists = `SELECT count(*) FROM jobs WHERE id = ?`

	addOwner     = `INSERT INTO owners (name, renewed_until) VALUES (?, 0) ON CONFLICT (name) DO NOTHING`
	renewOwner   = `INSERT INTO owners (name, renewed_until) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET renewed_until = excluded.renewed_until`
	renewLeases  = `UPDATE jobs SET lease_until = ? WHERE work > 0 AND lease_owner = ? AND lease_until > ?`
	lapsedOwners = `SELECT name FROM owners WHERE renewed_until < ? UNION SELECT ''`
	lapsedJobs   = `SELECT ` + jobColumns + ` FROM jobs j
		WHERE j.work > 0 AND j.lease_owner = ? AND j.lease_until < ?
		ORDER BY j.lease_until, j.seq LIMIT ?`
	claimJob = `UPDATE jobs SET lease_owner = ?, lease_epoch = ?, lease_until = ? WHERE seq = ?`

	selectImage = `SELECT ` + imageColumns + ` FROM images i WHERE i.job = ? AND i.idx = ?`
	updateImage = `UPDATE images SET status = ?, original_path = ?, content_type = ?, size = ?, sha256 = ?,
		processed_path = ?, error = ?, error_code = ?, retryable = ?, start_time = ?, end_time = ?, revision = ?,
		unsent = ?, send = ? WHERE job = ? AND idx = ?`
	updateJob  = `UPDATE jobs SET status = ?, completed = ?, failed = ?, revision = ?, updated_at = ? WHERE seq = ?`
	updateWork = `UPDATE jobs SET work = ? WHERE seq = ?`
	endJob     = `UPDATE jobs SET status = ?, completed = ?, failed = ?, revision = ?, updated_at = ?, completed_at = ? WHERE seq = ?`

	markSent = `UPDATE images SET unsent = 0
		WHERE job = (SELECT j.seq FROM jobs j WHERE j.id = ?) AND idx = ? AND send = ? AND unsent = 1`
	countResend = `SELECT count(*) FROM images WHERE end_time = 0 AND start_time < ? AND original_path <> '' AND unsent = 0`
	resend      = `UPDATE images SET unsent = 1, send = send + 1 WHERE end_time = 0 AND start_time < ? AND original_path <> ''`

	hideJobs = `UPDATE jobs SET visible = 0 WHERE seq IN (SELECT seq FROM jobs
		WHERE visible = 1 AND completed_at > 0 AND completed_at < ? ORDER BY completed_at LIMIT ?)`
	forgetOriginals = `UPDATE jobs SET originals_gone = 1, originals_gone_at = ? WHERE id = ? AND visible = 0 AND completed_at > 0`
	deleteJob       = `DELETE FROM jobs WHERE id = ? AND visible = 0 AND completed_at > 0`
)

// Statements of reads, some of which the writer uses too.
const (
	selectStoreID = `SELECT id FROM store`
	countJobs     = `SELECT count(*) FROM jobs WHERE visible = 1`
	countOpen     = `SELECT count(*) FROM images WHERE end_time = 0`
	countUnsent   = `SELECT count(*) FROM images WHERE unsent = 1`
	oldestOpen    = `SELECT created_at FROM jobs WHERE visible = 1 AND completed_at = 0 ORDER BY created_at LIMIT 1`

	selectJob   = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.id = ? AND j.visible = 1`
	selectKeyed = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.idempotency_scope = ? AND j.idempotency_key = ?
		AND j.idempotency_key <> '' AND (j.visible = 1 OR j.completed_at = 0)`
	selectImages  = `SELECT ` + imageColumns + ` FROM images i WHERE i.job = ? ORDER BY i.idx`
	selectChanges = `SELECT ` + imageColumns + ` FROM images i WHERE i.job = ? AND i.revision > ? ORDER BY i.revision, i.idx`
	selectNewest  = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.visible = 1 ORDER BY j.created_at DESC, j.id DESC LIMIT ?`
	selectOlder   = `SELECT ` + jobColumns + ` FROM jobs j WHERE j.visible = 1 AND (j.created_at, j.id) < (?, ?)
		ORDER BY j.created_at DESC, j.id DESC LIMIT ?`
	selectOwnNewest = `SELECT ` + jobColumns + ` FROM jobs j WHERE ` + owned + ` ORDER BY j.created_at DESC, j.id DESC LIMIT ?`
	selectOwnOlder  = `SELECT ` + jobColumns + ` FROM jobs j WHERE ` + owned + ` AND (j.created_at, j.id) < (?, ?)
		ORDER BY j.created_at DESC, j.id DESC LIMIT ?`
	countOwned     = `SELECT count(*) FROM jobs j WHERE ` + owned
	countOwnedOpen = `SELECT coalesce(sum(j.total - j.completed - j.failed), 0) FROM jobs j WHERE ` + owned + ` AND j.completed_at = 0`

	selectUnsent = `SELECT j.id, ` + imageColumns + ` FROM images i JOIN jobs j ON j.seq = i.job
		WHERE i.unsent = 1 ORDER BY i.job, i.idx LIMIT ?`
	selectHidden = `SELECT ` + jobColumns + ` FROM jobs j
		WHERE j.visible = 0 AND j.completed_at > 0 AND j.originals_gone = ? AND j.completed_at < ? AND j.originals_gone_at < ?
		ORDER BY j.completed_at LIMIT ?`
)

// owned is true of the jobs of one owner, as the indexes say.
const owned = `j.owner = ? AND j.owner <> '' AND j.visible = 1`

// Statements of Open, run once. Without the hint the last one would walk all jobs.
const (
	endOwners = `DELETE FROM owners`
	endWork   = `UPDATE jobs SET lease_owner = '', lease_until = 0
		WHERE seq IN (SELECT seq FROM jobs INDEXED BY jobs_work WHERE work > 0)`
)

var openQueries = []string{endOwners, endWork}

var writeQueries = []string{
	savepoint, rollbackToSavepoint, releaseSavepoint, growProbe, shrinkProbe,
	reserveJob, fillReserved, insertJob, insertImage, releaseJob, selectExists,
	addOwner, renewOwner, renewLeases, lapsedOwners, lapsedJobs, claimJob,
	selectJob, selectKeyed, selectImage, selectImages, updateImage, updateJob, updateWork, endJob,
	markSent, countResend, resend,
	hideJobs, forgetOriginals, deleteJob,
}

var readQueries = []string{
	selectStoreID, countJobs, countOpen, countUnsent, oldestOpen,
	selectJob, selectKeyed, selectImages, selectChanges, selectNewest, selectOlder, selectUnsent, selectHidden,
	selectOwnNewest, selectOwnOlder, countOwned, countOwnedOpen,
}
