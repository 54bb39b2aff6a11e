import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { type Failure, failureOf } from './disk-failure.ts';
import { type FaultPoint, quietly, syncPath, writeAll } from './durable-file.ts';

export interface AppendRequest {
  readonly path: string;
  readonly lines: readonly string[];
  /** Where whole lines end, if something else stands behind them. */
  readonly cutAt: number | undefined;
}

export interface AppendResult {
  readonly cutAt: number | undefined;
  /** Undefined: the lines are on the disk. */
  readonly failure: Failure | undefined;
}

/** Appends all of the lines or none; what a failure leaves is cut off, or `cutAt` says where. */
export function appendLines(
  { path, lines, cutAt }: AppendRequest,
  fault: FaultPoint,
): AppendResult {
  const state = { cutAt };
  try {
    const file = openSync(path, 'a', 0o600);
    try {
      write(file, path, lines, state, fault);
    } catch (error) {
      quietly(() => cut(file, path, state, fault));
      throw error;
    } finally {
      closeSync(file);
    }
    return { cutAt: undefined, failure: undefined };
  } catch (error) {
    return { ...state, failure: failureOf(error) };
  }
}

type State = { cutAt: number | undefined };

function write(
  file: number,
  path: string,
  lines: readonly string[],
  state: State,
  fault: FaultPoint,
): void {
  const name = basename(path);
  cut(file, path, state, fault);
  const { size } = fstatSync(file);
  state.cutAt = size;
  fault(`append to ${name}`);
  writeAll(file, [lines.map((line) => `${line}\n`).join('')]);
  fault(`sync ${name}`);
  fsyncSync(file);
  if (size === 0) syncPath(dirname(path));
  fault(`after ${name}`);
}

function cut(file: number, path: string, { cutAt }: State, fault: FaultPoint): void {
  if (cutAt === undefined || fstatSync(file).size <= cutAt) return;
  fault(`cut ${basename(path)}`);
  ftruncateSync(file, cutAt);
}
