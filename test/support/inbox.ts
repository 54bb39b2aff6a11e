/** Things that come one after the other, taken in their order, each once. */
export function createInbox<Item>() {
  const items: Item[] = [];
  const takers: ((item: Item) => void)[] = [];
  return {
    put(item: Item): void {
      const taker = takers.shift();
      if (taker === undefined) items.push(item);
      else taker(item);
    },
    take: async (): Promise<Item> => {
      const item = items.shift();
      if (item !== undefined) return item;
      return await new Promise<Item>((resolve) => {
        takers.push(resolve);
      });
    },
  };
}
