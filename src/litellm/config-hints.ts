import { readConfigTree } from './config.ts';

/** As a master key, this text makes LiteLLM take the key that it was started with. */
const FROM_ENVIRONMENT = 'os.environ/LITELLM_MASTER_KEY';

/** A key at this place wins over the environment (litellm/proxy/proxy_server.py, `load_config`). */
const SECTION = 'general_settings';
const KEY = 'master_key';

/** Bytes that are looked through: the traffic waits meanwhile, 0.2 s for so many. */
const LONGEST = 512 * 1024;

/**
 * The line of `config.yaml`, from 1, that gives LiteLLM a master key of its own, so that the key in
 * its slot is worth nothing. Undefined where no such line is seen, or where the file is no YAML.
 * This is a hint: the search follows no include, no alias and no merge key. Nobody is told the
 * value. Never rejects.
 *
 * @param source `config.yaml`, or the folder that holds it.
 */
export async function masterKeyLine(source: string): Promise<number | undefined> {
  try {
    const files = await readConfigTree(source);
    const config = files.find(({ path }) => path === 'config.yaml');
    if (config === undefined || config.bytes.length > LONGEST) return undefined;
    return await ownKeyLine(config.bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

async function ownKeyLine(text: string): Promise<number | undefined> {
  // Hardly any process ever looks for this line.
  const { default: yaml } = await import('yaml');
  const { isMap, isScalar, LineCounter, parseDocument } = yaml;
  const lineCounter = new LineCounter();
  // Where a key stands twice, the last one counts, as in Python's parser.
  const options = { lineCounter, uniqueKeys: false };
  const { contents, errors } = parseDocument(text, options);
  const entryOf = (node: unknown, name: string) =>
    isMap(node) ? node.items.findLast(({ key }) => isScalar(key) && key.value === name) : undefined;
  const entry = entryOf(entryOf(contents, SECTION)?.value, KEY);
  if (errors.length > 0 || !isScalar(entry?.key) || !entry.key.range) return undefined;
  const value = isScalar(entry.value) ? entry.value.value : undefined;
  return value === FROM_ENVIRONMENT ? undefined : lineCounter.linePos(entry.key.range[0]).line;
}
