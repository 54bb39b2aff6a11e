import { hash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { keyTextFault } from '../config/kinds.ts';
import { readText } from '../config/text-file.ts';
import { checkDeclaredKey, digestOf, showDigest } from '../keyring/key.ts';
import type { FileClient } from '../keyring/keyring.ts';
import { createPlaces } from '../text/place.ts';
import { createWatch, type Watch, type WatchOptions } from '../watch.ts';
import { readDigest } from './clients-file.ts';
import {
  type ClientsFileMistake,
  createClientsReader,
  type WrittenClient,
} from './clients-text.ts';

/** What the clients file says, with the keys of the files that it names; or all of its mistakes. */
export interface ClientsReading {
  readonly clients: readonly FileClient[];
  readonly mistakes: readonly ClientsFileMistake[];
  /** A mistake in this client, at one of its keys where a digest is named. */
  mistake(client: string, digest: string | undefined, message: string): ClientsFileMistake;
  /** Two readings are alike where their marks are. It holds no key. */
  readonly mark: string;
}

type ClientsFile = ReturnType<typeof openClientsFile>;

/** The clients file at a path; what it names itself starts in its folder. */
export function openClientsFile(path: string) {
  const parse = createClientsReader();
  /** Every file that the last reading was made of. */
  let files: readonly string[] = [path];
  return {
    path,
    files: () => files,
    /** Reads all of it anew. Never rejects. */
    async read(): Promise<ClientsReading> {
      const file = await readText(path);
      if ('fault' in file) {
        files = [path];
        const hint =
          file.cause.code === 'EISDIR'
            ? ': Docker makes one where a file that it shall mount is missing'
            : '';
        return faulty([{ line: 0, column: 0, message: `${file.fault}${hint}` }], file.fault);
      }
      const { text } = file;
      const written = await parse(text);
      const keys = await readKeyFiles(path, text, written.clients);
      files = [path, ...keys.files];
      const mark = hash('sha256', [text, ...keys.marks].join('\0'), 'base64url');
      const mistakes = [...written.mistakes, ...keys.mistakes];
      if (mistakes.length > 0) return faulty(mistakes, mark);
      return { clients: keys.clients, mistakes, mistake: mistakeIn(text, written.clients), mark };
    },
  };
}

/** Makes mistakes in the clients of a text: each is looked for among its own lines alone. */
function mistakeIn(text: string, clients: readonly WrittenClient[]): ClientsReading['mistake'] {
  const placeOf = createPlaces(text);
  let lines: ReadonlyMap<string, readonly [start: number, end: number | undefined]> | undefined;
  return (name, digest, message) => {
    lines ??= new Map(
      clients.map(({ name: each, offset }, at) => [each, [offset, clients[at + 1]?.offset]]),
    );
    const [start, end] = lines.get(name) ?? [0, 0];
    const at = digest === undefined ? -1 : offsetIn(text.slice(start, end), digest);
    return { ...placeOf(start + Math.max(at, 0)), message: `${name}: ${message}` };
  };
}

/** Where a digest stands in a text, in either of its forms; below 0: in a file with keys. */
const offsetIn = (text: string, digest: string): number =>
  text.search(new RegExp(`sha256:(?:${showDigest(digest).slice(7)}|${digest})`, 'i'));

function faulty(mistakes: readonly ClientsFileMistake[], mark: string): ClientsReading {
  const mistake = (client: string, _digest: unknown, message: string): ClientsFileMistake => ({
    ...{ line: 0, column: 0, message: `${client}: ${message}` },
  });
  return { clients: [], mistakes, mistake, mark };
}

/** The clients with the digests of the keys in the files that they name. */
async function readKeyFiles(path: string, text: string, written: readonly WrittenClient[]) {
  const found = {
    clients: [] as FileClient[],
    mistakes: [] as ClientsFileMistake[],
    files: [] as string[],
    marks: [] as string[],
  };
  const placeOf = createPlaces(text);
  for (const client of written) {
    if (client.keysFile === undefined) {
      found.clients.push(client);
      continue;
    }
    const from = resolve(dirname(path), client.keysFile);
    const file = await readText(from);
    found.files.push(from);
    found.marks.push('text' in file ? digestOf(file.text) : file.fault);
    const { digests, faults } =
      'fault' in file ? { digests: [], faults: [file.fault] } : keysIn(file.text);
    found.clients.push({ ...client, digests });
    const isAbsent = 'fault' in file && file.kind === 'missing';
    for (const fault of faults) {
      const message = `${client.name}.keys_file: ${fault}`;
      const mistake = { ...placeOf(client.offset), message };
      found.mistakes.push(isAbsent ? { ...mistake, isAbsentKeysFile: true } : mistake);
    }
  }
  return found;
}

/** The digests of a file with a key or a digest on each line. */
function keysIn(text: string): { digests: readonly string[]; faults: readonly string[] } {
  const digests = new Set<string>();
  const faults: string[] = [];
  text.split('\n').forEach((content, at) => {
    const line = content.trim();
    if (line === '' || line.startsWith('#')) return;
    const fault = (why: string): void => void faults.push(`line ${at + 1} of the file: ${why}`);
    if (/^sha256:/i.test(line)) {
      const reading = readDigest(line);
      if ('value' in reading) digests.add(reading.value);
      else fault(reading.hint || 'it is no digest as `sidecar key digest` prints it');
      return;
    }
    const check = checkDeclaredKey(line);
    const why = keyTextFault(line) ?? (check.ok ? undefined : check.reason);
    if (why === undefined) digests.add(digestOf(line));
    else fault(why);
  });
  if (digests.size === 0 && faults.length === 0) faults.push('the file holds no key');
  return { digests: [...digests], faults };
}

/** A program that writes the file does not pause for so long in the middle. */
const SETTLE_MS = 250;
/** Whoever writes it all the time is not waited for longer than that. */
const MOST_READINGS = 20;

/**
 * What the file says once nobody writes it any more, for the start: a file that is half written may
 * be a good one with fewer clients, and the keys of the others would be revoked for good.
 */
export async function readSettled(file: ClientsFile): Promise<ClientsReading> {
  let reading = await file.read();
  for (let readings = 1; readings < MOST_READINGS; readings += 1) {
    await setTimeout(SETTLE_MS);
    const { mark } = reading;
    reading = await file.read();
    if (reading.mark === mark) break;
  }
  return reading;
}
/** After so many looks that found nothing new, files whose stamps stay are not read. */
const LOOKS = 3;

interface ClientsWatchOptions
  extends Pick<WatchOptions<ClientsReading>, 'onSettled' | 'settled' | 'pollMs'> {
  readonly file: ClientsFile;
}

/** Follows the clients file and the files with keys that it names. */
export function createClientsWatch({ file, ...options }: ClientsWatchOptions): Watch {
  let stamps = '';
  let quiet = 0;
  return createWatch({
    ...options,
    markOf: ({ mark }) => mark,
    settleMs: SETTLE_MS,
    async read() {
      const before = await stampsOf(file.files());
      const reading = await file.read();
      quiet = before === stamps ? quiet + 1 : 0;
      stamps = before;
      return reading;
    },
    // Some file systems count whole seconds: a second edit within one has the stamps of the first.
    isUnchanged: async () => quiet >= LOOKS && (await stampsOf(file.files())) === stamps,
  });
}

/** A text that differs when one of these was written, replaced or swapped. Links are followed. */
async function stampsOf(paths: readonly string[]): Promise<string> {
  const stamps: string[] = [];
  for (const path of paths) {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
      stamps.push(`${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`);
    } catch (error) {
      stamps.push(String((error as NodeJS.ErrnoException).code));
    }
  }
  return stamps.join('\n');
}
