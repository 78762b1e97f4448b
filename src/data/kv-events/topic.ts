/**
 * Topics of engines that dial in: `kv@<ip:port or pod id>@<model>`, llm-d's form. A model's name may hold an `@`
 * itself; what stands before it does not.
 */
const PREFIX = 'kv@'

/** Who publishes under a topic: an address or an id; undefined if it is of another form. */
export function publisherOf(topic: string): string | undefined {
  if (!topic.startsWith(PREFIX)) return undefined
  const end = topic.indexOf('@', PREFIX.length)
  const publisher = topic.slice(PREFIX.length, end < 0 ? undefined : end)
  return publisher === '' ? undefined : publisher
}
