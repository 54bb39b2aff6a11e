import type { CallerView, ClientView, GenerationView } from '../src/rotation/admin.ts';
import { Distance, Instant, Refused, Stranger, TableFrame } from './parts.tsx';
import { usePolled, useSession } from './session.tsx';
import { spanWords } from './words.ts';

const HOUR_MS = 3_600_000;

/** Who used a key, the most recent first; `lastHour`: only those that would notice its end. */
export function Callers({ id, lastHour = false }: { id: string; lastHour?: boolean }) {
  const { api } = useSession();
  const { answer, problem } = usePolled('GET /api/generations/{id}/who', { target: id });
  if (answer === undefined) {
    return problem ? <Refused error={problem} /> : <p class="dim">Asking …</p>;
  }
  const since = api.now() - HOUR_MS;
  const callers = answer.callers.filter(
    ({ lastSeenAt }) => !lastHour || Date.parse(lastSeenAt) > since,
  );
  const when = lastHour ? ' in the last hour' : '';
  const { inFlight } = answer.generation;
  const flying = inFlight === 0 ? '' : `; ${inFlight} under way`;
  if (callers.length === 0) return <p>{`Nobody used ${id}${when}${flying}.`}</p>;
  return <CallerTable caption={`Who used ${id}${when}${flying}`} callers={callers} />;
}

interface CallerTableProps {
  readonly caption: string;
  readonly callers: readonly CallerView[];
}

export function CallerTable({ caption, callers }: CallerTableProps) {
  return (
    <TableFrame label={caption}>
      <table>
        <caption>{caption}</caption>
        <thead>
          <tr>
            <th scope="col">address</th>
            <th scope="col">agent</th>
            <th scope="col">last seen</th>
            <th scope="col" class="number">
              requests
            </th>
          </tr>
        </thead>
        <tbody>
          {callers.map(({ address, userAgent, lastSeenAt, count }) => (
            <tr key={`${address} ${userAgent}`}>
              <td>{address}</td>
              <td>
                <Stranger text={userAgent} />
              </td>
              <td>
                <Distance at={lastSeenAt} />
              </td>
              <td class="number">{count.toLocaleString('en-US')}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </TableFrame>
  );
}

interface GoodUntilProps {
  readonly generation: GenerationView;
  readonly clientState: ClientView['state'];
}

/** Until when a key opens anything, in words that stand behind its name. */
export function GoodUntil({ generation, clientState }: GoodUntilProps) {
  const { api } = useSession();
  const { state, validUntil, clockStarted, graceMs } = generation;
  const isValid = state === 'active' || state === 'retiring';
  if (isValid && clientState !== 'enabled') return <>refused: its client is {clientState}</>;
  if (state === 'active') return <>good until it is rotated</>;
  if (validUntil === null) return <>{state}</>;
  const end = (
    <>
      <Instant at={validUntil} /> (<Distance at={validUntil} />)
    </>
  );
  if (!isValid) {
    return (
      <>
        {state} {end}
      </>
    );
  }
  if (Date.parse(validUntil) <= api.now()) return <>refused since {end}</>;
  if (clockStarted) return <>good until {end}</>;
  const grace = graceMs === null || graceMs === 0 ? '' : `${spanWords(graceMs)} after `;
  return (
    <>
      good until {grace}the new key's first use, at the latest {end}
    </>
  );
}
