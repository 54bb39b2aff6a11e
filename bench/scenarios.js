/** What is asked of each peer. */

/** Closed loops, measured in rounds: every peer once, then every peer again. */
export const LOOPS = {
  json1: { kind: 'json', connections: 1 },
  json32: { kind: 'json', connections: 32 },
  json256: { kind: 'json', connections: 256 },
  sse: { kind: 'sse', connections: 100, chunks: 50, gapMs: 0 },
  paced: { kind: 'sse', connections: 100, chunks: 50, gapMs: 10 },
};

/** @typedef {keyof typeof LOOPS} Loop */

export const STREAMS = 'streams';
export const START = 'start';
export const SCENARIOS = [...Object.keys(LOOPS), STREAMS, START];

/** @type {Record<Loop, string>} */
export const TITLES = {
  json1: '1 KB JSON POST, 1 connection',
  json32: '1 KB JSON POST, 32 connections',
  json256: '1 KB JSON POST, 256 connections',
  sse: 'SSE, 100 streams at a time, 50 chunks each as fast as they come',
  paced: 'SSE, 100 streams at a time, 50 chunks each, one every 10 ms',
};
