import { TargetRefused } from './guard.ts';

/** What went wrong on the way, in words for the client: never the URL, a path or a query. */
export function describeNetworkFault(error: unknown): string {
  if (error instanceof TargetRefused) return error.message;
  const code = errorCode(error);
  if (code !== undefined) {
    const known = FAULTS[code];
    if (known) return known;
    if (HANDSHAKE.test(code)) return 'the TLS handshake failed';
    if (CERTIFICATE.test(code)) return 'its TLS certificate is not valid';
    if (code.startsWith('HPE_')) return 'it does not answer in HTTP';
  }
  // By name, so that undici is not in the bundle of who does without it.
  if (error instanceof Error && error.name === 'HTTPParserError') return 'it does not answer in HTTP';
  if (error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError')) return 'timed out';
  return 'the connection failed';
}

const FAULTS: Record<string, string> = {
  ENOTFOUND: 'its name cannot be resolved',
  EAI_AGAIN: 'its name cannot be resolved',
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was reset',
  UND_ERR_SOCKET: 'the connection was closed',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the connection was closed before the end',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the host cannot be reached',
  ETIMEDOUT: 'timed out',
  UND_ERR_CONNECT_TIMEOUT: 'timed out',
  UND_ERR_HEADERS_TIMEOUT: 'timed out',
  UND_ERR_BODY_TIMEOUT: 'it stopped sending',
  UND_ERR_HEADERS_OVERFLOW: 'its answer has too large a head',
};
const HANDSHAKE = /^(EPROTO|ERR_SSL_\w+)$/;
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_|ERR_TLS/;

/** The code of the error, or of the first of those it stands for (Node tries a host's addresses in turn). */
function errorCode(error: unknown): string | undefined {
  if (error instanceof AggregateError && error.errors.length > 0) return errorCode(error.errors[0]);
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
