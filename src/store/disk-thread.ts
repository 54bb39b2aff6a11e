import { platform, setPriority } from 'node:os';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { Answer, Question, ThreadData, Verdict } from './disk.ts';
import { doJob, errorOf, failureOf } from './disk-jobs.ts';
import { type FaultPoint, noFaults, quietly } from './durable-file.ts';

/** The thread that waits for the disk, so that the one that serves does not. */

const port = parentPort;
if (port === null) throw new Error('this is no program: a thread of the sidecar runs it');
const { gate } = workerData as ThreadData;

/** Of nice(2): about a tenth of a core that somebody else wants, and all of one that is free. */
const GIVES_WAY = 10;
// On Linux alone has each thread a priority of its own; elsewhere all of them would give way.
if (platform() === 'linux') quietly(() => setPriority(GIVES_WAY));

const answer = (message: Answer): void => port.postMessage(message);

/** Stands still until the other thread, which has the function, has called it. */
const faultAcross =
  (flag: Int32Array): FaultPoint =>
  (name) => {
    answer({ kind: 'fault', name });
    Atomics.wait(flag, 0, 0);
    Atomics.store(flag, 0, 0);
    const verdict = receiveMessageOnPort(port)?.message as Verdict | undefined;
    if (verdict?.failure !== undefined) throw errorOf(verdict.failure);
  };
const fault = gate === undefined ? noFaults : faultAcross(new Int32Array(gate));

port.on('message', ({ name, request }: Question) => {
  try {
    answer({ kind: 'done', result: doJob(name, request, fault) });
  } catch (error) {
    answer({ kind: 'failed', failure: failureOf(error) });
  }
});
