/** The load, a process of its own: one job at a time. */
import { createOpenStreams, runJson } from './load.ts';
import { answerJobs } from './processes.ts';

const { open, watch, close } = createOpenStreams();
answerJobs({ json: runJson, open, watch, close });
