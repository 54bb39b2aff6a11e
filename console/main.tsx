import { render } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { StatusView } from '../src/rotation/admin.ts';
import { type ApiProblem, createApi } from './api.ts';
import { Login, rememberedToken, rememberToken } from './login.tsx';
import { Refused } from './parts.tsx';
import { SessionContext, usePolled, useSession, type ViewProps } from './session.tsx';
import { AuditView } from './views/audit.tsx';
import { KeysView } from './views/keys.tsx';
import { LitellmView } from './views/litellm.tsx';
import { NowView } from './views/now.tsx';
import { UsageView } from './views/usage.tsx';
import { plainText, spanWords } from './words.ts';

/** Each view with its address: `#/keys`. */
const VIEWS = {
  now: { title: 'Now', View: NowView },
  usage: { title: 'Usage', View: UsageView },
  keys: { title: 'Keys', View: KeysView },
  litellm: { title: 'LiteLLM', View: LitellmView },
  audit: { title: 'Audit', View: AuditView },
} as const satisfies Record<string, { title: string; View: (props: ViewProps) => unknown }>;

type ViewName = keyof typeof VIEWS;
const VIEW_NAMES = Object.keys(VIEWS) as ViewName[];

/** The token, once for a tab; without one there is nothing but the question for it. */
function Page() {
  const [token, setToken] = useState(rememberedToken);
  const [refusal, setRefusal] = useState<ApiProblem>();
  if (token === undefined) {
    const onToken = (good: string): void => {
      rememberToken(good);
      setRefusal(undefined);
      setToken(good);
    };
    return <Login refusal={refusal} onToken={onToken} />;
  }
  const leave = (why?: ApiProblem): void => {
    rememberToken(undefined);
    setRefusal(why);
    setToken(undefined);
  };
  return <Opened token={token} leave={leave} />;
}

interface OpenedProps {
  readonly token: string;
  /** Forgets the token, and asks for it again; with the reason where it was refused. */
  readonly leave: (why?: ApiProblem) => void;
}

function Opened({ token, leave }: OpenedProps) {
  const [isThere, setThere] = useState(true);
  const latest = useRef(leave);
  latest.current = leave;
  const api = useMemo(
    () => createApi({ token, onRefused: (why) => latest.current(why), onThere: setThere }),
    [token],
  );
  useEffect(() => () => api.close(), [api]);
  const session = useMemo(() => ({ api, isThere }), [api, isThere]);
  return (
    <SessionContext.Provider value={session}>
      <Shell leave={() => leave()} />
    </SessionContext.Provider>
  );
}

/** The status has every client and key, of which other views show none. Milliseconds. */
const KEYS_EVERY_MS = 5000;
const ELSEWHERE_MS = 10_000;

function Shell({ leave }: { leave: () => void }) {
  const name = useViewName();
  const main = useRef<HTMLElement>(null);
  const everyMs = name === 'keys' ? KEYS_EVERY_MS : ELSEWHERE_MS;
  const { answer: status, problem, refresh } = usePolled('GET /api/status', {}, everyMs);
  const { title, View } = VIEWS[name];
  const shown = useRef(name);
  useEffect(() => {
    document.title = `${title} · litellm-sidecar`;
    // Another view is another page: whoever listens or tabs begins at its top.
    if (shown.current !== name) main.current?.focus();
    shown.current = name;
  }, [name, title]);
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to the view
      </button>
      <header class="top">
        <strong class="brand">litellm-sidecar</strong>
        <nav aria-label="Views">
          <ul>
            {VIEW_NAMES.map((each) => (
              <li key={each}>
                <a href={`#/${each}`} aria-current={each === name ? 'page' : undefined}>
                  {VIEWS[each].title}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <button type="button" class="quiet" onClick={leave}>
          Forget the token
        </button>
      </header>
      <Banners status={status} />
      <main ref={main} tabIndex={-1} aria-labelledby="title" data-view={name}>
        <h1 id="title">{title}</h1>
        <Refused error={problem} />
        {status === undefined ? (
          <p class="dim">Asking the sidecar …</p>
        ) : (
          <View status={status} refresh={refresh} />
        )}
      </main>
    </>
  );
}

/** The view that the address names; the first one where it names none. */
function useViewName(): ViewName {
  const named = (): ViewName => {
    const word = /^#\/(\w+)/.exec(location.hash)?.[1];
    return VIEW_NAMES.find((each) => each === word) ?? 'now';
  };
  const [name, setName] = useState(named);
  useEffect(() => {
    const onChange = (): void => setName(named());
    addEventListener('hashchange', onChange);
    return () => removeEventListener('hashchange', onChange);
  }, []);
  return name;
}

/** From this on a browser's clock is worth a word. Milliseconds. */
const CLOCK_OFF_MS = 120_000;

/** What concerns every view: a server that is away, or is another by now, and its warnings. */
function Banners({ status }: { status: StatusView | undefined }) {
  const { api, isThere } = useSession();
  const first = useRef<string | undefined>(undefined);
  first.current ??= status?.version;
  const behindMs = api.behindMs();
  const isOld = status !== undefined && status.version !== first.current;
  return (
    <>
      <div role="status">
        {!isThere && (
          <p class="notice bad">
            The sidecar does not answer. What is shown is how it was; this page goes on by itself as
            soon as it is back.
          </p>
        )}
        {isOld && (
          <p class="notice care">
            The sidecar is version {plainText(status.version)} by now.{' '}
            <button type="button" onClick={() => location.reload()}>
              Load its page
            </button>
          </p>
        )}
        {Math.abs(behindMs) > CLOCK_OFF_MS && (
          <p class="notice care">
            The clock of this browser is {spanWords(Math.abs(behindMs))}{' '}
            {behindMs > 0 ? 'behind' : 'ahead of'} the sidecar's. “Ago” and “in” here go by the
            sidecar's.
          </p>
        )}
      </div>
      {status !== undefined && <Warnings warnings={status.warnings} />}
    </>
  );
}

function Warnings({ warnings }: Pick<StatusView, 'warnings'>) {
  if (warnings.length === 0) return null;
  return (
    <section class="notice care" aria-label="Warnings">
      <ul>
        {warnings.map(({ code, message, hint }) => (
          <li key={code + message}>
            {plainText(message)} <code class="code">{code}</code>
            <br />
            <span class="dim">{plainText(hint)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

const place = document.getElementById('page');
if (place !== null) render(<Page />, place);
