// A provider with OpenAI's chat API, in a container of its own: it answers with the key it was
// shown, in one piece or in three, so that a test sees whose key came through. Who asks for "slow"
// gets a stream that goes on for eight seconds, and who asks for "a minute" one of that length.
import { createServer } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

const chunk = (delta, finish) => ({
  id: 'chatcmpl-1',
  object: 'chat.completion.chunk',
  created: 1,
  model: 'meta/llama-3.1-405b-instruct',
  choices: [{ index: 0, delta, finish_reason: finish }],
});

const server = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const text = Buffer.concat(parts).toString();
  const { stream } = JSON.parse(text);
  const words = ['shown ', request.headers.authorization ?? 'nothing', ' by LiteLLM'];
  const usage = { prompt_tokens: 1, completion_tokens: 3, total_tokens: 4 };
  if (stream) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const chunks = words.map((content) => chunk({ content }, null));
    // Without usage LiteLLM counts by itself, and fetches a tokenizer from the Internet for that.
    chunks.push(chunk({}, 'stop'), { ...chunk({}, null), choices: [], usage });
    const turns = text.includes('"slow"') ? 80 : text.includes('"a minute"') ? 600 : 0;
    for (let turn = 0; turn < turns; turn++) {
      response.write(`data: ${JSON.stringify(chunk({ content: `${turn} ` }, null))}\n\n`);
      await delay(100);
    }
    for (const each of chunks) response.write(`data: ${JSON.stringify(each)}\n\n`);
    response.end('data: [DONE]\n\n');
    return;
  }
  response.writeHead(200, { 'content-type': 'application/json' });
  const message = { role: 'assistant', content: words.join('') };
  const choices = [{ index: 0, message, finish_reason: 'stop' }];
  response.end(JSON.stringify({ ...chunk({}, null), object: 'chat.completion', choices, usage }));
});
server.listen(8080);
process.on('SIGTERM', () => process.exit());
