import { useCallback, useEffect, useState } from 'preact/hooks';
import type { AuditLine, AuditVerdict } from '../../src/keyring/audit.ts';
import type { Api, ApiProblem } from '../api.ts';
import { type AuditFilter, aboutWords, detailWords, isWanted } from '../audit-words.ts';
import { CopyLine, Field, Instant, Refused, Stranger, TableFrame, TextField } from '../parts.tsx';
import { useSession, type ViewProps, whileSeen } from '../session.tsx';
import { countWords } from '../words.ts';

/** Lines that are asked for at first, and at each press of a button; an answer has 1000 at most. */
const AT_FIRST = 200;
const AT_A_TIME = 1000;

const ANYTHING: AuditFilter = { text: '', action: '', by: '' };

/** What was done, by whom; the latest first. */
export function AuditView({ status }: ViewProps) {
  if (!status.store.kept) return <p>This sidecar keeps nothing: its log has what was done.</p>;
  return <Kept />;
}

function Kept() {
  const { lines, count, problem, loadOlder } = useAudit();
  const [filter, setFilter] = useState(ANYTHING);
  const set = (changes: Partial<AuditFilter>): void => setFilter({ ...filter, ...changes });
  if (lines === undefined) return problem ? <Refused error={problem} /> : <p>Asking …</p>;
  const wanted = lines.filter((line) => isWanted(line, filter));
  const oldest = lines.at(-1)?.seq ?? 1;
  return (
    <>
      <Refused error={problem} />
      <Verdict />
      <div class="toolbar">
        <TextField
          label="Look for a client, key, address"
          type="search"
          value={filter.text}
          onInput={(text) => set({ text })}
        />
        <Choice
          label="What was done"
          names={lines.map(({ action }) => action)}
          value={filter.action}
          onChange={(action) => set({ action })}
        />
        <Choice
          label="By whom"
          names={lines.map(({ by }) => by)}
          value={filter.by}
          onChange={(by) => set({ by })}
        />
        <span role="status">
          {countWords(wanted.length, 'line')} of {lines.length.toLocaleString('en-US')} looked
          through; the audit has {count.toLocaleString('en-US')}
        </span>
      </div>
      {lines.length === 0 ? <Nothing /> : <Lines lines={wanted} />}
      {oldest > 1 && (
        <button type="button" onClick={loadOlder}>
          Look through {countWords(Math.min(AT_A_TIME, oldest - 1), 'older line')}
        </button>
      )}
    </>
  );
}

function Lines({ lines }: { lines: readonly AuditLine[] }) {
  return (
    <TableFrame label="The audit, the latest first">
      <table>
        <caption class="unseen">The audit, the latest first</caption>
        <thead>
          <tr>
            <th scope="col" class="number">
              line
            </th>
            <th scope="col">when</th>
            <th scope="col">by</th>
            <th scope="col">what</th>
            <th scope="col">of what</th>
            <th scope="col">more</th>
          </tr>
        </thead>
        <tbody>
          {lines.map((line) => (
            <tr key={line.seq}>
              <td class="number">{line.seq}</td>
              <td>
                <Instant at={String(line.at)} />
              </td>
              <td>
                <Stranger text={String(line.by)} />
              </td>
              <td>
                <Stranger text={String(line.action)} />
              </td>
              <td>{aboutWords(line)}</td>
              <td class="words">
                <Stranger text={detailWords(line)} none="" />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </TableFrame>
  );
}

function Nothing() {
  return (
    <>
      <p>Nothing was done so far. A rotation would be the first line:</p>
      <CopyLine text="sidecar rotate" />
    </>
  );
}

interface ChoiceProps {
  readonly label: string;
  readonly names: readonly string[];
  readonly value: string;
  readonly onChange: (name: string) => void;
}

function Choice({ label, names, value, onChange }: ChoiceProps) {
  const all = [...new Set(names.map(String))].sort();
  return (
    <Field label={label}>
      {(id) => (
        <select
          id={id}
          value={value}
          onChange={({ currentTarget }) => onChange(currentTarget.value)}
        >
          <option value="">anything</option>
          {all.map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

/** Whether the chain holds; checked when the view is opened, and when somebody asks. */
function Verdict() {
  const { api } = useSession();
  const [verdict, setVerdict] = useState<AuditVerdict>();
  const [error, setError] = useState<Error>();
  const check = useCallback(() => {
    setVerdict(undefined);
    setError(undefined);
    api.call('GET /api/audit/verify').then(setVerdict, setError);
  }, [api]);
  useEffect(check, [check]);
  const tone = verdict === undefined ? '' : verdict.ok ? 'good' : 'bad';
  return (
    <div class={`notice ${tone}`} role="status">
      <p>
        {verdict === undefined && error === undefined && 'Checking the chain …'}
        {verdict !== undefined && verdictWords(verdict)}
      </p>
      <Refused error={error} />
      <button type="button" onClick={check}>
        Check again
      </button>
    </div>
  );
}

function verdictWords(verdict: AuditVerdict): string {
  if (verdict.ok) {
    const lines = countWords(verdict.count, 'line');
    return `The chain holds: ${lines}, each with the digest of the one before.`;
  }
  const keep = 'Keep a copy of it, and of the state folder, before anything else.';
  return `The audit is not what was written: ${verdict.message}. ${keep}`;
}

interface Audit {
  /** The latest first; undefined: not asked yet. */
  readonly lines: readonly AuditLine[] | undefined;
  readonly count: number;
  readonly problem: ApiProblem | undefined;
  readonly loadOlder: () => void;
}

/** The audit from its end on, with what is added to it while somebody looks. */
function useAudit(): Audit {
  const { api, isThere } = useSession();
  const [lines, setLines] = useState<readonly AuditLine[]>();
  const [count, setCount] = useState(0);
  const [problem, setProblem] = useState<ApiProblem>();
  const newest = lines?.[0]?.seq;
  const oldest = lines?.at(-1)?.seq ?? 1;

  useEffect(() => {
    if (!isThere) return;
    return whileSeen(4000, setProblem, async (signal) => {
      const page = await newerLines(api, newest, signal);
      setCount(page.count);
      setLines((before = []) => (page.lines.length === 0 ? before : joined(page.lines, before)));
    });
  }, [api, isThere, newest]);

  const loadOlder = (): void => {
    const after = Math.max(0, oldest - 1 - AT_A_TIME);
    const limit = oldest - 1 - after;
    api.call('GET /api/audit', { query: { after: `${after}`, limit: `${limit}` } }).then(
      (page) => setLines((now = []) => joined(page.lines, now)),
      // What it was not asked for stays unasked, and the button with it.
      setProblem,
    );
  };
  return { lines, count, problem, loadOlder };
}

/** The lines behind those that are there, or the last ones. */
async function newerLines(api: Api, newest: number | undefined, signal: AbortSignal) {
  const ask = (after: number, limit: number) =>
    api.call('GET /api/audit', { query: { after: `${after}`, limit: `${limit}` }, signal });
  if (newest !== undefined) return await ask(newest, AT_A_TIME);
  const { count } = await ask(0, 1);
  return await ask(Math.max(0, count - AT_FIRST), AT_A_TIME);
}

/** All lines of both, each once, the latest first. */
function joined(some: readonly AuditLine[], others: readonly AuditLine[]): readonly AuditLine[] {
  const bySeq = new Map([...others, ...some].map((line) => [line.seq, line]));
  return [...bySeq.values()].sort((one, other) => other.seq - one.seq);
}
