import type { AuditLine } from '../src/keyring/audit.ts';
import { inUtc, plainText, spanWords } from './words.ts';

// The audit's file may have been written to by anybody: each value of a line is a stranger's.

const wordOf = (value: unknown): string => (value === undefined ? '' : plainText(String(value)));

/** `master-2 → master-3`, or the one of them that there is, or the client. */
export function aboutWords({ from, to, client }: AuditLine): string {
  const [before, after] = [wordOf(from), wordOf(to)];
  if (before !== '' && after !== '') return `${before} → ${after}`;
  return before || after || wordOf(client);
}

/** `grace 24 h, compromised`: what the action does not say by itself. */
export const detailWords = ({ detail }: AuditLine): string =>
  Object.entries(detail ?? {})
    .map(([name, value]) => inWords(plainText(name), value))
    .filter((word) => word !== '')
    .join(', ');

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

function inWords(name: string, value: unknown): string {
  if (typeof value === 'boolean') return value ? name : '';
  if (typeof value === 'number' && name.endsWith('Ms')) {
    return `${name.slice(0, -2)} ${spanWords(value)}`;
  }
  const word = wordOf(value);
  return `${name} ${INSTANT.test(word) ? inUtc(word) : word}`;
}

/** What the lines are looked through for; '' is anything. */
export interface AuditFilter {
  readonly text: string;
  readonly action: string;
  readonly by: string;
}

/** Whether a line is looked for: its action and its actor are named, its words hold the text. */
export function isWanted(line: AuditLine, { text, action, by }: AuditFilter): boolean {
  if (action !== '' && line.action !== action) return false;
  if (by !== '' && line.by !== by) return false;
  const words = [line.by, line.action, line.client, aboutWords(line), detailWords(line)];
  return words.join(' ').toLowerCase().includes(text.trim().toLowerCase());
}
