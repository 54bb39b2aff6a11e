import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lockSocket, openAdminSocket } from '../../../src/servers/admin/socket.ts';
import { childProgram } from '../../support/child-program.ts';

const PROCESSES = 20;
const ROUNDS = 15;

let program: string;
const folders: string[] = [];
const children = new Set<ChildProcess>();

const folder = async (): Promise<string> => {
  const made = await mkdtemp(join(tmpdir(), 'sidecar-race-'));
  folders.push(made);
  return made;
};

beforeAll(async () => {
  program = await childProgram(new URL('socket-contender.ts', import.meta.url));
}, 60_000);

afterAll(async () => {
  for (const child of children) child.kill('SIGKILL');
  await Promise.all(folders.map((each) => rm(each, { recursive: true, force: true })));
});

/** The next message of a process; rejects where it ends without one. */
const heard = async (child: ChildProcess): Promise<Record<string, unknown>> => {
  const ended = new AbortController();
  const onExit = (): void => ended.abort(new Error('the process ended without a word'));
  child.once('exit', onExit);
  const [message] = await once(child, 'message', { signal: ended.signal });
  child.off('exit', onExit);
  return message;
};

const contender = async (): Promise<ChildProcess> => {
  const child = fork(program, [], { execArgv: [] });
  children.add(child);
  child.once('exit', () => children.delete(child));
  await heard(child);
  return child;
};

const contend = async (child: ChildProcess, path: string, at = 0): Promise<unknown> => {
  const answer = heard(child);
  child.send({ path, at });
  return (await answer)['result'];
};

describe('processes that want one state folder', () => {
  it('at the same instant, on a socket whose owner was killed: one gets it', async () => {
    const path = join(await folder(), 'admin.sock');
    const crowd = await Promise.all(Array.from({ length: PROCESSES }, contender));
    for (let round = 0; round < ROUNDS; round += 1) {
      const at = Date.now() + 30;
      const results = await Promise.all(crowd.map((child) => contend(child, path, at)));
      const won = crowd.filter((_, index) => results[index] === 'won');
      expect(results.filter((result) => result !== 'won' && result !== 'locked')).toEqual([]);
      expect([round, won.length]).toEqual([round, 1]);
      const [owner] = won as [ChildProcess];
      const still = heard(owner);
      owner.send('still?');
      expect(await still).toEqual({ still: true });
      expect(await readdir(join(path, '..'))).toEqual(['admin.sock']);
      owner.kill('SIGKILL');
      await once(owner, 'exit');
      crowd.splice(crowd.indexOf(owner), 1);
    }
  }, 120_000);

  it('one whose name is swept away before it looks for it is told who has the folder', async () => {
    const state = await folder();
    const server = createServer();
    // The owner sees a name that is bound, and whose process does not listen yet.
    server.once('listening', () => {
      for (const name of readdirSync(state)) rmSync(join(state, name));
    });
    await expect(lockSocket(join(state, 'admin.sock'), server)).rejects.toMatchObject({
      kind: 'locked',
    });
    expect(server.listening).toBe(false);
  });

  it('an owner that hangs has it; one that was killed has not', async () => {
    const path = join(await folder(), 'admin.sock');
    const owner = await contender();
    expect(await contend(owner, path)).toBe('won');
    owner.kill('SIGSTOP');
    await expect(openAdminSocket({ path, onError: () => undefined })).rejects.toMatchObject({
      kind: 'locked',
    });
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    const socket = await openAdminSocket({ path, onError: () => undefined });
    expect(socket.isStillOurs()).toBe(true);
    await socket.close();
  }, 30_000);
});
