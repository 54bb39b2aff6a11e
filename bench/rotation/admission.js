/** Runs bench/admission.js, and reads its last line. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/**
 * @param {number | undefined} core
 * @returns {Promise<number>} nanoseconds that a large keyring costs more than one key
 */
export async function measureAdmission(core) {
  const script = fileURLToPath(new URL('../admission.js', import.meta.url));
  const pinned = core === undefined ? [] : ['taskset', '-c', String(core)];
  const [file = '', ...args] = [...pinned, process.execPath, script];
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  await new Promise((resolve, reject) => child.once('close', resolve).once('error', reject));
  const ns = /^difference\b.*?(-?\d+) ns$/m.exec(text)?.[1];
  if (ns === undefined) throw new Error(`bench/admission.js says: ${text.trim()}`);
  return Number(ns);
}
