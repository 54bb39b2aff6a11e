/** The clients of `bench/handover.ts`: a closed loop of small answers, and streams that count. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ask } from '../harness/payloads.ts';
import { reason } from '../harness/processes.ts';
import { summary } from '../harness/report.ts';

/** The model of the closed loop, which LiteLLM answers by itself. */
export const MOCK_MODEL = 'bench';
export const MOCK_ANSWER = "Hello from the mock of the bench's LiteLLM.";

/** The model behind which the bench's own provider counts, with so many ms between two numbers. */
export const PACED_MODEL = 'paced';
export const GAP_MS = 250;

export const word = (number: number): string => `${number} `;

/** Before a client whose connection broke comes back, in milliseconds. */
const COME_BACK_MS = 50;

/** Milliseconds of the wall clock, as the admin API tells instants, and finer. */
export const wallMs = (): number => performance.timeOrigin + performance.now();

/** Milliseconds of the wall clock. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

interface Stream extends Span {
  /** Why it is not whole. */
  readonly fault: string | undefined;
}

const question = (model: string, content: string, stream = false): string =>
  JSON.stringify({ model, stream, messages: [{ role: 'user', content }] });

/** Why a stream is not whole: every number, then `[DONE]`; undefined: it is. */
function faultOf(status: number, said: string, chunks: number): string | undefined {
  if (status !== 200) return `status ${status}`;
  const events = [...said.matchAll(/^data: (.*)$/gm)].map(([, data = '']) => data);
  const counted = events
    .filter((data) => data !== '[DONE]')
    .map((data) => JSON.parse(data).choices?.[0]?.delta?.content ?? '')
    .join('');
  const whole = Array.from({ length: chunks }, (_, at) => word(at)).join('');
  if (counted !== whole) return `${counted.split(' ').length - 1} of ${chunks} chunks`;
  return events.at(-1) === '[DONE]' ? undefined : 'no [DONE]';
}

/**
 * Begins both; each client sends its next request when it has the answer to the one before, and
 * each stream is followed by another one.
 */
export function beginLoad(options: {
  port: number;
  key: string;
  clients: number;
  streams: number;
  streamSeconds: number;
}) {
  const { port, key } = options;
  const samples: Span[] = [];
  const faults = new Map<string, number>();
  const streams: Stream[] = [];
  let running = true;
  const began = wallMs();
  const fault = (what: string) => faults.set(what, (faults.get(what) ?? 0) + 1);

  const client = async (): Promise<void> => {
    while (running) {
      const from = wallMs();
      try {
        const { status, said } = await ask(port, { key, body: question(MOCK_MODEL, 'hello') });
        if (status !== 200) fault(`status ${status}`);
        else if (!said.includes(MOCK_ANSWER)) fault('another answer');
      } catch (error) {
        fault(reason(error));
        await sleep(COME_BACK_MS);
      }
      samples.push({ from, to: wallMs() });
    }
  };
  const chunks = Math.max(1, Math.round((options.streamSeconds * 1000) / GAP_MS));
  const stream = async (_: unknown, at: number): Promise<void> => {
    // Spread, so that a few begin and end in every moment.
    await sleep((at / options.streams) * options.streamSeconds * 1000);
    while (running) {
      const from = wallMs();
      const asked = question(PACED_MODEL, `count to ${chunks}`, true);
      const why = await ask(port, { key, body: asked }).then(
        ({ status, said }) => faultOf(status, said, chunks),
        reason,
      );
      streams.push({ from, to: wallMs(), fault: why });
      if (why !== undefined) await sleep(COME_BACK_MS);
    }
  };
  const all = [
    ...Array.from({ length: options.clients }, client),
    ...Array.from({ length: options.streams }, stream),
  ];

  return {
    faults,
    streams,
    failed: () => [...faults.values()].reduce((sum, count) => sum + count, 0),
    /** Milliseconds, of the requests that were under way in some spans. */
    latencies: (spans: readonly Span[]) =>
      summary(
        samples
          .filter(({ from, to }) => spans.some((span) => from <= span.to && to >= span.from))
          .map(({ from, to }) => to - from),
      ),
    /** Waits for the last answers. @returns requests a second */
    async end(): Promise<number> {
      const seconds = (wallMs() - began) / 1000;
      running = false;
      await Promise.all(all);
      return samples.length / seconds;
    },
  };
}
