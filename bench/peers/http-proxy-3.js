/** http-proxy-3 with a keep-alive agent and one key check. */
import { Agent, createServer } from 'node:http';
import { createProxyServer } from 'http-proxy-3';
import { serveFromEnvironment } from './serve.js';

serveFromEnvironment(({ upstream, refused }) => {
  const agent = new Agent({ keepAlive: true });
  const proxy = createProxyServer({ target: upstream, agent });
  proxy.on('error', (_error, _request, response) => response.destroy());
  return createServer((request, response) => {
    if (!refused(request, response)) proxy.web(request, response);
  });
});
