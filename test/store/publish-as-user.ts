import { Secret } from '../../src/secret.ts';
import { publishToFile } from '../../src/store/publish.ts';

/** Publishes a key to the file that its argument names, as a user who may not give files away. */
process.setgroups?.([]);
process.setgid?.(4322);
process.setuid?.(4322);
await publishToFile(process.argv[2] ?? '', new Secret('sk-published-key'), (shortcoming) => {
  process.stderr.write(`${shortcoming}\n`);
});
