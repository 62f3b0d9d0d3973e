/** Every error answer of the API (CONTRACT "Errors"). The HTTP status equals `code`. */
export const API_ERRORS = {
  invalid_request: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  payload_too_large: 413,
  unsupported_media_type: 415,
  rate_limit_exceeded: 429,
  internal_error: 500,
} as const;
export type ApiErrorName = keyof typeof API_ERRORS;

export type ApiErrorDetail = { param: string; message: string };

/** An error the client is told about as it stands; anything else that is thrown becomes `internal_error`. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly error: ApiErrorName;
  readonly code: number;
  readonly details: ApiErrorDetail[] | undefined;
  readonly headers: Record<string, string>;

  constructor(
    error: ApiErrorName,
    message: string,
    options: { details?: ApiErrorDetail[]; headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.error = error;
    this.code = API_ERRORS[error];
    this.details = options.details;
    this.headers = options.headers ?? {};
  }
}

/** `errors[].code` of a batch whose input is bad (CONTRACT "Validation error codes"). */
export const VALIDATION_CODES = [
  'empty_file',
  'file_too_large',
  'too_many_lines',
  'line_too_long',
  'invalid_utf8',
  'invalid_json_line',
  'invalid_line',
  'missing_required_parameter',
  'invalid_type',
  'invalid_value',
  'duplicate_custom_id',
  'invalid_method',
  'invalid_url',
  'url_not_allowed_for_type',
  'unsupported_parameter',
  'model_not_found',
  'input_file_unreachable',
  'input_file_forbidden',
  'input_file_changed',
] as const;
export type ValidationCode = (typeof VALIDATION_CODES)[number];

/** `error.code` of an errors-file line that was accepted (CONTRACT "Line error codes"). */
export const LINE_ERROR_CODES = [
  'model_error',
  'model_unavailable',
  'model_timeout',
  'rate_limited',
  'model_unauthorized',
  'model_not_found',
  'response_too_large',
  'invalid_response',
  'batch_expired',
  'batch_cancelled',
  'batch_failed',
  'processing_failed',
] as const;
export type LineErrorCode = (typeof LINE_ERROR_CODES)[number];

/**
 * The input cannot be used as a whole: the batch fails with this on its record. Thrown by the readers of input, turned
 * into an outcome by Fetch and Validate.
 */
export class InputRejected extends Error {
  override readonly name = 'InputRejected';
  readonly code: ValidationCode;
  constructor(code: ValidationCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.code = code;
  }
}
