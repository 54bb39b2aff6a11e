import { useEffect, useState } from 'preact/hooks';
import type { UsageReport } from '../../src/usage/report.ts';
import type { Api, ApiProblem } from '../api.ts';
import { Field, Refused } from '../parts.tsx';
import { useSession, type ViewProps, whileSeen } from '../session.tsx';
import type { Step } from '../usage-steps.ts';
import { plainText } from '../words.ts';
import { Answered, type UsageAnswers } from './usage-report.tsx';

const PERIODS = {
  '24h': { title: '24 hours', steps: ['hour'] },
  '7d': { title: '7 days', steps: ['hour', 'day'] },
  '30d': { title: '30 days', steps: ['day', 'month'] },
  '90d': { title: '90 days', steps: ['day', 'month'] },
  '400d': { title: '13 months', steps: ['month', 'day'] },
} as const satisfies Record<string, { title: string; steps: readonly Step[] }>;
type Period = keyof typeof PERIODS;

const GROUPS = { client: 'Client', model: 'Model', key: 'Key' } as const;
type Group = keyof typeof GROUPS;

/** What is asked for. */
interface Choice {
  readonly period: Period;
  readonly step: Step;
  readonly by: Group;
  /** Of one alone; '' is all. */
  readonly client: string;
  readonly model: string;
}

const FIRST: Choice = { period: '7d', step: 'day', by: 'client', client: '', model: '' };

/** What was answered, and what could be chosen. */
interface Asked extends UsageAnswers {
  readonly clients: readonly string[];
  readonly models: readonly string[];
}

/** So many names have a colour of their own. */
const MOST_NAMES = 5;

async function ask(api: Api, choice: Choice, signal: AbortSignal): Promise<Asked> {
  const { period: since, step, by } = choice;
  const of = {
    ...(choice.client !== '' && { client: choice.client }),
    ...(choice.model !== '' && { model: choice.model }),
  };
  const report = (query: { by: UsageReport['by']; client?: string; model?: string }) =>
    api.call('GET /api/usage', { query: { since, ...query }, signal });
  const time = step === 'hour' ? 'hour' : 'day';
  const [groups, whole, clients, models] = await Promise.all([
    report({ by, ...of }),
    report({ by: time, ...of }),
    report({ by: 'client' }),
    report({ by: 'model' }),
  ]);
  // Of a key alone there is no report.
  const names = by === 'key' ? [] : namesIn(groups).slice(0, MOST_NAMES).sort();
  const parts = await Promise.all(
    names.map(async (name) => ({ name, report: await report({ by: time, ...of, [by]: name }) })),
  );
  return { choice, groups, whole, parts, clients: namesIn(clients), models: namesIn(models) };
}

const namesIn = ({ rows }: UsageReport): readonly string[] =>
  rows.flatMap(({ name }) => (name === null ? [] : [name]));

/** Milliseconds. An answer may read 400 days of hours. */
const EVERY_MS = 30_000;

/** The answers to the last choice; those before stay until they are there. */
function useAnswers(choice: Choice) {
  const { api, isThere } = useSession();
  const [answers, setAnswers] = useState<Asked>();
  const [problem, setProblem] = useState<ApiProblem>();
  // Two choices are the same if they read the same.
  const question = JSON.stringify(choice);
  useEffect(() => {
    if (!isThere) return undefined;
    const asked = JSON.parse(question) as Choice;
    return whileSeen(EVERY_MS, setProblem, async (signal) => {
      setAnswers(await ask(api, asked, signal));
    });
  }, [api, isThere, question]);
  return { answers, problem };
}

/** Tokens and cost by client, model and key, and by hour, day and month. */
export function UsageView(_: ViewProps) {
  const [choice, setChoice] = useState(FIRST);
  const { answers, problem } = useAnswers(choice);
  const change = (changes: Partial<Choice>): void =>
    setChoice((before) => {
      const after = { ...before, ...changes };
      const steps: readonly Step[] = PERIODS[after.period].steps;
      return steps.includes(after.step) ? after : { ...after, step: steps[0] ?? 'day' };
    });
  return (
    <>
      <Chooser choice={choice} change={change} answers={answers} />
      <Refused error={problem} />
      {answers !== undefined && <Answered answers={answers} />}
      {answers === undefined && problem === undefined && <p class="dim">Adding up …</p>}
    </>
  );
}

interface ChooserProps {
  readonly choice: Choice;
  readonly change: (changes: Partial<Choice>) => void;
  readonly answers: Asked | undefined;
}

function Chooser({ choice, change, answers }: ChooserProps) {
  const { period, step, by, client, model } = choice;
  const steps = PERIODS[period].steps.map((each) => [each, each] as const);
  const all = (names: readonly string[] = [], chosen: string) =>
    ['', ...new Set([...names, ...(chosen === '' ? [] : [chosen])])].map(
      (name) => [name, name === '' ? 'all' : plainText(name, 60)] as const,
    );
  return (
    <form class="toolbar" onSubmit={(event) => event.preventDefault()}>
      <Choose
        label="Period"
        value={period}
        options={Object.entries(PERIODS).map(([name, { title }]) => [name, title])}
        onChange={(value) => change({ period: value as Period })}
      />
      <Choose
        label="Step"
        value={step}
        options={steps}
        onChange={(value) => change({ step: value as Step })}
      />
      <Choose
        label="Split by"
        value={by}
        options={Object.entries(GROUPS)}
        onChange={(value) => change({ by: value as Group })}
      />
      <Choose
        label="Client"
        value={client}
        options={all(answers?.clients, client)}
        onChange={(value) => change({ client: value })}
      />
      <Choose
        label="Model"
        value={model}
        options={all(answers?.models, model)}
        onChange={(value) => change({ model: value })}
      />
    </form>
  );
}

interface ChooseProps {
  readonly label: string;
  readonly value: string;
  readonly options: readonly (readonly [value: string, title: string])[];
  readonly onChange: (value: string) => void;
}

const Choose = ({ label, value, options, onChange }: ChooseProps) => (
  <Field label={label}>
    {(id) => (
      <select id={id} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map(([name, title]) => (
          <option key={name} value={name}>
            {title}
          </option>
        ))}
      </select>
    )}
  </Field>
);
