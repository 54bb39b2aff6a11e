import { expect, test, vi } from 'vitest';
import { onInterrupt } from '../../src/local/run.ts';

test('one press that comes twice counts once, a second press counts', () => {
  let time = 1000;
  let presses = 0;
  const clock = vi.spyOn(Date, 'now').mockImplementation(() => time);
  const forget = onInterrupt(() => {
    presses += 1;
  });
  process.emit('SIGINT');
  time += 20;
  process.emit('SIGINT');
  expect(presses).toBe(1);
  time += 400;
  process.emit('SIGTERM');
  expect(presses).toBe(2);
  forget();
  clock.mockRestore();
  expect(process.listenerCount('SIGHUP')).toBe(0);
});
