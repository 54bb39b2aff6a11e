/** RESULTS.md: the conditions of a run, then its figures. */
import { figuresText, foreignShare, percent, table } from './report.js';
import { SECTIONS } from './sections.js';

/** Seen with \`node --cpu-prof\`, 300 µs, one core; to be looked at again when the path changes. */
const WHERE_THE_TIME_GOES = `## Where the sidecar's time goes

A profile of the sidecar under the JSON load at 32 connections, warm (\`node --cpu-prof\`, a sample each 300 µs): 23 % in the two gathered writes of each
request, 16 % elsewhere inside Node, 15 % in Node's HTTP server and streams, 14 % in undici and its parser, 8 % in \`proxy/\` (the fields of the answer
1.6 %, its head 1.1 %), 7 % in the access line and the metrics, 1 % in garbage collection. The writes are the same for every proxy here.
What bare undici lacks, and what is the difference to it: reading and judging the request (one SHA-256, a route look-up, a UUID), rewriting
its fields and those of the answer, the record, the access line with its write to a file, the metrics, and the watch over time limits, holds and retries.
Each of them is cold when its turn comes, and so costs about four times what it does in a loop of its own: taken out one by one, judging and
rewriting the request gave back 14 µs of 133, the fields of the answer 11, the access line 19 before it was assembled by hand.

Of the start, 110 ms are Node's own on this machine; zod is 70, undici's client 40, pino 30, and prom-client's registry 10.`;

/**
 * @param {object} given
 * @param {import('./targets.js').Figures} given.figures
 * @param {import('./report.js').Peers} given.peers
 * @param {readonly string[]} given.absent peers that are not installed
 * @param {ReturnType<import('./machine.js').describeMachine>} given.machine
 * @param {boolean} given.pinned
 * @param {import('./options.js').Options['effort']} given.effort
 * @param {Date} given.date
 * @param {number} given.seconds of the whole run
 */
export function resultsText({ figures, peers, absent, machine, pinned, effort, date, seconds }) {
  const foreign = foreignShare(figures);
  const kept = SECTIONS.map((section) => section.kept()).filter((text) => text !== '');
  const { rounds, json, sse, streams } = effort;
  return `# Results of \`npm run bench\`

Written by the bench; a full run replaces it, but for the last parts, which \`npm run bench:rotation\` and \`npm run bench:handover\` write. Figures are medians over rounds in which every peer had its turn,
so compare them within one run and not between two.

- ${date.toISOString().slice(0, 10)}, ${machine.processor}, ${machine.cores} cores, ${machine.memoryGiB} GiB, Linux ${machine.kernel}, Node ${process.versions.node}; the run took ${Math.round(seconds)} s.
- ${pinned ? 'One core for the proxy, one for load generator and upstream together.' : 'Processes were not pinned to cores: no taskset, or one core alone.'} Others took ${percent(foreign)} of the proxy's core.
- JSON: ${rounds.json} rounds of ${json.measureMs} ms after ${json.warmMs} ms of warm-up; SSE: ${rounds.sse} rounds of ${sse.measureMs} ms after ${sse.warmMs} ms. Closed loops over keep-alive connections, each answer compared with what the upstream sends.
- Streams: ${streams.count.toLocaleString('en-GB')} at once through a fresh process that was warmed by a second of JSON; ${streams.ticking} of them receive one chunk each second. KB are thousands of bytes, resident memory after opening or after ${streams.watchSeconds} s of chunks, whichever is more, less that before.
- Each peer was validated first: the right key gets the right body (and the upstream the right request), a wrong key and none get 401, chunks pass as they come.
- A peer whose own core is not near 100 % was held back by the load generator and the upstream: its throughput here is a lower bound.
${absent.length > 0 ? `- Not installed: ${absent.join(', ')}.\n` : ''}
${table(
  ['peer', 'version', 'as measured'],
  peers.map(({ name, version, about }) => [name, version, about]),
)}

${figuresText(figures, peers)}

${WHERE_THE_TIME_GOES}
${kept.map((section) => `\n${section}\n`).join('')}`;
}
