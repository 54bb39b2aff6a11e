import { runCommandLine } from './cli/run.ts';

// `npm start`: the sidecar with the environment it finds, without a command line.
const { env, stdout, stderr } = process;
const terminal = { env, cwd: process.cwd(), stdout, stderr };
const code = await runCommandLine(terminal, ['serve'], () => new AbortController().signal);
if (code !== undefined) process.exitCode = code;
