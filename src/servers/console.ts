import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { carriesBody } from './admin/http.ts';

export interface ConsoleOptions {
  /** What the build made of `console/`; it need not be there. */
  readonly folder: URL;
  /** Whether a token opens the admin API; else the page says how to set one, and nothing more. */
  readonly isOpen: boolean;
  /** Told of files that cannot be read. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

/** The compressions that the build made, the better first, each with the ending of its files. */
const CODINGS = [
  ['br', '.br'],
  ['gzip', '.gz'],
] as const;

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};

/**
 * What the page may do, and who may show it: load what this port has, ask this port, nothing else.
 * A text can never become HTML (`trusted-types`), no form is sent, and no other page has it in a
 * frame, or in its hand as a window that it opened.
 */
const SAFE = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
} as const;

/** The names of these files change with what is in them. */
const FOR_EVER = 'public, max-age=31536000, immutable';
const ASK_AGAIN = 'no-cache';

interface PageFile {
  readonly bytes: Buffer;
  /** For `ETag`. */
  readonly tag: string;
}
/** The files of the page by name: of `main.js` there is `main.js.br`, too. */
type PageFiles = ReadonlyMap<string, PageFile>;

const NOT_BUILT = 'the console is not built: npm run build';
const NOT_FOUND = 'not found';
const NO_QUERY = 'the console takes nothing from its address: enter the token in the page';
const NOT_ALLOWED = 'allowed: GET, HEAD';

/** Whether the console answers at a path. */
export const isConsolePath = (path: string): boolean =>
  path === '/' || path.startsWith('/console/');

/**
 * Serves the page of the ops port. Its files are read when it is first asked for, all of them at
 * once, so that a later build does not mix with this one.
 */
export function createConsole({ folder, isOpen, onError }: ConsoleOptions) {
  const first = isOpen ? 'index.html' : 'no-token.html';
  let reading: Promise<PageFiles> | undefined;
  const read = async (): Promise<PageFiles | undefined> => {
    reading ??= readAll(folder);
    try {
      return await reading;
    } catch (error) {
      reading = undefined;
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') onError?.(error);
      return undefined;
    }
  };
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '', url = '' } = request;
    const [path = '', ...query] = url.split('?');
    if (method !== 'GET' && method !== 'HEAD') {
      sayPlainly(request, response, 405, NOT_ALLOWED);
      return;
    }
    // A token in an address stands in the history, in logs, and on the screen.
    if (query.length > 0) {
      sayPlainly(request, response, 400, NO_QUERY);
      return;
    }
    const files = await read();
    const name = path === '/' ? first : path.slice('/console/'.length);
    const plain = files?.get(name);
    const type = TYPES[/\.(\w+)$/.exec(name)?.[1] ?? ''];
    // The pages themselves have one address, and nobody asks for a compressed file by its name.
    const isThere = type !== undefined && (path === '/') === name.endsWith('.html');
    if (files === undefined) sayPlainly(request, response, 503, NOT_BUILT);
    else if (plain === undefined || !isThere) sayPlainly(request, response, 404, NOT_FOUND);
    else sendFile(request, response, { files, name, plain, type });
  };
}

async function readAll(folder: URL): Promise<PageFiles> {
  const path = fileURLToPath(folder);
  const names = await readdir(path);
  const all = names.map(async (name): Promise<[string, PageFile]> => {
    const bytes = await readFile(join(path, name));
    return [name, { bytes, tag: tagOf(bytes) }];
  });
  return new Map(await Promise.all(all));
}

const tagOf = (bytes: Buffer): string =>
  `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`;

interface Found {
  readonly files: PageFiles;
  readonly name: string;
  readonly plain: PageFile;
  readonly type: string;
}

function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  { files, name, plain, type }: Found,
): void {
  const { 'accept-encoding': accepted, 'if-none-match': known } = request.headers;
  const [coding, ending] = CODINGS.find(
    ([each, end]) => takes(accepted, each) && files.has(name + end),
  ) ?? [undefined, ''];
  const { bytes, tag } = files.get(name + ending) ?? plain;
  const isKnown = known?.split(',').some((each) => each.trim().replace(/^W\//, '') === tag);
  response.writeHead(isKnown ? 304 : 200, {
    ...SAFE,
    'cache-control': name.endsWith('.html') ? ASK_AGAIN : FOR_EVER,
    etag: tag,
    vary: 'accept-encoding',
    ...(!isKnown && {
      'content-type': type,
      'content-length': bytes.length,
      ...(coding !== undefined && { 'content-encoding': coding }),
    }),
    ...(carriesBody(request) && { connection: 'close' }),
  });
  response.end(isKnown ? undefined : bytes);
}

/** Whether a browser takes a compression (RFC 9110 §12.5.3): it names it, and not with `q=0`. */
function takes(accepted: string | undefined, coding: string): boolean {
  const named = (accepted ?? '').toLowerCase().split(',');
  const found = named.map((each) => each.trim().split(/\s*;\s*/)).find(([name]) => name === coding);
  return found !== undefined && !found.some((part) => /^q=0(?:\.0*)?$/.test(part));
}

function sayPlainly(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  text: string,
): void {
  response.writeHead(status, {
    ...SAFE,
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(`${text}\n`),
    'cache-control': 'no-store',
    ...(status === 405 && { allow: 'GET, HEAD' }),
    ...(carriesBody(request) && { connection: 'close' }),
  });
  response.end(`${text}\n`);
}
