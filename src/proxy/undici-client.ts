import { createRequire } from 'node:module';

/**
 * The parts of undici that are used. Its index loads fetch, WebSocket, caches and mocks beside
 * them, which is 60 ms and 9 MB of each start; the version is fixed, so the paths are too.
 */
const require = createRequire(import.meta.url);

type Undici = typeof import('undici');

export const Client: Undici['Client'] = require('undici/lib/dispatcher/client.js');
export const buildConnector: Undici['buildConnector'] = require('undici/lib/core/connect.js');
