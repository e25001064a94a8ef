import { Mutex } from "async-mutex";

const mutexes = new Map<string, Mutex>();

/**
 * One at a time for each key, within this process: shares of one host take turns at look and change, so
 * that the lock on the host itself is only met by other processes.
 */
export function exclusively<T>(key: string, work: () => Promise<T>): Promise<T> {
  const mutex = mutexes.get(key) ?? new Mutex();
  mutexes.set(key, mutex);
  return mutex.runExclusive(work);
}
