// What to do about an error, in plain words.

/** ApiError is a request that failed.
 * - status: of the response, or 0 if there was none
 * - text: what the gateway reports, in its own words
 * - advice: what the person can do
 * - retryAfter: seconds to wait, or 0
 * - code: 'offline' (no response), 'aborted' (by the caller), 'proxy' (a response that is not the
 *   gateway's), or ''
 */
export class ApiError extends Error {
  constructor(status, text, { retryAfter = 0, code = '' } = {}) {
    super(text);
    this.name = 'ApiError';
    this.status = status;
    this.text = text;
    this.retryAfter = retryAfter;
    this.code = code;
    this.advice = adviceFor(status, text, retryAfter, code);
  }
}

const later = (seconds) => (seconds > 0 ? `Try again in ${seconds} s.` : 'Try again in a few seconds.');

function adviceFor(status, text, retryAfter, code) {
  if (code === 'aborted') return '';
  if (status === 0) return 'Check the network connection. The page tries again by itself.';
  if (code === 'proxy') {
    if (status === 413) return 'A proxy in front of the gateway accepts only smaller requests. Send fewer or smaller files at a time, or raise the limit of the proxy.';
    if (status === 401 || status === 403) return 'A proxy in front of the gateway refused the request. Reload the page, and sign in there if it asks.';
    if (status >= 500) return 'A proxy answered instead of the gateway, which is probably starting or stopped. The page tries again by itself.';
    return 'The response is not from the gateway. Check the address of this page and the proxy in front of the gateway.';
  }
  switch (status) {
    case 400:
      return 'Correct the request and send it again.';
    case 401:
      return /unknown/i.test(text) ? 'Enter another API key. This one was removed, or is not complete.' : 'Enter your API key.';
    case 403:
      if (/operator/i.test(text)) return "Use an operator's API key.";
      return 'Ask the operator of this gateway to allow it.';
    case 404:
      if (text === 'Not found') return 'This gateway does not offer it. Its release may be older than this page: reload the page.';
      return 'It was deleted, belongs to another API key, or the address is not complete.';
    case 408:
      return 'The upload was too slow. Send fewer files at a time, or use a faster connection.';
    case 409:
      return retryAfter > 0 ? later(retryAfter) : 'Reload to see its present state.';
    case 413:
      return 'Send fewer or smaller files at a time.';
    case 415:
      return 'Send JPEG or PNG files.';
    case 421:
      return 'Open this page by a host name that the gateway allows, or ask its operator to add this one to ALLOWED_HOSTS.';
    case 422:
      return 'The files differ from those of the first try. Send them as a new batch.';
    case 429:
    case 503:
      return later(retryAfter);
    default:
      return status >= 500 ? 'Try again. If it happens again, the log of the gateway has the reason.' : 'Reload the page and try again.';
  }
}

/** retryAfter returns the seconds of a Retry-After header, which may also be a date. */
export function retryAfter(header, now = Date.now()) {
  if (!header) return 0;
  const seconds = /^\d+$/.test(header.trim()) ? Number(header) : (Date.parse(header) - now) / 1000;
  return Number.isFinite(seconds) ? Math.min(3600, Math.max(0, Math.ceil(seconds))) : 0;
}

/** errorOf returns the error of a response that is not a success. body is its text. */
export function errorOf(status, body, header) {
  const after = retryAfter(header);
  try {
    const { error, status: repeated } = JSON.parse(body);
    if (typeof error === 'string' && repeated === status) return new ApiError(status, error, { retryAfter: after });
  } catch {
    // not JSON
  }
  return new ApiError(status, `Response with status ${status}`, { retryAfter: after, code: 'proxy' });
}
