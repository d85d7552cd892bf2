// Reading the fields of a request: each function returns a value of one type or throws UsageError naming the field.

/** The request itself is wrong: an unknown operation, device or field. Never libsignal's verdict about a message. */
export class UsageError extends Error {}

export function textField(request, name) {
  const value = request[name];
  if (typeof value !== 'string') {
    throw new UsageError(`field ${name} must be a string`);
  }
  return value;
}

export function numberField(request, name) {
  const value = request[name];
  if (!Number.isSafeInteger(value)) {
    throw new UsageError(`field ${name} must be an integer`);
  }
  return value;
}

export function bytesField(request, name) {
  return Buffer.from(textField(request, name), 'base64');
}

/** *read* the field, or undefined where it is absent or null. */
export function optional(read, request, name) {
  const value = request[name];
  return value === undefined || value === null ? undefined : read(request, name);
}

/** The moment a request says it happens at, in milliseconds since 1970; undefined means now. */
export function momentField(request) {
  const milliseconds = optional(numberField, request, 'now_ms');
  return milliseconds === undefined ? undefined : new Date(milliseconds);
}

export function base64(bytes) {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
