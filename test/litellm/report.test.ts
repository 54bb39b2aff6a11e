import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { generateKey } from '../../src/keyring/key.ts';
import { readReport } from '../../src/litellm/report.ts';
import { Secret } from '../../src/secret.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'report-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const HEAD = 'slot-id 7d1c\ntry 1\n';
const put = (text: string): Promise<void> => writeFile(join(folder, 'a.log'), text);
const read = async (text: string, key?: Secret) => {
  await put(text);
  return await readReport(folder, 'a', key);
};
/** What LiteLLM 1.104.2 printed; of the 70 equal frames of a callback each keeps a dozen. */
const printed = (name: string): string =>
  readFileSync(fileURLToPath(new URL(`start-logs/${name}.txt`, import.meta.url)), 'utf8');

describe('the report of a slot', () => {
  it('is read of a slot that LiteLLM may not read, whose id it cannot know', async () => {
    expect(await read('slot-id \ntry 1\nslot a: no key\nended 1\n')).toMatchObject({
      slotId: '',
      lines: ['slot a: no key'],
      endedWith: 1,
    });
  });

  it('says which content was started, how often, and that it runs', async () => {
    expect(await read('slot-id 7d1c-9\ntry 3\nINFO: one\nINFO: two\n')).toEqual({
      slotId: '7d1c-9',
      attempt: 3,
      lines: ['INFO: one', 'INFO: two'],
      endedWith: undefined,
      port: undefined,
    });
  });

  it.each([
    ['ended 0\n', 0],
    ['ended 137\n', 137],
    // The launcher has not finished that line.
    ['ended 13', undefined],
    ['ended 256\n', undefined],
    ['ended -1\n', undefined],
    ['ended 1\nsaid after that\n', undefined],
  ])('reads %j as the status %s', async (end, status) => {
    const report = await read(`${HEAD}x\n${end}`);
    expect(report?.endedWith).toBe(status);
    expect(report?.lines[0]).toBe('x');
    expect(report?.lines.includes(end.trimEnd())).toBe(status === undefined && !/said/.test(end));
  });

  it.each([
    'INFO:     Uvicorn running on http://0.0.0.0:4002 (Press CTRL+C to quit)',
    'INFO:     Uvicorn running on \u001b[1mhttp://0.0.0.0:4002\u001b[0m (Press CTRL+C to quit)',
    'INFO:     Uvicorn running on http://[::]:4002 (Press CTRL+C to quit)',
    '[2026-11-25 03:46:17 +0000] [7] [INFO] Listening at: http://0.0.0.0:4002 (7)',
    '[2026-11-25 03:46:17 +0000] [7] [INFO] Running on http://0.0.0.0:4002 (CTRL + C to quit)',
    '{"message": "Uvicorn running on http://0.0.0.0:4002", "level": "INFO"}',
  ])('finds the port in %s', async (line) => {
    expect((await read(`${HEAD}${line}\n`))?.port).toBe(4002);
    // Early in a long log, and late in one that took its time.
    const long = 'x'.repeat(99).concat('\n').repeat(2000);
    expect((await read(`${HEAD}${line}\n${long}`))?.port).toBe(4002);
    expect((await read(`${HEAD}${long}${line}\n`))?.port).toBe(4002);
  });

  it.each(['http://0.0.0.0:0', 'http://0.0.0.0:65536', 'http://0.0.0.0'])(
    'takes %s for no port',
    async (origin) => {
      expect((await read(`${HEAD}Uvicorn running on ${origin}\n`))?.port).toBeUndefined();
    },
  );

  it('keeps the last twenty lines, each to 200 characters', async () => {
    const lines = Array.from({ length: 30 }, (_, n) => `${n} ${'é😀'.repeat(200)}`);
    const report = await read(`${HEAD}${lines.join('\n')}\nended 1\n`);
    expect(report?.lines).toHaveLength(20);
    expect(report?.lines[0]).toMatch(/^10 /);
    expect(report?.lines.map((line) => Array.from(line).length)).toEqual(Array(20).fill(200));
  });

  it('shows of a long log whole lines of its end only', async () => {
    const long = `${'y'.repeat(99)}\n`.repeat(2000);
    const report = await read(`${HEAD}first\n${long}last\nended 3\n`);
    expect(report).toMatchObject({ slotId: '7d1c', endedWith: 3 });
    expect(report?.lines).toEqual([...Array(19).fill('y'.repeat(99)), 'last']);
    // One line that is longer than what is read of it says nothing.
    expect((await read(`${HEAD}first\n${'z'.repeat(90_000)}`))?.lines).toEqual(['first']);
  });
});

describe('what LiteLLM prints when it does not come up', () => {
  const end = async (name: string, lines: number) => {
    const report = await read(`${HEAD}${printed(name)}`);
    return [report?.endedWith, ...(report?.lines.slice(-lines) ?? [])];
  };

  it('is where the YAML is wrong', async () => {
    expect(await end('yaml-error', 20)).toEqual([
      1,
      'Traceback (most recent call last):',
      '  File "/app/.venv/lib/python3.11/site-packages/yaml/parser.py", line 549, in parse_flow_mapping_key',
      '    raise ParserError("while parsing a flow mapping", self.marks[-1],',
      'yaml.parser.ParserError: while parsing a flow mapping',
      '  in "/slots/a/config/config.yaml", line 3, column 21',
      "expected ',' or '}', but got ':'",
      '  in "/slots/a/config/config.yaml", line 4, column 18',
    ]);
  });

  it('is which callback is missing', async () => {
    expect(await end('callback-missing', 20)).toEqual([
      3,
      'INFO:     Started server process [27584]',
      'INFO:     Waiting for application startup.',
      'ERROR:    Traceback (most recent call last):',
      '  File "<frozen importlib._bootstrap>", line 1140, in _find_and_load_unlocked',
      "ModuleNotFoundError: No module named 'custom_callbacks'",
      'The above exception was the direct cause of the following exception:',
      'Traceback (most recent call last):',
      '  File "/app/.venv/lib/python3.11/site-packages/litellm/proxy/types_utils/utils.py", line 61, in get_instance_fn',
      '    raise ImportError(f"Could not import {instance_name} from {module_name}") from e',
      'ImportError: Could not import nothing from custom_callbacks',
      'ERROR:    Application startup failed. Exiting.',
    ]);
  });

  it('is that there is no key', async () => {
    expect(await end('no-key', 9)).toEqual([
      3,
      'ERROR:    Application startup failed. Exiting.',
      'LiteLLM proxy refused to start: no master key is set, so every request would be accepted without authentication.',
      'Neither general_settings.master_key nor the LITELLM_MASTER_KEY environment variable is set.',
      '1. Generate a key and save it to .env:',
      '     echo "LITELLM_MASTER_KEY=[redacted] rand -hex 32)" | tee -a .env',
      '   Not using a .env file (docker run, Kubernetes, pip install)? Pass the same value as the',
      '   LITELLM_MASTER_KEY environment variable instead.',
      'Local development only: set LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY=true, or',
      'general_settings.dangerously_permit_weak_or_unset_master_key: true, to start anyway.',
    ]);
  });

  it('is that its port is taken, without its banner', async () => {
    const lines = await end('port-taken', 20);
    expect(lines).toHaveLength(10);
    expect(lines.slice(5, 8)).toEqual([
      '    mock',
      'INFO:     Application startup complete.',
      "ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 4002): address already in use",
    ]);
  });

  it('keeps the frames in files of the operator, and what points at a syntax error', async () => {
    const installed =
      '  File "/usr/lib/python3.13/importlib/__init__.py", line 88, in import_module';
    const own = '  File "/slots/a/config/hooks.py", line 2, in <module>';
    const syntax = '  File "/slots/a/config/other.py", line 7';
    const said = [
      ...['Traceback (most recent call last):', installed, '    return x(y)', '           ~^^^'],
      ...[own, '    import other', '    ^^^^^^^^^^^^', installed, '    z()'],
      ...[syntax, '    def f(:', '          ^', 'SyntaxError: invalid syntax'],
    ];
    expect((await read(`${HEAD}${said.join('\n')}\nended 1\n`))?.lines).toEqual([
      ...['Traceback (most recent call last):', own, '    import other'],
      ...[syntax, '    def f(:', '          ^', 'SyntaxError: invalid syntax'],
    ]);
  });

  it('leaves out that it was asked by us, and nothing that others asked', async () => {
    const asked = (path: string) => `INFO:     10.0.0.2:1 - "GET ${path} HTTP/1.1" 200 OK`;
    const said = ['/health/liveliness', '/llm/health/readiness', '/llm/v1/models', '/v1/x'];
    const report = await read(`${HEAD}${said.map(asked).join('\n')}\n`);
    expect(report?.lines).toEqual([asked('/v1/x')]);
  });

  it('leaves out that it refused the key that we made up, with its traceback', async () => {
    const at = '09:49:52 - LiteLLM Proxy:ERROR: auth_exception_handler.py:177 - litellm.proxy.';
    const refused = `${at}proxy_server.user_api_key_auth(): Exception occured - No connected db.`;
    const file = '  File "/app/litellm/proxy/auth/user_api_key_auth.py", line 1867, in build';
    const said = [
      ...['INFO:     Application startup complete.', refused],
      ...['Requester IP Address:10.0.0.2', refused, 'Requester IP Address:10.0.0.2'],
      ...['Traceback (most recent call last):', file, '    raise Exception("x")'],
      ...['Exception: Invalid proxy server token', refused, 'Killed'],
      'INFO:     10.0.0.2:1 - "GET /health/readiness/details HTTP/1.1" 200 OK',
    ];
    expect((await read(`${HEAD}${said.join('\n')}\n`))?.lines).toEqual([
      ...['INFO:     Application startup complete.', 'Killed'],
    ]);
  });
});

describe('a report holds no secret', () => {
  const KEY = generateKey();

  it.each([
    ['OPENAI_API_KEY=abc123', 'OPENAI_API_KEY=[redacted]'],
    ["{'api_key': 'abc 123', 'x': 1}", "{'api_key': '[redacted] 123', 'x': 1}"],
    ['"password": "hunter2"', '"password": "[redacted]"'],
    ['AWS_SECRET_ACCESS_KEY: a/b+c=', 'AWS_SECRET_ACCESS_KEY: [redacted]'],
    ['db postgresql://u:p@db:5432/x', 'db postgresql://[redacted]@db:5432/x'],
    ['Authorization: Bearer a.b-c', 'Authorization: Bearer [redacted]'],
    ['key AIzaSyA1234567890abcdef', 'key [redacted]'],
    ['nvapi-abcdefghijklmnop.', '[redacted]'],
    ['api_key: os.environ/OPENAI_API_KEY', 'api_key: os.environ/OPENAI_API_KEY'],
    ['require_api_key=True, x', 'require_api_key=True, x'],
    ['api_key=true-secret', 'api_key=[redacted]'],
    ['a monkey: banana', 'a monkey: banana'],
  ])('%s', async (line, shown) => {
    expect((await read(`${HEAD}${line}\n`))?.lines).toEqual([shown]);
  });

  it("in whatever surroundings the slot's key stands", async () => {
    const odd = new Secret('a-key-like_no.other/9');
    const text = fc.string({ maxLength: 250, unit: 'binary' });
    await fc.assert(
      fc.asyncProperty(text, text, fc.constantFrom('', '\u001b[31m', '\t'), async (a, b, c) => {
        const line = `${a.replaceAll('\n', '')}${c}${odd.reveal()}${c}${KEY}${c}`;
        const lines = (await read(`${HEAD}${line}${b}\n`, odd))?.lines.join('\n') ?? '';
        expect(lines).not.toContain(odd.reveal());
        expect(lines).not.toContain(KEY.slice(3, 20));
      }),
    );
  });
});

describe('a folder that somebody else writes', () => {
  it('has no report', async () => {
    expect(await readReport(folder, 'a')).toBeUndefined();
    expect(await readReport(join(folder, 'none'), 'b')).toBeUndefined();
  });

  it.each([
    '',
    'slot-id 7d1c',
    'slot-id 7d1c\n',
    'slot-id 7d1c\ntry 1',
    'slot-id 7d1c\ntry 0\n',
    'slot-id 7d1c\ntry -1\n',
    'slot-id 7d1c\ntry 1e3\n',
    'slot-id 7d1c\ntry 1 \n',
    'slot-id a b\ntry 1\n',
    'slot-id \u001b[2J\ntry 1\n',
    `slot-id ${'x'.repeat(201)}\ntry 1\n`,
    'try 1\nslot-id 7d1c\n',
    `${'x'.repeat(5000)}\n${HEAD}`,
  ])('makes no report of %j', async (text) => {
    expect(await read(text)).toBeUndefined();
  });

  it('leads to no other file', async () => {
    await writeFile(join(folder, 'secret'), `${HEAD}secret\n`);
    await symlink('secret', join(folder, 'a.log'));
    expect(await readReport(folder, 'a')).toBeUndefined();
    // The same, read as itself, is one.
    await rm(join(folder, 'a.log'));
    expect((await read(`${HEAD}x\n`))?.lines).toEqual(['x']);
  });

  it('does not make us wait at a FIFO, nor read a folder', async () => {
    execFileSync('mkfifo', [join(folder, 'a.log')]);
    expect(await readReport(folder, 'a')).toBeUndefined();
    await mkdir(join(folder, 'b.log'));
    expect(await readReport(folder, 'b')).toBeUndefined();
  });

  it('has a file of a terabyte, most of it a hole', async () => {
    await put(`${HEAD}Uvicorn running on http://0.0.0.0:4000\n`);
    await truncate(join(folder, 'a.log'), 2 ** 40);
    await appendFile(join(folder, 'a.log'), '\nlast\nended 9\n');
    const report = await readReport(folder, 'a');
    expect(report).toMatchObject({ port: 4000, endedWith: 9 });
    expect(report?.lines.at(-1)).toBe('last');
  });

  it('shows nothing that a terminal would act upon, whatever is in it', async () => {
    const bytes = fc.uint8Array({ maxLength: 3000 });
    const text = fc.string({ unit: 'binary', maxLength: 3000 }).map((x) => Buffer.from(x));
    const escapes = fc
      .array(fc.constantFrom('\u001b', '[', ']', '0;', '\u009b', 'm', '\n', '\r', '\u202e', '#'))
      .map((parts) => Buffer.from(parts.join('')));
    await fc.assert(
      fc.asyncProperty(fc.oneof(bytes, text, escapes), async (said) => {
        await writeFile(join(folder, 'a.log'), Buffer.concat([Buffer.from(HEAD), said]));
        const report = await readReport(folder, 'a');
        expect(report).toMatchObject({ slotId: '7d1c', attempt: 1 });
        expect(report?.lines.length).toBeLessThanOrEqual(20);
        for (const line of report?.lines ?? []) {
          expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Cs}]/u);
          expect(line.trim()).not.toBe('');
          expect(Array.from(line).length).toBeLessThanOrEqual(200);
        }
      }),
    );
  });

  it.each(['\u001b[', 'Running on http://', '"GET ', '://', 'bearer ', 'api_key ', 'File "'])(
    'does not keep us busy with a line of %j again and again',
    async (part) => {
      const started = performance.now();
      await read(`${HEAD}${part.repeat(60_000 / part.length)}\n`);
      expect(performance.now() - started).toBeLessThan(500);
    },
  );
});
