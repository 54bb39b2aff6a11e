import { describe, expect, it } from 'vitest';
import { sayLine } from '../support/attack.ts';
import { callRaw, requestBytes } from '../support/raw-caller.ts';
import { answerAt, conversation, lastRequest } from '../support/raw-client.ts';
import { createStages, type Stage } from '../support/stage.ts';

const stage = createStages();
const CHAT = 'POST /v1/chat/completions';

const announce = async (on: Stage, expectation: string, more: readonly string[] = []) => {
  const caller = await callRaw(on.sidecar.port);
  const fields = [`Expect: ${expectation}`, 'content-length: 5', ...more];
  caller.send(requestBytes(on.sidecar, CHAT, { fields }));
  return caller;
};

describe('Expect: 100-continue', () => {
  it('of a request that is admitted: 100, then the body, then the answer', async () => {
    const on = await stage({ script: sayLine });
    const caller = await announce(on, '100-continue');
    expect((await answerAt(caller, 0)).status).toBe(100);
    caller.send(`hello${lastRequest(on.sidecar.key)}`);
    const { answers, rest } = await conversation(caller);
    expect(answers.map(({ status }) => status)).toEqual([100, 200, 200]);
    expect({ rest, body: answers[1]?.body }).toEqual({ rest: '', body: CHAT });
    const [peer] = on.upstream.requests;
    expect((await peer?.body)?.toString()).toBe('hello');
    expect(peer?.values('expect')).toEqual([]);
  });

  it('of a request that is refused: the refusal, and no 100', async () => {
    const on = await stage({ script: sayLine });
    const caller = await announce(on, '100-continue', ['Authorization: Bearer second']);
    const { status, field } = await answerAt(caller, 0);
    expect({ status, close: field('connection') }).toEqual({ status: 400, close: 'close' });
    // Who sends the body all the same gets no second answer, and the connection ends.
    caller.send(`hello${lastRequest(on.sidecar.key)}`);
    const { answers, rest } = await conversation(caller);
    expect({ count: answers.length, rest }).toEqual({ count: 1, rest: '' });
    expect(on.upstream.requests).toEqual([]);
  });

  it('in any case, and with its body already here', async () => {
    const on = await stage({ script: sayLine });
    const caller = await announce(on, '100-Continue');
    caller.send(`hello${lastRequest(on.sidecar.key)}`);
    const { answers } = await conversation(caller);
    expect(answers.map(({ status }) => status)).toEqual([100, 200, 200]);
  });
});

it('an expectation that nobody knows is refused', async () => {
  const on = await stage({ script: sayLine });
  const caller = await announce(on, '200-ok');
  expect(await answerAt(caller, 0)).toMatchObject({ status: 400 });
  caller.send('hello');
  const { refusals } = await conversation(caller);
  expect(refusals).toEqual(['bad_request']);
  expect(on.upstream.requests).toEqual([]);
});

it('HTTP/1.0 knows no expectations', async () => {
  const on = await stage({ script: sayLine });
  const caller = await callRaw(on.sidecar.port);
  const fields = ['Expect: 100-continue'];
  caller.send(requestBytes(on.sidecar, CHAT, { fields, body: 'x' }).replace('1.1\r', '1.0\r'));
  const { answers } = await conversation(caller);
  expect(answers.map(({ status }) => status)).toEqual([200]);
});
