// Official libsignal as a process: one JSON request per line on stdin, one JSON reply per line on stdout.
//
// A request is {"op": NAME, ...fields}; its reply {"ok": {...}} or {"error": {"code", "number", "text", "operation"}}.
// {"op": "batch", "requests": [...]} runs several in order and replies {"ok": {"replies": [...]}}, one reply each: an
// error does not stop those after it. Binary values are base64. The process ends when stdin does.

import { StoreError } from './device.mjs';
import { benchmarkOperations } from './benchmark.mjs';
import { keyOperations } from './keys.mjs';
import { messageOperations } from './messages.mjs';
import { CURRENT, releaseNamed, X3DH_ERA } from './releases.mjs';
import { UsageError } from './requests.mjs';

const REQUEST_MAX = 64 * 1024 * 1024; // characters in one line; a batch of 10,000 large first messages fits

const operations = new Map(Object.entries({ ...keyOperations, ...messageOperations, ...benchmarkOperations }));
const releases = [CURRENT, X3DH_ERA].map((version) => releaseNamed(version).lib);

/** What an operation threw, as a value. The numbers of libsignal's codes differ between releases; the names do not. */
function errorReply(error) {
  if (error instanceof UsageError) {
    return { code: 'OracleUsage', number: null, text: error.message, operation: null };
  }
  if (error instanceof StoreError) {
    return { code: error.code, number: null, text: error.message, operation: null };
  }
  const lib = releases.find(({ LibSignalErrorBase }) => error instanceof LibSignalErrorBase);
  if (lib !== undefined) {
    return { code: lib.ErrorCode[error.code], number: error.code, text: error.message, operation: error.operation };
  }
  // A TypeError or RangeError from libsignal's argument checks, or a fault of this program: the stack tells which.
  return { code: error.name, number: null, text: `${error.message}\n${error.stack}`, operation: null };
}

async function replyTo(request) {
  try {
    const operation = operations.get(request.op);
    if (operation === undefined) {
      throw new UsageError(`no operation ${request.op}`);
    }
    return { ok: await operation(request) };
  } catch (error) {
    return { error: errorReply(error) };
  }
}

async function batch({ requests }) {
  if (!Array.isArray(requests)) {
    throw new UsageError('field requests must be a list');
  }
  const replies = [];
  for (const request of requests) {
    replies.push(await replyTo(request));
  }
  return { replies };
}
operations.set('batch', batch);

async function* linesOf(stream) {
  stream.setEncoding('utf8');
  let parts = [];
  let size = 0;
  for await (const chunk of stream) {
    let start = 0;
    for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n', start)) {
      parts.push(chunk.slice(start, end));
      yield parts.join('');
      parts = [];
      size = 0;
      start = end + 1;
    }
    parts.push(chunk.slice(start));
    size += chunk.length - start;
    if (size > REQUEST_MAX) {
      throw new Error(`a request of more than ${REQUEST_MAX} characters`);
    }
  }
}

for await (const line of linesOf(process.stdin)) {
  process.stdout.write(`${JSON.stringify(await replyTo(JSON.parse(line)))}\n`);
}
