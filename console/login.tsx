import { useState } from 'preact/hooks';
import { ApiProblem, createApi, hasNoToken } from './api.ts';
import { Refused, TextField } from './parts.tsx';

const TOKEN = 'sidecar-admin-token';

/** The token of this tab; undefined: it has none. A browser may keep nothing at all. */
export function rememberedToken(): string | undefined {
  try {
    return sessionStorage.getItem(TOKEN) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Keeps the token for as long as the tab is open; undefined forgets it. */
export function rememberToken(token: string | undefined): void {
  try {
    if (token === undefined) sessionStorage.removeItem(TOKEN);
    else sessionStorage.setItem(TOKEN, token);
  } catch {
    // Then it is asked for at each load.
  }
}

interface LoginProps {
  /** Why a token that was good is not any more. */
  readonly refusal: ApiProblem | undefined;
  readonly onToken: (token: string) => void;
}

const NOT_TAKEN =
  'The token is not taken any more: it was changed, or the sidecar was. Enter the new one.';
const NO_TOKEN =
  'The sidecar has no token any more. Set SIDECAR_ADMIN_TOKEN, restart it, and enter the value.';

/** Asks for the admin token until the sidecar takes it. */
export function Login({ refusal, onToken }: LoginProps) {
  const [token, setToken] = useState('');
  const [error, setError] = useState<Error>();
  const [isAsking, setAsking] = useState(false);
  const enter = async (): Promise<void> => {
    setAsking(true);
    const result = await tryToken(token.trim());
    setAsking(false);
    if (result === undefined) onToken(token.trim());
    else setError(result);
  };
  return (
    <main class="alone">
      <h1>litellm-sidecar</h1>
      {refusal !== undefined && error === undefined && (
        <p class="notice care" role="alert">
          {hasNoToken(refusal) ? NO_TOKEN : NOT_TAKEN}
        </p>
      )}
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void enter();
        }}
      >
        <TextField
          label="Admin token"
          hint="The value of SIDECAR_ADMIN_TOKEN. This tab keeps it until it is closed."
          type="password"
          value={token}
          onInput={setToken}
          required
        />
        <Refused error={error} />
        <button type="submit" class="main" disabled={isAsking}>
          Open
        </button>
      </form>
    </main>
  );
}

/** What fits into a field of HTTP: anything else a browser would refuse to send. */
const SENDABLE = /^[\x21-\x7e]+$/;

/** Why a token does not open the API; undefined: it does. */
async function tryToken(token: string): Promise<Error | undefined> {
  if (!SENDABLE.test(token)) return new Error('a token has no spaces, and nothing but ASCII');
  const api = createApi({ token, onRefused: () => undefined, onThere: () => undefined });
  try {
    await api.call('GET /api/status');
    return undefined;
  } catch (error) {
    if (error instanceof ApiProblem && hasNoToken(error)) {
      return new Error('this sidecar has no token: set SIDECAR_ADMIN_TOKEN, and restart it');
    }
    return error as Error;
  } finally {
    api.close();
  }
}
