import { type AddressInfo, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { claimPorts } from '../../src/local/prepare.ts';

const at = (port: number) => ({ host: '127.0.0.1', port, setting: 'SIDECAR_PORT' });

test('a free port is picked for each 0, and no two are the same', async () => {
  const ports = await claimPorts([at(0), at(0), at(0), at(0)]);
  expect(new Set(ports).size).toBe(4);
  // They are free again: the same ones can be claimed.
  expect(await claimPorts(ports.map(at))).toEqual(ports);
});

test('a port in use is told with the setting that moves it', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    await expect(claimPorts([at(port)])).rejects.toMatchObject({
      message: `port ${port} is in use`,
      exitCode: 69,
      hints: [expect.stringContaining('SIDECAR_PORT='), expect.stringContaining('docker compose')],
    });
  } finally {
    server.close();
  }
});

test('an address of another machine is told', async () => {
  const there = { host: '192.0.2.1', port: 0, setting: 'SIDECAR_HOST' };
  await expect(claimPorts([there])).rejects.toThrow(/^cannot listen on 192\.0\.2\.1:0 \(/);
});
