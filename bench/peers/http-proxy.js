/** http-proxy 1.18.1 with a keep-alive agent and one key check: what the ratios refer to. */
import { Agent, createServer } from 'node:http';
import httpProxy from 'http-proxy';
import { serveFromEnvironment } from './serve.js';

serveFromEnvironment(({ upstream, refused }) => {
  const agent = new Agent({ keepAlive: true });
  const proxy = httpProxy.createProxyServer({ target: upstream, agent });
  proxy.on('error', (_error, _request, response) => response.destroy());
  return createServer((request, response) => {
    if (!refused(request, response)) proxy.web(request, response);
  });
});
