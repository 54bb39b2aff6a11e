import { appendLines } from './audit-append.ts';
import { type FaultPoint, type ReplaceRequest, replaceFile, syncPath } from './durable-file.ts';
import { saveKeyring, takeBackKeyring } from './keyring-save.ts';
import { seal } from './sealed-text.ts';

/**
 * What is done on the disk, each without letting go of its thread. Requests and results go from one
 * thread to another: they hold no function.
 */
export const JOBS = {
  replace: (request: ReplaceRequest, fault: FaultPoint) => replaceFile(request, fault),
  /** The same with a checksum at its end. */
  replaceSealed: (request: ReplaceRequest, fault: FaultPoint) =>
    replaceFile({ ...request, data: seal(request.data) }, fault),
  /** What stands there already is on the disk. */
  sync: (path: string) => syncPath(path),
  saveKeyring,
  takeBackKeyring,
  appendLines,
} as const;

export type Jobs = typeof JOBS;
export type JobName = keyof Jobs;
export type RequestOf<Name extends JobName> = Parameters<Jobs[Name]>[0];
export type ResultOf<Name extends JobName> = ReturnType<Jobs[Name]>;

/** With the types of a name that is only known when it comes. */
export const doJob = (name: JobName, request: unknown, fault: FaultPoint): unknown =>
  (JOBS[name] as (request: unknown, fault: FaultPoint) => unknown)(request, fault);
