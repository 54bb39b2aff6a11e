import { expect, it } from 'vitest';
import { isOurHost } from '../../src/servers/operators.ts';

it.each([
  ...[undefined, '127.0.0.1:4001', '10.1.2.3', '[::1]:4001', '[fd00::7]', 'localhost:4001'],
  ...['sidecar:4001', 'SIDECAR', 'app.localhost', 'host.docker.internal:4001', 'box.local'],
  ...['sidecar.prod.svc:4001', 'sidecar.prod.svc.cluster.local.', 'nas.home.arpa', ''],
])('%s may be ours', (host) => {
  expect(isOurHost(host, [])).toBe(true);
});

it.each([
  ...['evil.example', 'evil.example:4001', '127.0.0.1.evil.example', 'localhost.evil.example'],
  ...['evillocal.com', 'evil.com.', 'x.internal.evil.com', '[evil.com]', '127.0.0.1.nip.io:80'],
])('%s is somebody else, unless it is named', (host) => {
  expect(isOurHost(host, [])).toBe(false);
  const name = host.replace(/:\d+$/, '').replace(/\.$/, '');
  expect(isOurHost(host, [name])).toBe(true);
});
