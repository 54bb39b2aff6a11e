/** What a profile of V8 says of the end of a run: microseconds of a request, function by function. */
import { readFileSync } from 'node:fs';
import { figure, table } from './harness/report.ts';

interface Profile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
  }[];
  readonly samples: readonly number[];
  /** Microseconds between samples. */
  readonly timeDeltas: readonly number[];
}

/** So many functions are shown, those with the most time of their own. */
const SHOWN = 40;

/** A table of the last `ms` of a profile; `us` is what one request cost in them altogether. */
export function readProfile(file: string, { us, ms }: { us: number; ms: number }): string {
  const { nodes, samples, timeDeltas }: Profile = JSON.parse(readFileSync(file, 'utf8'));
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const own = new Map<string, number>();
  let [spent, all] = [0, 0];
  for (let at = samples.length - 1; at >= 0 && spent < ms * 1000; at -= 1) {
    const delta = timeDeltas[at] ?? 0;
    spent += delta;
    const frame = frames.get(samples[at] ?? 0);
    if (frame === undefined || frame.functionName === '(idle)') continue;
    const where = frame.url.split('/').slice(-2).join('/');
    const name = `${frame.functionName || '(anonymous)'} ${where}`.trim();
    own.set(name, (own.get(name) ?? 0) + delta);
    all += delta;
  }
  const rows = [...own]
    .sort(([, a], [, b]) => b - a)
    .slice(0, SHOWN)
    .map(([name, time]) => [name, figure((us * time) / all, 2), figure((100 * time) / all, 1)]);
  return table([`function, of ${figure(us, 1)} µs a request`, 'own µs', '%'], rows);
}
