import { platform, setPriority } from 'node:os';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import type { DiskAnswer, DiskQuestion, FaultOutcome, ThreadData } from './disk.ts';
import { copyError, doJob, restoreError } from './disk-jobs.ts';
import { type FaultPoint, noFaults, quietly } from './durable-file.ts';

/** The thread that waits for the disk, so that the one that serves does not. */

const port = parentPort;
if (port === null) throw new Error('this is no program: a thread of the sidecar runs it');
const { gate } = workerData as ThreadData;

/** A nice value (nice(2)): about a tenth of a core that others want, all of one that is free. */
const GIVES_WAY = 10;
// Only on Linux has each thread a priority of its own; elsewhere the whole process would give way.
if (platform() === 'linux') quietly(() => setPriority(GIVES_WAY));

const answer = (message: DiskAnswer): void => port.postMessage(message);

/** Waits at a fault point until the thread that has the fault point's function has called it. */
const faultAcross =
  (flag: Int32Array): FaultPoint =>
  (name) => {
    answer({ kind: 'fault', name });
    Atomics.wait(flag, 0, 0);
    Atomics.store(flag, 0, 0);
    const outcome = receiveMessageOnPort(port)?.message as FaultOutcome | undefined;
    if (outcome?.failure !== undefined) throw restoreError(outcome.failure);
  };
const fault = gate === undefined ? noFaults : faultAcross(new Int32Array(gate));

port.on('message', ({ name, request }: DiskQuestion) => {
  try {
    answer({ kind: 'done', result: doJob(name, request, fault) });
  } catch (error) {
    answer({ kind: 'failed', failure: copyError(error) });
  }
});
