import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/** The rules that ARCHITECTURE.md states, held here so that nobody has to remember them. */
const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');

const walk = (ending: string, ...folders: readonly string[]): string[] =>
  folders
    .flatMap((folder) => readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));

interface Source {
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
  /** What it imports: files of this project from its root, packages by name. */
  readonly imports: readonly string[];
}

const read = (path: string): Source => {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const found = text.matchAll(
    /^\s*(?:(?:import|export)\b[^;']*?from |import |.*?import\()'([^']+)'/gm,
  );
  const imports = [...found].map(([, name = '']) =>
    name.startsWith('.') ? relative(ROOT, resolve(ROOT, dirname(path), name)) : name,
  );
  return { path, text, lines: text.trimEnd().split('\n'), imports };
};

const sources = walk('.ts', 'src').map(read);
const tests = walk('.ts', 'test').map(read);
/** The page of the ops port, which is built apart. */
const pages = [...walk('.ts', 'console'), ...walk('.tsx', 'console')].map(read);

/** Floor by floor; a file may import from lower floors only, and from its own folder. */
const FLOORS: readonly (readonly RegExp[])[] = [
  [
    /^src\/(client-name|secret|clock|refusal|startup-error|turns|watch)\.ts$/,
    /^src\/(config|text)\//,
  ],
  [/^src\/keyring\//],
  [/^src\/(store|litellm)\//],
  [/^src\/(rotation|handover|proxy|usage)\//],
  [/^src\/(servers|telemetry)\//],
  [/^src\/app\//],
  [/^src\/(main|cli|entry)\.ts$/, /^src\/(cli|local)\//],
];

const floorOf = (path: string): number =>
  FLOORS.findIndex((patterns) => patterns.some((pattern) => pattern.test(path)));

/** Two folders of one floor that must not know each other. */
const room = (path: string): string => (path.split('/').length > 2 ? dirname(path) : 'src');

const packageOf = (name: string): string =>
  name.startsWith('@') ? name.split('/').slice(0, 2).join('/') : (name.split('/')[0] ?? '');

/** Which folders may import what; everybody else may not. */
const ONLY_IN: Record<string, RegExp> = {
  undici: /^src\/(proxy|litellm)\//,
  'http-proxy-3': /^src\/(proxy|litellm)\//,
  'prom-client': /^src\/telemetry\/(metrics|series|\w+-families)/,
  pino: /^src\/telemetry\/log/,
  'pino-pretty': /^src\/telemetry\/log/,
  commander: /^src\/cli/,
  'node:child_process': /^src\/local\//,
  'node:worker_threads': /^src\/store\/usage-(?:thread|worker)/,
};

const LONGEST_FILE = 400;
/** Shorter than this, a file that one neighbour imports is a wall in a room. Lines. */
const SHORT_FILE = 40;
/** By name, with the reason. */
const ALONE_FOR_A_REASON: ReadonlySet<string> = new Set([]);

/** Where a secret's plaintext may be asked for: it is digested, sent, stored or shown to its owner. */
const REVEALS =
  /^src\/(secret\.ts|app\/app\.ts|config\/|store\/|rotation\/|handover\/|proxy\/upstream-keys?\.ts|litellm\/(slots|verify|report)\.ts|cli\/(commands\/(key|console)|key-place|gateway-probe|admin-door)\.ts)/;

describe('the code is tidy', () => {
  it('has a floor for each file', () => {
    expect(sources.filter(({ path }) => floorOf(path) < 0).map(({ path }) => path)).toEqual([]);
  });

  it('imports from lower floors only', () => {
    const wrong = sources.flatMap(({ path, imports }) =>
      imports
        .filter((name) => name.startsWith('src/'))
        .filter((name) => {
          const [own, other] = [floorOf(path), floorOf(name)];
          if (other !== own) return other > own;
          // On floors 0, 5 and 6 the files are one group; elsewhere folders keep to themselves.
          if (own === 0 || own >= 5) return false;
          return room(path).split('/')[1] !== room(name).split('/')[1];
        })
        .map((name) => `${path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it('keeps each library in its place', () => {
    const wrong = sources.flatMap(({ path, imports }) =>
      imports
        .map(packageOf)
        .filter((name) => ONLY_IN[name]?.test(path) === false)
        .map((name) => `${path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it('imports nothing that package.json does not list', () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    const listed = new Set(Object.keys(manifest.devDependencies));
    const wrong = sources.flatMap(({ path, imports }) =>
      imports
        .filter((name) => !/^(?:src\/|node:|package\.json$)/.test(name))
        .filter((name) => !listed.has(packageOf(name)))
        .map((name) => `${path} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  it('touches the process on floor 6 alone', () => {
    const wrong = sources.filter(
      ({ path, text }) =>
        floorOf(path) < 6 && /(?<!\/)\b(?:process|console)\s*[.[]/.test(code(text)),
    );
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('asks for the plaintext of a secret in few places', () => {
    const wrong = sources.filter(
      ({ path, text }) => text.includes('.reveal()') && !REVEALS.test(path),
    );
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('reads no time but the clock it is given, on the lower floors', () => {
    const wrong = sources.filter(
      ({ path, text }) =>
        floorOf(path) < 4 &&
        path !== 'src/clock.ts' &&
        /\b(?:Date\.now|performance\.now|new Date\(\))/.test(
          code(text).replace(/new Date\(\)\.toUTCString/g, ''),
        ),
    );
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('has files to 400 lines and lines to 100 characters', () => {
    const wrong = [...sources, ...pages].flatMap(({ path, lines }) => [
      ...(lines.length > LONGEST_FILE ? [`${path}: ${lines.length} lines`] : []),
      ...lines.flatMap((line, at) => (line.length > 100 ? [`${path}:${at + 1} is long`] : [])),
    ]);
    expect(wrong).toEqual([]);
  });

  it('has functions to 60 lines', () => {
    expect([...sources, ...pages].flatMap(longFunctions)).toEqual([]);
  });

  it('imports nothing from the built output: what is started from it is started as a process', () => {
    const programs = [...tests, ...walk('.ts', 'bench', 'scripts').map(read)];
    const all = [...programs, ...walk('.js', 'bench', 'scripts', 'test').map(read)];
    const wrong = all.filter(({ imports }) => imports.some((name) => name.startsWith('dist/')));
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('takes of zod what it uses: as a named import it comes whole, 560 kB more in the bundle', () => {
    const wrong = sources.filter(({ text }) => /^import (?:type )?\{.* from 'zod'/m.test(text));
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('takes by its default what it loads later of CommonJS: in the bundle it has no other name', () => {
    const later = sources.flatMap(({ path, text }) =>
      [...text.matchAll(/const \{([^}]+)\} = await import\('([^.'][^']*)'\)/g)].map(
        ([, names = '', name = '']) => ({ path, names: names.trim(), name }),
      ),
    );
    const wrong = later.filter(({ names, name }) => {
      const manifest = join(ROOT, 'node_modules', packageOf(name), 'package.json');
      const { type } = JSON.parse(readFileSync(manifest, 'utf8'));
      return type !== 'module' && !/^default: \w+$/.test(names);
    });
    expect(wrong).toEqual([]);
    expect(later.length).toBeGreaterThan(2);
  });

  it('has rooms, not walls: a few short files, and a median of 110 lines', () => {
    const lengths = sources.map(({ lines }) => lines.length).sort((a, b) => a - b);
    const short = lengths.filter((length) => length <= 50).length;
    expect(short / lengths.length).toBeLessThanOrEqual(0.15);
    expect(lengths[lengths.length >> 1]).toBeGreaterThanOrEqual(110);
  });

  it('has no circle of imports between files', () => {
    const all = [...sources, ...pages];
    expect(circles(new Map(all.map(({ path, imports }) => [path, imports])))).toEqual([]);
  });

  it('has no short file that serves one neighbour alone', () => {
    const importers = (path: string): readonly string[] =>
      sources.filter(({ imports }) => imports.includes(path)).map((source) => source.path);
    const wrong = sources.filter(({ path, lines }) => {
      if (lines.length >= SHORT_FILE || ALONE_FOR_A_REASON.has(path)) return false;
      const [importer, ...others] = importers(path);
      return importer !== undefined && others.length === 0 && dirname(importer) === dirname(path);
    });
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('gives each exported name one meaning', () => {
    const declaredIn = (files: readonly Source[]) => {
      const declared = new Map<string, string[]>();
      for (const { path, text } of files) {
        const names = text.matchAll(
          /^export (?:abstract |async |declare )*(?:function\*?|const|let|class|interface|type|enum) (\w+)/gm,
        );
        // A type and a value of one name in one file are two sides of one thing.
        for (const name of new Set([...names].map(([, each = '']) => each))) {
          declared.set(name, [...(declared.get(name) ?? []), path]);
        }
      }
      return Object.fromEntries([...declared].filter(([, paths]) => paths.length > 1));
    };
    expect(declaredIn(sources)).toEqual({});
    expect(declaredIn(pages)).toEqual({});
  });

  it('takes for the page two packages, types and two files of src, and never makes HTML of a text', () => {
    const values = pages.flatMap(({ path, text }) =>
      [...text.matchAll(/^(?:import|export)(?! type\b)[^;]*?from '[^']*\/src\/[^']*'/gm)].map(
        ([found]) => `${path}: ${found}`,
      ),
    );
    const html = pages.filter(({ text }) =>
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\bstyle=["']|\beval\b/i.test(
        code(text),
      ),
    );
    const packages = pages.flatMap(({ imports }) =>
      imports.filter((name) => !name.includes('/') || !/^(?:console|src)\//.test(name)),
    );
    // So that both read percentiles alike and write the same CSV; they import nothing themselves.
    const shared = ['src/store/usage-columns.ts', 'src/usage/first-chunks.ts'];
    const isShared = (found: string) => shared.some((path) => found.endsWith(`'../${path}'`));
    expect(values.filter((each) => !isShared(each))).toEqual([]);
    expect(
      sources.filter(({ path }) => shared.includes(path)).flatMap(({ imports }) => imports),
    ).toEqual([]);
    expect([...new Set(packages.map(packageOf))].sort()).toEqual(['preact', 'uplot']);
    expect(html.map(({ path }) => path)).toEqual([]);
    expect(pages.length).toBeGreaterThan(10);
  });

  it('has no file named after nothing', () => {
    const wrong = [...sources, ...pages].filter(({ path }) =>
      /(?:^|[/-])(?:utils?|helpers?|common|misc|manager)[.-]/.test(path),
    );
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('leaves nothing open, in code or tests', () => {
    const marks = new RegExp(
      ['TO', 'DO|FIX', 'ME|(?:it|test|describe)\\.(?:on', 'ly|sk', 'ip|to', 'do)\\b'].join(''),
    );
    const wrong = [...sources, ...tests].filter(({ text }) => marks.test(text));
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });
});

/** The text without comments and strings, roughly: enough to look for words. */
function code(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}

/** Files that import each other, directly or not: the strongly connected parts of the graph. */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const reached = new Map<string, Set<string>>();
  for (const path of graph.keys()) {
    const seen = new Set<string>();
    const next = [...(graph.get(path) ?? [])];
    for (let name = next.pop(); name !== undefined; name = next.pop()) {
      if (seen.has(name) || !graph.has(name)) continue;
      seen.add(name);
      next.push(...(graph.get(name) ?? []));
    }
    reached.set(path, seen);
  }
  const inCircle = [...graph.keys()].filter((path) => reached.get(path)?.has(path) === true);
  const groups = inCircle.map((path) =>
    inCircle.filter((other) => reached.get(path)?.has(other) && reached.get(other)?.has(path)),
  );
  return [...new Set(groups.map((group) => group.join(' ')))].map((group) => group.split(' '));
}

/** By indentation, which the formatter keeps: a function ends at a brace in its own column. */
function longFunctions({ path, lines }: Source): string[] {
  const begins =
    /^(\s*)(?:export |async |function|(?:static|override|get|set) )*(?:function\b|[\w#]+\s*(?:<.*>)?\(.*\{$|const \w+ = .*=>\s*\{$)/;
  const wrong: string[] = [];
  lines.forEach((line, at) => {
    const indent = begins.exec(line)?.[1];
    if (indent === undefined || /^\s*(?:if|for|while|switch|return|else)\b/.test(line)) return;
    const end = lines.findIndex(
      (other, below) => below > at && /^\s*\}/.test(other) && other.search(/\S/) === indent.length,
    );
    if (end - at + 1 > 60) wrong.push(`${path}:${at + 1} (${end - at + 1} lines)`);
  });
  return wrong;
}
