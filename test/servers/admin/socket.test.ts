import { existsSync } from 'node:fs';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createAdminApi } from '../../../src/servers/admin/api.ts';
import { type AdminSocket, openAdminSocket } from '../../../src/servers/admin/socket.ts';
import { StartupError } from '../../../src/startup-error.ts';
import { reachSocket } from '../../../src/store/socket-folder.ts';
import {
  ask,
  askRaw,
  CONFIG,
  fakeAdmin,
  fakeAudit,
  fakeLive,
  fakeUpstream,
  fakeUsage,
  ROTATED,
  STATUS,
} from '../fake-admin.ts';

let state: string;
let path: string;
const sockets: AdminSocket[] = [];
beforeEach(async () => {
  state = await mkdtemp(join(tmpdir(), 'sidecar-socket-'));
  path = join(state, 'admin.sock');
});
afterEach(async () => {
  await Promise.all(sockets.splice(0).map((socket) => socket.close()));
  await rm(state, { recursive: true, force: true });
});

const open = async (at = path): Promise<AdminSocket> => {
  const socket = await openAdminSocket({ path: at, onError: () => undefined });
  sockets.push(socket);
  return socket;
};

const refused = async (at = path): Promise<StartupError> => {
  const error: unknown = await openAdminSocket({ path: at, onError: () => undefined }).catch(
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(StartupError);
  return error as StartupError;
};

const serve = (socket: AdminSocket, changes = {}) => {
  const admin = fakeAdmin(changes);
  socket.serve(
    createAdminApi({
      settings: () => CONFIG,
      admin,
      upstream: fakeUpstream(),
      audit: fakeAudit(),
      usage: fakeUsage(),
      live: fakeLive(),
      onError: () => undefined,
    }),
  );
  return admin;
};

/** A socket that nobody listens at, as a killed process leaves one. */
const leaveStale = async (name = 'admin.sock'): Promise<void> => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(state, 'bound'), resolve));
  await rename(join(state, 'bound'), join(state, name));
  await new Promise((resolve) => server.close(resolve));
  expect((await lstat(join(state, name))).isSocket()).toBe(true);
};

describe('what it serves', () => {
  it('is 503 until it is told what, then the admin API', async () => {
    const socket = await open();
    const early = await ask({ socketPath: path }, 'GET /api/status');
    expect([early.status, early.json['code'], early.headers['retry-after']]).toEqual([
      503,
      'starting',
      '1',
    ]);
    serve(socket);
    const late = await ask({ socketPath: path }, 'GET /api/status');
    expect([late.status, late.json]).toEqual([200, STATUS]);
  });

  it.each([
    ['alice', 'cli:alice'],
    ['a.b_c-d@host', 'cli:a.b_c-d@host'],
    ['x'.repeat(64), `cli:${'x'.repeat(64)}`],
    ['x'.repeat(65), 'socket'],
    ['', 'socket'],
    ['alice bob', 'socket'],
    ['alice, bob', 'socket'],
    ['al\xefce', 'socket'],
    ['a:b', 'socket'],
    [undefined, 'socket'],
  ])('x-sidecar-actor %j is %s in the audit', async (name, actor) => {
    const admin = serve(await open());
    const headers: Record<string, string> = name === undefined ? {} : { 'x-sidecar-actor': name };
    await ask({ socketPath: path }, 'POST /api/clients/ci/enable', { headers });
    expect(admin.calls).toEqual([['enable', 'ci', actor]]);
  });

  it('is for its owner alone', async () => {
    await open();
    expect(((await lstat(path)).mode & 0o777).toString(8)).toBe('600');
    expect(await readdir(state)).toEqual(['admin.sock']);
  });

  it('is nothing to who sends no HTTP, and goes on', async () => {
    serve(await open());
    expect(await askRaw({ socketPath: path }, 'hello\r\n\r\n')).toMatch(/^HTTP\/1\.1 400 /);
    expect((await ask({ socketPath: path }, 'GET /api/status')).status).toBe(200);
  });

  it('nothing behind a body that was refused', async () => {
    const admin = serve(await open());
    const long = 'x'.repeat(70_000);
    const got = await askRaw(
      { socketPath: path },
      'POST /api/clients/a/rotate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n' +
        `Content-Length: 70000\r\n\r\n${long}POST /api/clients/b/rotate HTTP/1.1\r\nHost: x\r\n\r\n`,
    );
    expect(got.match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 413']);
    expect(admin.calls).toEqual([]);
  });

  it('sixteen requests of one packet, and no more', async () => {
    serve(await open());
    const status = 'GET /api/status HTTP/1.1\r\nHost: x\r\n\r\n';
    const got = await askRaw({ socketPath: path }, status.repeat(100));
    expect(got.match(/^HTTP\/1\.1 200/gm)).toHaveLength(16);
  });
});

describe('the lock', () => {
  it('is held against a second one, which leaves it as it is', async () => {
    const socket = await open();
    const error = await refused();
    expect(error.kind).toBe('locked');
    expect(error.message).toBe(`another sidecar runs with the state folder ${state}`);
    expect(error.hint).toBe('stop it, or set SIDECAR_STATE to a folder of its own');
    expect(socket.isStillOurs()).toBe(true);
    expect(await readdir(state)).toEqual(['admin.sock']);
    serve(socket);
    expect((await ask({ socketPath: path }, 'GET /api/status')).status).toBe(200);
  });

  it('is free again after close, and the name is gone', async () => {
    const socket = await open();
    await socket.close();
    expect(await readdir(state)).toEqual([]);
    expect(socket.isStillOurs()).toBe(false);
    expect((await open()).isStillOurs()).toBe(true);
  });

  it('is taken over from one that is gone, and the names of those who died go', async () => {
    await leaveStale();
    await leaveStale('.admin-00000000000000ff.sock');
    expect((await open()).isStillOurs()).toBe(true);
    expect(await readdir(state)).toEqual(['admin.sock']);
  });

  it('is held by one that accepts and answers nothing', async () => {
    const mute = createServer(() => undefined);
    await new Promise<void>((resolve) => mute.listen(path, resolve));
    const begin = Date.now();
    expect((await refused()).kind).toBe('locked');
    expect(Date.now() - begin).toBeLessThan(2_000);
    expect(existsSync(path)).toBe(true);
    await new Promise((resolve) => mute.close(resolve));
  });

  /** Another process that has asked, and not renamed its own name over the lock so far. */
  const contend = async () => {
    const server = createServer();
    const asked = new Promise((resolve) => server.once('connection', resolve));
    const own = join(state, '.admin-0123456789abcdef.sock');
    await new Promise<void>((resolve) => server.listen(own, resolve));
    const close = () => new Promise((resolve) => server.close(resolve));
    return { own, asked, close };
  };

  it('is not believed while another one may take it, and is where that one gives up', async () => {
    const other = await contend();
    const opened = vi.fn();
    const opening = open().then(opened);
    await other.asked;
    expect(existsSync(path)).toBe(true);
    expect(opened).not.toHaveBeenCalled();
    await other.close();
    await opening;
    expect(sockets[0]?.isStillOurs()).toBe(true);
  });

  it('goes to who renamed last, and the one before is told so', async () => {
    const other = await contend();
    const opening = refused();
    await other.asked;
    await rename(other.own, path);
    expect(await opening).toMatchObject({
      kind: 'locked',
      message: `another sidecar runs with the state folder ${state}`,
    });
    expect(await readdir(state)).toEqual(['admin.sock']);
    await other.close();
  });

  it('does not wait for ever for one that hangs, and is lost where that one wakes', async () => {
    const other = await contend();
    const begin = Date.now();
    const socket = await open();
    expect(Date.now() - begin).toBeLessThan(4_000);
    expect(socket.isStillOurs()).toBe(true);
    await rename(other.own, path);
    expect(socket.isStillOurs()).toBe(false);
    await other.close();
  });

  it('is known to be lost where another name took its place, which a close leaves there', async () => {
    const socket = await open();
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(join(state, 'other'), resolve));
    await rename(join(state, 'other'), path);
    expect(socket.isStillOurs()).toBe(false);
    await socket.close();
    expect(existsSync(path)).toBe(true);
    await new Promise((resolve) => other.close(resolve));
  });

  it('is known to be lost where the name or the folder was removed', async () => {
    const socket = await open();
    await rm(path);
    expect(socket.isStillOurs()).toBe(false);
    await rm(state, { recursive: true });
    expect(socket.isStillOurs()).toBe(false);
    await socket.close();
  });
});

describe('a folder that will not do', () => {
  it.each([
    ['a file', () => writeFile(path, 'x')],
    ['a folder', () => mkdir(path)],
    ['a link', () => symlink('nowhere', path)],
  ])('%s in its place is left there', async (_, put) => {
    await put();
    const error = await refused();
    expect([error.kind, error.message]).toEqual([
      'state',
      `${path} is in the way: it is no socket`,
    ]);
    expect(await readdir(state)).toEqual(['admin.sock']);
  });

  it.each([
    ['is not there', () => join(state, 'missing/admin.sock'), 'it is not there'],
    ['is a file', () => join(state, 'file/admin.sock'), 'it is no folder'],
    ['has no sockets', () => '/proc/self/admin.sock', /(permission|sockets|not there)/],
  ])('one that %s', async (_, place, reason) => {
    await writeFile(join(state, 'file'), '');
    const error = await refused(place());
    expect(error.kind).toBe('state');
    expect(error.message).toMatch(/^the admin socket cannot be opened in the state folder /);
    expect(error.message).toMatch(reason);
    expect(error.hint).toContain('SIDECAR_STATE');
  });
});

describe('a path that is longer than the name of a socket', () => {
  it.each([80, 200])('works where folders have short names (%i)', async (length) => {
    const deep = join(state, 'd'.repeat(length));
    await mkdir(deep);
    const long = join(deep, 'admin.sock');
    const admin = serve(await open(long));
    expect(await readdir(deep)).toEqual(['admin.sock']);
    const way = await reachSocket(long);
    expect(Buffer.byteLength(way.path)).toBeLessThan(104);
    const headers = { 'x-sidecar-actor': 'alice' };
    await ask({ socketPath: way.path }, 'POST /api/clients/ci/enable', { headers });
    await way.close();
    expect(admin.calls).toEqual([['enable', 'ci', 'cli:alice']]);
    expect((await refused(long)).kind).toBe('locked');
    await sockets.pop()?.close();
    expect(await readdir(deep)).toEqual([]);
    expect((await open(long)).isStillOurs()).toBe(true);
  });
});

describe('the end', () => {
  it('waits for an answer under way, refuses new ones meanwhile, and keeps the lock', async () => {
    const socket = await open();
    let finish = (): void => {};
    const asked = new Promise<void>((begun) => {
      serve(socket, {
        rotate: () => {
          begun();
          return new Promise((resolve) => {
            finish = () => resolve(ROTATED);
          });
        },
      });
    });
    const answer = ask({ socketPath: path }, 'POST /api/clients/ci/rotate', {
      headers: { connection: 'keep-alive' },
    });
    await asked;
    const closed = vi.fn();
    const closing = socket.close().then(closed);
    const late = await ask({ socketPath: path }, 'GET /api/status');
    expect([late.status, late.json['code'], late.headers['retry-after']]).toEqual([
      503,
      'stopping',
      '5',
    ]);
    expect((await refused()).kind).toBe('locked');
    expect(closed).not.toHaveBeenCalled();
    finish();
    const { status, headers, json } = await answer;
    expect([status, headers.connection, json]).toEqual([200, 'close', ROTATED]);
    await closing;
    expect(existsSync(path)).toBe(false);
  });

  it('does not wait for ever', async () => {
    const socket = await open();
    const asked = new Promise<void>((begun) => {
      serve(socket, {
        rotate: () => {
          begun();
          return new Promise(() => undefined);
        },
      });
    });
    const answer = ask({ socketPath: path }, 'POST /api/clients/ci/rotate');
    const cut = expect(answer).rejects.toMatchObject({ code: 'ECONNRESET' });
    await asked;
    const begin = Date.now();
    await Promise.all([socket.close(), socket.close()]);
    expect(Date.now() - begin).toBeLessThan(4_000);
    await cut;
    expect(existsSync(path)).toBe(false);
  });

  it('drain leaves the lock; serve does not undo it', async () => {
    const socket = await open();
    await socket.drain();
    serve(socket);
    expect((await ask({ socketPath: path }, 'GET /api/status')).json['code']).toBe('stopping');
    expect(socket.isStillOurs()).toBe(true);
  });

  it('a folder that became read-only does not keep it from ending', async () => {
    const socket = await open();
    await chmod(state, 0o500);
    await socket.close();
    await chmod(state, 0o700);
    expect((await open()).isStillOurs()).toBe(true);
  });
});
