import { got, type Kind, type Reading, reading, splitList, wrong } from './kind.ts';

type Upstreams = readonly [URL, ...URL[]];

/** A URL of the web; what else it may hold is for the caller to say. */
function readUrl(text: string): Reading<URL> {
  // `litellm:4000` is a URL of the scheme "litellm": what was meant has none.
  if (!/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text)) {
    return wrong(/^[\w.-]+(:\d+)?$/.test(text) ? `did you mean http://${text}?` : '');
  }
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) return wrong();
  if (url.username !== '' || url.password !== '') return wrong('it must not hold credentials');
  if (/[?#]/.test(text)) return wrong('it must not hold a query');
  if (url.port === '0') return wrong('no server is reached at port 0');
  return got(url);
}

function readUpstream(text: string): Reading<URL> {
  const result = readUrl(text);
  if ('hint' in result) return result;
  const { protocol, pathname } = result.value;
  if (protocol !== 'http:') return wrong('LiteLLM is reached over plain HTTP, on its own network');
  if (pathname !== '/') return wrong("LiteLLM's root path goes into SIDECAR_ROOT_PATH");
  return result;
}

function readUpstreams(text: string): Reading<Upstreams> {
  const urls: URL[] = [];
  for (const place of splitList(text)) {
    const result = readUpstream(place);
    if ('hint' in result) return result;
    urls.push(result.value);
  }
  const [first, second, ...more] = urls;
  if (first === undefined) return wrong('such as http://litellm:4000');
  if (more.length > 0) return wrong(`there are two slots, and ${urls.length} URLs`);
  if (first.href === second?.href) return wrong('the two slots must differ');
  return got([first, ...urls.slice(1)]);
}

/** Slot `a`, or the slots `a` and `b`. */
export const upstreams: Kind<Upstreams> = {
  schema: reading(readUpstreams),
  allowed: 'one http URL, or two with a comma between them, without path, query or credentials',
  show: (urls) => urls.map((url) => url.origin).join(','),
};

/** Where clients find the gateway. */
export const publicUrl: Kind<URL> = {
  schema: reading(readUrl),
  allowed: 'an http or https URL without query or credentials',
  show: (url) => url.href.replace(/\/$/, ''),
};
