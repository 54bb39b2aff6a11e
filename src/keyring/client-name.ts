/** It stands in file names, labels and logs; `sk-` is what a key begins with, pasted by mistake. */
const NAME = /^(?!sk-)[a-z](?:[a-z0-9-]{0,37}[a-z0-9])?$/;
const ID = /^(.+)-([1-9]\d{0,14})$/;

/** Whether a client may have this name: 1 to 39 lower-case letters, digits and inner hyphens. */
export const isClientName = (name: string): boolean => NAME.test(name);

/** The two parts of a generation's id, such as `master-3`; undefined: it is none. */
export function readId(id: string): { client: string; number: number } | undefined {
  const [, client = '', number] = ID.exec(id) ?? [];
  return isClientName(client) ? { client, number: Number(number) } : undefined;
}
