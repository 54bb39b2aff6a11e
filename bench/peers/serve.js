/**
 * What the bench's Node proxies have in common: where to forward to, the one key that is right,
 * and word to the parent when they listen.
 * @typedef {import('node:http').IncomingMessage} Request
 * @typedef {import('node:http').ServerResponse} Response
 * @param {(given: {upstream: string, refused: (request: Request, response: Response) => boolean}) =>
 *   import('node:http').Server} create
 */
export function serveFromEnvironment(create) {
  const right = `Bearer ${process.env.BENCH_KEY}`;
  const server = create({
    upstream: `http://127.0.0.1:${process.env.BENCH_UPSTREAM_PORT}`,
    refused(request, response) {
      if (request.headers.authorization === right) return false;
      response.writeHead(401).end();
      return true;
    },
  });
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
    const address = server.address();
    process.send?.({ port: typeof address === 'object' ? address?.port : undefined });
  });
  process.on('disconnect', () => process.exit(0));
}
