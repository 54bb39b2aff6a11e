import { describe, expect, it } from 'vitest';
import { createMcpSessions, sessionOf } from '../../src/proxy/mcp-sessions.ts';

const A = { name: 'a' };
const B = { name: 'b' };
const MINUTE = 60_000;

function start() {
  const time = { now: 0 };
  return { time, sessions: createMcpSessions<typeof A>({ elapsed: () => time.now }) };
}

describe('MCP sessions', () => {
  it('have an owner until they are forgotten, one by one or with it', () => {
    const { sessions } = start();
    for (const [id, owner] of [
      ['1', A],
      ['2', A],
      ['3', B],
    ] as const)
      sessions.learn(id, owner);
    sessions.forget('1');
    expect(['1', '2', '3'].map(sessions.ownerOf)).toEqual([undefined, A, B]);
    sessions.forgetAllOf(A);
    expect(['1', '2', '3'].map(sessions.ownerOf)).toEqual([undefined, undefined, B]);
  });

  it('that were not used for five minutes count as gone, and are still known', () => {
    const { sessions, time } = start();
    sessions.learn('1', A);
    sessions.learn('2', A);
    time.now = 4 * MINUTE;
    sessions.ownerOf('2');
    time.now = 5 * MINUTE + 1;
    expect(sessions.countOf(A)).toBe(1);
    expect(sessions.ownerOf('1')).toBe(A);
    expect([sessions.countOf(A), sessions.countOf(B)]).toEqual([2, 0]);
  });

  it('are 10,000: beyond that the one used longest ago is forgotten', () => {
    const { sessions } = start();
    for (let n = 0; n < 10_000; n++) sessions.learn(`${n}`, A);
    sessions.ownerOf('0');
    sessions.learn('one more', B);
    expect(sessions.ownerOf('1')).toBeUndefined();
    expect([sessions.ownerOf('0'), sessions.ownerOf('2')]).toEqual([A, A]);
    expect(sessions.countOf(A) + sessions.countOf(B)).toBe(10_000);
  });

  it('with a name that LiteLLM never gives fill no memory', () => {
    const { sessions } = start();
    sessions.learn('x'.repeat(201), A);
    expect(sessions.countOf(A)).toBe(0);
  });
});

describe('the session of a request', () => {
  const ID = '5f1d7a1e0c9b4f0e8a3d6b2c1e4f7a90';
  it.each([
    ['s-1', '/mcp', 's-1'],
    ['s-1', `/mcp/sse/messages?session_id=${ID}`, 's-1'],
    [undefined, `/mcp/sse/messages?session_id=${ID}`, ID],
    [undefined, `/llm/mcp/sse/messages/?a=b&session_id=${ID}`, ID],
    // The last one is LiteLLM's.
    [undefined, `/mcp/sse/messages?session_id=x&session_id=${ID.toUpperCase()}`, ID],
    ['', '/mcp/sse', undefined],
    [undefined, '/mcp/sse/messages', undefined],
    [undefined, `/mcp/tools?session_id=${ID}`, undefined],
  ])('with header %o and target %s is %o', (header, target, session) => {
    expect(sessionOf(header, target)).toBe(session);
  });
});
